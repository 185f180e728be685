"""Fields of answers that may hold anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats.jetstream import (
    InvalidAnswer,
    fields_of,
    flag,
    integer,
    integers,
    seconds,
    text,
    texts,
)
from tests.nats import profile  # noqa: F401

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
READERS: list[tuple[Callable[[Any, str], Any], type]] = [
    (text, str), (integer, int), (seconds, float), (flag, bool), (texts, list), (integers, list), (fields_of, dict),
]  # fmt: skip


class FieldsTests(SynchronousTestCase):
    """A value of the right type, or InvalidAnswer."""

    def test_right(self) -> None:
        """What is as it should be."""
        fields = {"t": "x", "n": 5, "w": 1_500_000_000, "f": True, "ts": ["a"], "ns": [1, 2], "o": {"a": 1}}
        self.assertEqual(text(fields, "t"), "x")
        self.assertEqual(integer(fields, "n"), 5)
        self.assertEqual(seconds(fields, "w"), 1.5)
        self.assertIs(flag(fields, "f"), True)
        self.assertEqual(texts(fields, "ts"), ["a"])
        self.assertEqual(integers(fields, "ns"), [1, 2])
        self.assertEqual(fields_of(fields, "o"), {"a": 1})

    def test_missing(self) -> None:
        """What is missing or null has the default, if there is one."""
        for fields in ({}, {"x": None}):
            self.assertEqual(text(fields, "x", ""), "")
            self.assertEqual(integer(fields, "x", 1, default=-1), -1)
            self.assertEqual(seconds(fields, "x", default_s=30.0), 30.0)
            self.assertIs(flag(fields, "x"), False)
            self.assertEqual(texts(fields, "x"), [])
            self.assertEqual(integers(fields, "x"), [])
            for reader in (text, integer, seconds, fields_of):
                error = self.assertRaises(InvalidAnswer, reader, fields, "x")
                self.assertIn("no x", str(error))

    def test_within_bounds(self) -> None:
        """Bounds count as within; without any a server's own hold, which counts up to 2 ** 64 - 1."""
        self.assertEqual(integers({"x": [6, 7, 8]}, "x", 6, 8), [6, 7, 8])
        most = (1 << 64) - 1
        self.assertEqual([integer({"x": value}, "x") for value in (0, most)], [0, most])
        self.assertEqual(integers({"x": [0, most]}, "x"), [0, most])
        for value in (-1, most + 1):
            self.assertRaises(InvalidAnswer, integer, {"x": value}, "x")
            self.assertRaises(InvalidAnswer, integers, {"x": [value]}, "x")
        self.assertEqual(seconds({"x": (1 << 63) - 1}, "x"), ((1 << 63) - 1) / 1e9)
        self.assertRaises(InvalidAnswer, seconds, {"x": 1 << 63}, "x")
        self.assertEqual(seconds({"x": 100_000_000}, "x", 0.1), 0.1)

    def test_bounds(self) -> None:
        """Numbers out of bounds, however large, are told shortly."""
        self.assertEqual(integer({"x": 7}, "x", 7, 7), 7)
        error = self.assertRaises(InvalidAnswer, integer, {"x": 8}, "x", 7, 7)
        self.assertEqual(str(error), "an answer of JetStream has x of 8, not from 7 to 7")
        error = self.assertRaises(InvalidAnswer, integer, {"x": 10**5000}, "x", 7, 7)
        self.assertIn("an enormous number", str(error))
        for value in (-1, 6, 8, 10**400):
            error = self.assertRaises(InvalidAnswer, integer, {"x": value}, "x", 7, 7)
            self.assertLess(len(str(error)), 200)
            self.assertRaises(InvalidAnswer, integers, {"x": [7, value]}, "x", 7, 7)
        for value in (-1, 0, 1_000, 10**30):
            self.assertRaises(InvalidAnswer, seconds, {"x": value}, "x", 0.1)

    @given(JSON)
    def test_any(self, value: Any) -> None:
        """No JSON raises anything else, and no value of another type comes back."""
        for reader, kind in READERS:
            try:
                found = reader({"x": value}, "x")
            except InvalidAnswer:
                continue
            self.assertIs(type(found), kind)
