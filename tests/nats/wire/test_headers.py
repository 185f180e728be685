"""Header blocks, read and written."""

from __future__ import annotations

from typing import Any, NoReturn

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats.errors import BadHeader
from natsconnector.nats.wire.headers import MOST_LINES, Headers, encode_block, parse_block
from tests.nats import profile  # noqa: F401


class HeadersTests(SynchronousTestCase):
    """The collection."""

    def test_lookup(self) -> None:
        """Lookups mind case; the first value is the one; a missing name gives the default."""
        headers = Headers([("A", "1"), ("b", "2"), ("A", "3")])
        self.assertEqual(headers.get("A"), "1")
        self.assertEqual(headers.get_all("A"), ["1", "3"])
        self.assertIsNone(headers.get("a"))
        self.assertEqual(headers.get("a", "x"), "x")
        self.assertEqual(headers.get_all("a"), [])
        self.assertIn("b", headers)
        self.assertNotIn("B", headers)

    def test_order(self) -> None:
        """Iteration keeps the order, over different names too."""
        pairs = [("A", "1"), ("b", "2"), ("A", "3")]
        self.assertEqual(list(Headers(pairs)), pairs)
        self.assertEqual(len(Headers(pairs)), 3)

    def test_from_mapping(self) -> None:
        """A mapping may have one value or several for a name."""
        self.assertEqual(list(Headers({"A": ["1", "2"], "B": "3"})), [("A", "1"), ("A", "2"), ("B", "3")])

    def test_from_headers(self) -> None:
        """Headers can be made from headers, and are equal then."""
        headers = Headers({"A": "1"})
        self.assertEqual(Headers(headers), headers)
        self.assertEqual(hash(Headers(headers)), hash(headers))
        self.assertNotEqual(Headers({"A": "2"}), headers)
        self.assertNotEqual(headers, {"A": "1"})

    def test_repr_hides_values(self) -> None:
        """Values may be secrets."""
        self.assertEqual(repr(Headers({"Token": "hidden", "B": "x"})), "<Headers Token, B>")


class EncodeBlockTests(SynchronousTestCase):
    """Writing."""

    def test_block(self) -> None:
        """One line per value, the version first, a blank line last."""
        self.assertEqual(
            encode_block({"Bar": "Baz", "X": ["1", " 2\t"]}), b"NATS/1.0\r\nBar: Baz\r\nX: 1\r\nX: 2\r\n\r\n"
        )
        self.assertEqual(encode_block([]), b"")

    def test_refused(self) -> None:
        """Names and values that would break the block are refused, and the value is not repeated."""
        for name in ("", "a b", "a:b", "a\r\nb", "a\n", "\x7f", "ä", "\x00", "a\t", " a"):
            self.assertRaises(BadHeader, encode_block, [(name, "v")])
        for value in ("b\r\nEvil: 1", "b\n", "\rb", "\ud800"):
            error = self.assertRaises(BadHeader, encode_block, [("A", value)])
            self.assertNotIn("Evil", str(error))
        self.assertRaises(ValueError, encode_block, {"": "x"})

    def test_bytes_survive(self) -> None:
        """What was no UTF-8 goes out as it came in."""
        block = b"NATS/1.0\r\nA: \xff\xfe\r\n\r\n"
        self.assertEqual(encode_block(parse_block(block).headers), block)


class ParseBlockTests(SynchronousTestCase):
    """Reading."""

    def test_values(self) -> None:
        """White space around values is not part of them; colons in them are."""
        block = b"NATS/1.0\r\nA:v\r\nB:\tv \r\nC:\r\nD: a:b \r\na: \xc2\xa3\r\nE: \xa3\r\n\r\n"
        expected = [("A", "v"), ("B", "v"), ("C", ""), ("D", "a:b"), ("a", "£"), ("E", "\udca3")]
        self.assertEqual(list(parse_block(block).headers), expected)

    def test_status(self) -> None:
        """A status, with and without description and headers, with any white space."""
        for block, status, description in (
            (b"NATS/1.0\r\n\r\n", None, None),
            (b"NATS/1.0 \r\n\r\n", None, None),
            (b"NATS/1.0 503\r\n\r\n", 503, None),
            (b"NATS/1.0 503 \r\n\r\n", 503, None),
            (b"NATS/1.0  404   No Messages\r\n\r\n", 404, "No Messages"),
            (b"NATS/1.0\t404\tNo Messages\r\n\r\n", 404, "No Messages"),
            (b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 0\r\n\r\n", 100, "Idle Heartbeat"),
        ):
            parsed = parse_block(block)
            self.assertEqual((parsed.status, parsed.description, parsed.error), (status, description, None), block)

    def test_header_named_status(self) -> None:
        """A header that is named Status is not the status."""
        parsed = parse_block(b"NATS/1.0\r\nStatus: 503\r\n\r\n")
        self.assertIsNone(parsed.status)
        self.assertEqual(parsed.headers.get("Status"), "503")

    def test_malformed(self) -> None:
        """Each fault is told, and nothing else is then."""
        for block in (
            b"abcd",
            b"NATS/1.0",
            b"NATS/1.0\r\n",
            b"NATS/1.0\r\nA: 1\r\n",
            b"NATS/1.0x\r\n\r\n",
            b"NATS/2.0\r\n\r\n",
            b"NATS/1.0 5\r\n\r\n",
            b"NATS/1.0 50x\r\n\r\n",
            b"NATS/1.0 5033\r\n\r\n",
            b"NATS/1.0 \xb2\xb2\xb2\r\n\r\n",
            b"NATS/1.0 503\nA: 1\r\n\r\n",
            b"NATS/1.0\r\n\r\nA: 1\r\n\r\n",
            b"NATS/1.0\r\nA: 1\r\n\r\nrest",
            b"\r\n\r\n",
        ):
            parsed = parse_block(block)
            assert parsed.error is not None, block
            self.assertTrue(parsed.error.startswith("malformed message headers: "), block)
            self.assertEqual((len(parsed.headers), parsed.status, parsed.description), (0, None, None), block)

    def test_bad_line(self) -> None:
        """A line that is no header costs only itself, and it is said why."""
        for line, says in (
            (b"no colon", "no colon"),
            (b": no name", "bad name"),
            (b"A : 1", "bad name"),
            (b" A: 1", "bad name"),
            (b"\xc3\xa4: 1", "bad name"),
            (b"A: 1\n2", "stray line break"),
            (b"A: 1\r2", "stray line break"),
        ):
            parsed = parse_block(b"NATS/1.0 100 Idle\r\nB: 1\r\n" + line + b"\r\nC: 2\r\n\r\n")
            self.assertEqual((parsed.error, parsed.status), (None, 100), line)
            self.assertEqual(list(parsed.headers), [("B", "1"), ("C", "2")], line)
            (reason,) = parsed.headers.skipped
            self.assertTrue(reason.startswith("line 3 has ") and says in reason, reason)
        self.assertEqual(parse_block(b"NATS/1.0\r\nA: 1\r\n\r\n").headers.skipped, ())

    def test_too_many_lines(self) -> None:
        """So many headers and no more; whatever ends the lines, the block is not even split."""
        self.assertEqual(len(parse_block(b"NATS/1.0\r\n" + b"A: 1\r\n" * MOST_LINES + b"\r\n").headers), MOST_LINES)
        for line in (b"A: 1\r\n", b"A: 1\n", b"\r\n"):
            parsed = parse_block(Unsplit(b"NATS/1.0\r\n" + line * (MOST_LINES + 1) + b"\r\n"))
            self.assertEqual(parsed.error, "malformed message headers: more than 512 lines")


class Unsplit(bytes):
    """Bytes that are not to be taken apart."""

    def split(self, *args: Any, **options: Any) -> NoReturn:
        """Fail."""
        raise AssertionError("the block was parsed")


NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1)
VALUES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))


class PropertyTests(SynchronousTestCase):
    """What holds for any headers."""

    @given(st.lists(st.tuples(NAMES, VALUES), min_size=1))
    def test_round_trip(self, pairs: list[tuple[str, str]]) -> None:
        """What was written is read, but for white space around values."""
        parsed = parse_block(encode_block(pairs))
        self.assertIsNone(parsed.error)
        self.assertEqual(list(parsed.headers), [(name, value.strip(" \t")) for name, value in pairs])

    @given(st.text(), st.text())
    def test_any_text(self, name: str, value: str) -> None:
        """Any text is either refused or exactly one header."""
        try:
            block = encode_block([(name, value)])
        except BadHeader:
            return
        self.assertEqual(len(parse_block(block).headers), 1)

    @given(st.binary())
    def test_any_bytes(self, block: bytes) -> None:
        """Nothing a publisher may send raises."""
        for head in (b"", b"NATS/1.0 ", b"NATS/1.0\r\n"):
            parse_block(head + block)
            parse_block(head + block + b"\r\n\r\n")
