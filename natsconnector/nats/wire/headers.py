"""Message headers: the block of ``NATS/1.0`` lines before a payload (ADR-4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, NoReturn

from natsconnector.nats.errors import BadHeader

_VERSION = b"NATS/1.0"
# Printable ASCII but the colon; one pattern for the text we write and one for the bytes we read.
_NAME = re.compile(r"[!-9;-~]+")
_NAME_BYTES = re.compile(rb"[!-9;-~]+")
_LINE_BREAK = re.compile(r"[\r\n]")
# Names that were looked at already.
_KNOWN_NAMES: set[str] = set()
_MOST_KNOWN = 1024
_LONGEST_KNOWN = 128
_NO_NAME = "a name is printable ASCII without spaces and colons, and not empty"

#: So many header lines a message may have. A server allows a payload full of them, which would take seconds to read.
MOST_LINES = 512


class Headers:
    """
    Headers of one message: ordered, a name may come several times, case is kept and matters.

    Built from pairs or from a mapping of name to value or list of values. Iteration gives ``(name, value)`` pairs
    in order. Bytes that are no UTF-8 are surrogates in the values (``surrogateescape``) and come back as they were.

    :param skipped: see :attr:`skipped`.
    """

    __slots__ = ("_pairs", "skipped")

    def __init__(
        self,
        headers: Mapping[str, str | Sequence[str]] | Iterable[tuple[str, str]] | None = None,
        skipped: tuple[str, ...] = (),
    ) -> None:
        #: Lines of a received block that are no headers and were left out: why, for each, such as "line 3 has a bad
        #: name".
        self.skipped = skipped
        pairs: list[tuple[str, str]] = []
        if isinstance(headers, Mapping):
            for name, value in headers.items():
                pairs.extend((name, one) for one in ([value] if isinstance(value, str) else value))
        elif headers is not None:
            pairs.extend((name, value) for name, value in headers)
        self._pairs = tuple(pairs)

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of a name, exactly as spelled."""
        for key, value in self._pairs:
            if key == name:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        """All values of a name, in order."""
        return [value for key, value in self._pairs if key == name]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self._pairs)

    def __eq__(self, other: object) -> bool:
        return self._pairs == other._pairs if isinstance(other, Headers) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        # Values may be secrets (tokens travel in headers), so only the names are shown.
        return f"<Headers {', '.join(name for name, _ in self._pairs)}>"


#: What the public methods take as headers.
HeadersLike = Headers | Mapping[str, str | Sequence[str]] | Iterable[tuple[str, str]]


def encode_block(headers: HeadersLike) -> bytes:
    """
    The header block of these headers, including its blank line; no bytes for no headers.

    Spaces and tabs around a value are dropped.

    :raises BadHeader: a name is empty or not printable ASCII without colon, or a value has a line break, which would
        let it invent further headers.
    """
    pairs = headers if type(headers) is list else Headers(headers)
    lines = []
    for name, value in pairs:
        if not _is_name(name):
            raise BadHeader(name, _NO_NAME)
        lines.append(f"{name}: {value.strip(' 	')}\r\n")
    if not lines:
        return b""
    text = "".join(lines)
    # The block is looked at once as a whole: a value must not bring a line of its own.
    if text.count("\n") != len(lines) or text.count("\r") != len(lines):
        _refuse(pairs)
    try:
        return b"%b\r\n%b\r\n" % (_VERSION, text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise BadHeader(lines[0].partition(":")[0], "a value cannot be encoded as UTF-8") from None


def _refuse(pairs: Iterable[tuple[str, str]]) -> NoReturn:
    name = next(name for name, value in pairs if _LINE_BREAK.search(value))
    raise BadHeader(name, "the value holds a line break")


def _is_name(name: str) -> bool:
    if name in _KNOWN_NAMES:
        return True
    if not _NAME.fullmatch(name):
        return False
    if len(name) <= _LONGEST_KNOWN and len(_KNOWN_NAMES) < _MOST_KNOWN:
        _KNOWN_NAMES.add(name)
    return True


class ParsedBlock(NamedTuple):
    """What a header block says; with an ``error`` everything else is empty."""

    headers: Headers
    status: int | None = None
    description: str | None = None
    error: str | None = None


NO_BLOCK = ParsedBlock(Headers())


def parse_block(block: bytes) -> ParsedBlock:
    """
    Read a header block. Any publisher can send any bytes here, so a fault is a value, not an exception.

    A block without its frame, the first line and the blank one at the end, is an error as a whole. A line in it that is
    no header costs only itself (ADR-4 has no word on it; what others put there must not cost the message).
    """
    if not block:
        return NO_BLOCK
    try:
        return _parse(block)
    except ValueError as fault:
        return ParsedBlock(Headers(), error=f"malformed message headers: {fault}")


def _parse(block: bytes) -> ParsedBlock:
    # Lines are counted before anything is made of them. The first and the blank line are no headers.
    if block.count(b"\n") > MOST_LINES + 2:
        raise ValueError(f"more than {MOST_LINES} lines")
    first, *lines = block.split(b"\r\n")
    if first[:8] != _VERSION or first[8:9] not in (b"", b" ", b"\t"):
        raise ValueError("the first line is not NATS/1.0")
    if lines[-2:] != [b"", b""] or b"" in lines[:-2]:
        raise ValueError("the blank line at the end is missing")
    if b"\r" in first or b"\n" in first:
        raise ValueError("a stray line break in the first line")
    pairs: list[tuple[str, str]] = []
    skipped: list[str] = []
    for number, line in enumerate(lines[:-2], start=2):
        name, colon, value = line.partition(b":")
        if not colon:
            skipped.append(f"line {number} has no colon")
        elif not _NAME_BYTES.fullmatch(name):
            skipped.append(f"line {number} has a bad name")
        elif b"\r" in value or b"\n" in value:
            skipped.append(f"line {number} has a stray line break")
        else:
            pairs.append((name.decode("ascii"), _text(value)))
    headers = Headers(pairs, tuple(skipped))
    code, _, description = first[8:].strip(b" \t").replace(b"\t", b" ").partition(b" ")
    if not code:
        return ParsedBlock(headers)
    if len(code) != 3 or not code.isdigit():
        raise ValueError("the status is not a number of three digits")
    return ParsedBlock(headers, int(code), _text(description) or None)


def _text(value: bytes) -> str:
    return value.strip(b" \t").decode("utf-8", "surrogateescape")
