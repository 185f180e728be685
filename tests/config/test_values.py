"""Tests of how values are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.config import values


class ValuesTests(SynchronousTestCase):
    """Durations, sizes, switches, lists, URLs."""

    def assertParses(self, parse: Callable[[str], Any], good: dict[str, Any], bad: list[str]) -> None:
        for text, value in good.items():
            self.assertEqual(parse(text), value, text)
        for text in bad:
            self.assertRaises(ValueError, parse, text)

    def test_duration(self) -> None:
        """Go's form, and nothing that is not above zero."""
        self.assertParses(
            values.duration,
            {"250ms": 0.25, "30s": 30, "1m30s": 90, "1.5h": 5400, "100us": 1e-4, "2h45m": 9900, ".5s": 0.5},
            ["", "30", "30 s", "s", "-1s", "0s", "1d", "1s ", "1h-5m", "99999h", "1e3s", "nan"],
        )

    def test_size(self) -> None:
        """Plain bytes or binary units."""
        self.assertParses(
            values.size,
            {"1": 1, "64KiB": 65536, "8MiB": 8 << 20, "1gib": 1 << 30, "512 B": 512},
            ["", "0", "-1", "1MB", "1.5MiB", "x", "9999999GiB"],
        )

    def test_switch(self) -> None:
        """The four pairs of words, in any case."""
        on, off = ["1", "true", "YES", "On"], ["0", "False", "no", "OFF"]
        self.assertParses(values.switch, dict.fromkeys(on, True) | dict.fromkeys(off, False), ["", "2", "enabled"])

    def test_whole_number(self) -> None:
        """Digits within the range."""
        self.assertParses(
            values.whole_number(1, 100), {"1": 1, "100": 100}, ["0", "101", "-1", "1_0", "1.0", "", "٣", "9" * 30]
        )

    def test_max_inflight(self) -> None:
        """A number within the range, or the word."""
        self.assertParses(values.max_inflight, {"1": 1, "65536": 65536, "auto": "auto", "AUTO": "auto"}, ["0", "65537"])
        error = self.assertRaises(ValueError, values.max_inflight, "automatic")
        self.assertEqual(str(error), "is neither a whole number nor auto")

    def test_order_key(self) -> None:
        """The name of a header, whose case does not matter, or the word."""
        self.assertParses(values.order_key, {"Device-Id": "device-id", "SUBJECT": "subject"}, ["", "a b", "a:", "ä"])

    def test_list_of(self) -> None:
        """Commas separate; blanks, empty items and repetitions are dropped."""
        self.assertParses(
            values.list_of(values.status_code),
            {"429": (429,), "429, 503,": (429, 503), "503,503": (503,)},
            ["", ",", "429,x", "200"],
        )
        error = self.assertRaises(ValueError, values.list_of(values.status_code), "429,x")
        self.assertEqual(str(error), "has an item, number 2, that is not a whole number")

    def test_gateway_url(self) -> None:
        """With or without scheme and slash; never with a password."""
        self.assertParses(
            values.gateway_url,
            {
                "http://gateway:8080": "http://gateway:8080",
                "gateway:8080": "http://gateway:8080",
                "gateway": "http://gateway",
                "https://gw/openfaas/": "https://gw/openfaas",
                "http://[::1]:8080/": "http://[::1]:8080",
            },
            [
                "",
                "ftp://gw",
                "http://",
                "http://admin:secret@gw",
                "http://gw:x",
                "http://gw:0",
                "http://g w",
                "http://gw?a",
            ],
        )
        error = self.assertRaises(ValueError, values.gateway_url, "http://admin:secret@gw")
        self.assertNotIn("secret", str(error))

    def test_patterns(self) -> None:
        """Hosts and functions, with a star."""
        self.assertParses(
            values.host_pattern,
            {"*.Example.com": "*.example.com", "h:80": "h:80", "[::1]:80": "[::1]:80", "[::1]": "[::1]"},
            ["", "http://h", "h/x", "a b", "h:x"],
        )
        self.assertParses(values.function_pattern, {"report-*": "report-*"}, ["", "a/b", "a b"])
