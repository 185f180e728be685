"""Tests of subject matching."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.subjects import SubjectMap, covers, is_reserved, overlaps, reserved_for_nats, subject_fault

SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=300)
TOKENS = st.sampled_from(["a", "b", "c"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.builds(
    lambda tokens, tail: ".".join([*tokens, *tail]),
    st.lists(TOKENS | st.just("*"), min_size=1, max_size=3),
    st.sampled_from([[], [">"]]),
)


class PatternTests(SynchronousTestCase):
    """What can be subscribed to."""

    def test_table(self) -> None:
        """Well-formed, and not NATS's own."""
        for good in ("a", "*", "a.b", "a.*", "a.>", "a.*.c", "ü.x", "a-b_c"):
            self.assertIsNone(subject_fault(good), good)
        for bad in ("a\x01", "a\ud800", "a" * 1025):
            self.assertIn("is not a subject", subject_fault(bad) or "")
        for bad in ("", ".", "a.", ".a", "a..b", "a b", "a*", "a.>.b", "a\n"):
            self.assertIsNotNone(subject_fault(bad), bad)

    def test_reserved(self) -> None:
        """What NATS has for itself: some patterns would hear of it, others nothing else."""
        for subject, hears, only in [
            ("a.>", None, False), (">", "_INBOX.>", False), ("*.x", "_INBOX.>", False), ("*", None, False),
            ("$JS.API.x", "$JS.>", True), ("_INBOX.a", "_INBOX.>", True), ("$SYS.>", "$SYS.>", True),
            ("$KV.conf.>", None, False),
        ]:  # fmt: skip
            self.assertEqual((reserved_for_nats(subject), is_reserved(subject)), (hears, only), subject)


class OverlapsTests(SynchronousTestCase):
    """Subjects that can hear the same message."""

    def test_table(self) -> None:
        """Either way round, with wildcards in either."""
        for one, other, expected in [
            ("a", "a", True), ("a", "b", False), ("a.b", "a", False), ("a.*", "a.b", True), ("a.*", "*.b", True),
            ("a.*", "b.*", False), ("a.>", "a.b.c", True),
            ("a.>", "a", False), (">", "a.b", True), ("*", "a.b", False),
            ("*", "_INBOX.>", False), (">", "_INBOX.>", True), ("a.*.c", "a.b.>", True), ("a.b", "a.*.c", False),
        ]:  # fmt: skip
            self.assertEqual(overlaps(one, other), expected, (one, other))
            self.assertEqual(overlaps(other, one), expected, (other, one))

    @SETTINGS
    @given(PATTERNS, PATTERNS, SUBJECTS)
    def test_any(self, one: str, other: str, subject: str) -> None:
        """Whatever both match, they overlap in; what covers another matches all that the other does."""
        if covers(one, subject) and covers(other, subject):
            self.assertTrue(overlaps(one, other))
        if covers(one, other) and covers(other, subject):
            self.assertTrue(covers(one, subject))


class CoversTests(SynchronousTestCase):
    """One pattern within another."""

    def test_table(self) -> None:
        """Wildcards on both sides."""
        for wide, narrow, expected in [
            ("a", "a", True), ("a.*", "a.b", True), ("a.*", "a.b.c", False), ("a.>", "a.b.c", True),
        ]:  # fmt: skip
            self.assertEqual(covers(wide, narrow), expected, (wide, narrow))


class SubjectMapTests(SynchronousTestCase):
    """Values by subject."""

    def test_wildcards(self) -> None:
        """Patterns of all kinds, each value once."""
        subjects: SubjectMap[str] = SubjectMap()
        for pattern in ("orders.new", "orders.*", "orders.>", "*.new", ">"):
            subjects.add(pattern, pattern)
        subjects.add("orders.*", "orders.new")
        self.assertEqual(set(subjects.match("orders.new")), {"orders.new", "orders.*", "orders.>", "*.new", ">"})
        self.assertEqual(len(subjects.match("orders.new")), 5)
        self.assertEqual(set(subjects.match("orders.new.eu")), {"orders.>", ">"})
        self.assertEqual(subjects.match("orders"), [">"])

    def test_wildcards_as_plain_tokens(self) -> None:
        """A publisher may use a star or an arrow as a token; each value comes once all the same."""
        subjects: SubjectMap[str] = SubjectMap()
        subjects.add("a.*", "star")
        subjects.add("a.>", "tail")
        self.assertEqual(sorted(subjects.match("a.*")), ["star", "tail"])
        self.assertEqual(sorted(subjects.match("a.>")), ["star", "tail"])

    @SETTINGS
    @given(st.lists(PATTERNS, max_size=8), SUBJECTS)
    def test_as_one_by_one(self, patterns: list[str], subject: str) -> None:
        """It finds what a look at each pattern would find."""
        subjects: SubjectMap[str] = SubjectMap()
        for pattern in patterns:
            subjects.add(pattern, pattern)
        self.assertEqual(set(subjects.match(subject)), {each for each in patterns if covers(each, subject)})

    def test_is_no_scan(self) -> None:
        """With 500 functions of 5 topics each a match looks at a handful of places, not at 2,500."""
        looked = 0

        class Counting(dict[str, object]):
            def get(self, key: str, default: object = None) -> object:
                nonlocal looked
                looked += 1
                return super().get(key, default)

        subjects: SubjectMap[int] = SubjectMap()
        for function in range(500):
            for topic in range(5):
                subjects.add(f"app{function}.events.{topic}", function)
        stack = [subjects._root]
        while stack:
            node = stack.pop()
            stack += node.children.values()
            node.children = cast(Any, Counting(node.children))
        self.assertEqual(subjects.match("app250.events.3"), [250])
        self.assertLess(looked, 20)
