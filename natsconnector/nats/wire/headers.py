"""Message headers: the block of ``NATS/1.0`` lines before a payload (ADR-4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from natsconnector.nats.errors import BadHeader

_VERSION = b"NATS/1.0"
# Printable ASCII but the colon; one pattern for the text we write and one for the bytes we read.
_NAME = re.compile(r"[!-9;-~]+")
_NAME_BYTES = re.compile(rb"[!-9;-~]+")
_LINE_BREAK = re.compile(r"[\r\n]")


class Headers:
    """Headers of one message: ordered, a name may come several times, case is kept and matters.

    Built from pairs or from a mapping of name to value or list of values. Iteration gives ``(name, value)`` pairs
    in order. Bytes that are no UTF-8 are surrogates in the values (``surrogateescape``) and come back as they were.
    """

    __slots__ = ("_pairs",)

    def __init__(self, headers: Mapping[str, str | Sequence[str]] | Iterable[tuple[str, str]] | None = None) -> None:
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
    """The header block of these headers, including its blank line; no bytes for no headers.

    Raises ``BadHeader`` for a name that is empty or not printable ASCII without colon, and for a value with a line
    break, which would let a value invent further headers. Spaces and tabs around a value are dropped.
    """
    lines = []
    for name, value in headers if isinstance(headers, Headers) else Headers(headers):
        if not _NAME.fullmatch(name):
            raise BadHeader(name, "a name is printable ASCII without spaces and colons, and not empty")
        if _LINE_BREAK.search(value):
            raise BadHeader(name, "the value holds a line break")
        lines.append(f"{name}: {value.strip(' 	')}\r\n")
    if not lines:
        return b""
    try:
        text = "".join(lines).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadHeader(lines[0].partition(":")[0], "a value cannot be encoded as UTF-8") from None
    return b"%b\r\n%b\r\n" % (_VERSION, text)


class ParsedBlock(NamedTuple):
    """What a header block says; with an ``error`` everything else is empty."""

    headers: Headers
    status: int | None = None
    description: str | None = None
    error: str | None = None


NO_BLOCK = ParsedBlock(Headers())


def parse_block(block: bytes) -> ParsedBlock:
    """Read a header block. Any publisher can send any bytes here, so a fault is a value, not an exception."""
    if not block:
        return NO_BLOCK
    try:
        return _parse(block)
    except ValueError as fault:
        return ParsedBlock(Headers(), error=f"malformed message headers: {fault}")


def _parse(block: bytes) -> ParsedBlock:
    first, *lines = block.split(b"\r\n")
    if first[:8] != _VERSION or first[8:9] not in (b"", b" ", b"\t"):
        raise ValueError("the first line is not NATS/1.0")
    if lines[-2:] != [b"", b""]:
        raise ValueError("the blank line at the end is missing")
    if b"\r" in first or b"\n" in first:
        raise ValueError("a stray line break in the first line")
    pairs = []
    for number, line in enumerate(lines[:-2], start=2):
        name, colon, value = line.partition(b":")
        if not colon:
            raise ValueError(f"line {number} has no colon")
        if not _NAME_BYTES.fullmatch(name):
            raise ValueError(f"line {number} has a bad name")
        if b"\r" in value or b"\n" in value:
            raise ValueError(f"a stray line break in line {number}")
        pairs.append((name.decode("ascii"), _text(value)))
    code, _, description = first[8:].strip(b" \t").replace(b"\t", b" ").partition(b" ")
    if not code:
        return ParsedBlock(Headers(pairs))
    if len(code) != 3 or not code.isdigit():
        raise ValueError("the status is not a number of three digits")
    return ParsedBlock(Headers(pairs), int(code), _text(description) or None)


def _text(value: bytes) -> str:
    return value.strip(b" \t").decode("utf-8", "surrogateescape")
