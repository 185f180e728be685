"""NATS subjects and who gets them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

# No control characters and no half of a surrogate pair: a subject becomes a header of the call too.
_TOKEN = re.compile(r"[^\s\x00-\x1f\x7f\ud800-\udfff.*>]+")
# A quarter of the server's default max_control_line (4096 bytes), so that reply subject and sizes always fit beside it.
_MOST_BYTES = 1024
# The server's own: replies to others, the JetStream API, system events.
_RESERVED = ("_INBOX.>", "$JS.>", "$SYS.>")


def subject_fault(subject: str) -> str | None:
    """Why a text is no subject to subscribe to, in a few words that follow it; None when it is one."""
    if len(subject) > _MOST_BYTES or len(subject.encode("utf-8", "replace")) > _MOST_BYTES:
        return f"is not a subject: it has more than {_MOST_BYTES} bytes"
    *tokens, last = subject.split(".")
    if not last or not all(tokens):
        return "is not a subject: it is empty" if not subject else "is not a subject: a token is empty"
    if not all(token == "*" or _TOKEN.fullmatch(token) for token in tokens) or not (
        last in ("*", ">") or _TOKEN.fullmatch(last)
    ):
        return "is not a subject: no white space, * only as a whole token, > only as the whole last one"
    return None


def reserved_for_nats(subject: str) -> str | None:
    """Which of the server's own subjects a subscription to ``subject`` would hear; None when it would hear none."""
    return next((reserved for reserved in _RESERVED if overlaps(subject, reserved)), None)


def is_reserved(subject: str) -> bool:
    """Whether all that a subscription to ``subject`` could hear is the server's own."""
    return any(covers(reserved, subject) for reserved in _RESERVED)


def overlaps(one: str, other: str) -> bool:
    """Whether some concrete subject matches both of two subscription subjects, either of which may have wildcards."""
    ones, others = one.split("."), other.split(".")
    for a, b in zip(ones, others, strict=False):
        if a == ">" or b == ">":
            return True
        if a != b and a != "*" and b != "*":
            return False
    return len(ones) == len(others)


def covers(wide: str, narrow: str) -> bool:
    """Whether every concrete subject that matches ``narrow`` matches ``wide``."""
    wides, narrows = wide.split("."), narrow.split(".")
    for position, token in enumerate(wides):
        if token == ">":
            return len(narrows) > position
        if position >= len(narrows) or narrows[position] == ">":
            return False
        if token != "*" and token != narrows[position]:
            return False
    return len(wides) == len(narrows)


def capturing(pattern: str) -> re.Pattern[str]:
    """What matches the concrete subjects of a pattern as a whole; each ``*`` is a group of the match."""
    tokens = {"*": r"([^.]+)", ">": r".+"}
    return re.compile(r"\.".join(tokens.get(token) or re.escape(token) for token in pattern.split(".")), re.DOTALL)


class SubjectMap(Generic[T]):
    """
    Values by subject patterns; what matches a concrete subject is found token by token, not by a look at them all.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, pattern: str, value: T) -> None:
        """Give ``value`` to every subject that matches ``pattern``."""
        node = self._root
        for token in pattern.split("."):
            node = node.children.setdefault(token, _Node())
        node.values.append(value)

    def match(self, subject: str) -> list[T]:
        """The values of a concrete subject, each once, in the order in which they were added to a pattern."""
        found: dict[T, None] = {}
        for values in _matches(self._root, subject.split("."), 0):
            found.update(dict.fromkeys(values))
        return list(found)


class _Node(Generic[T]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: list[T] = []


def _matches(node: _Node[T], tokens: list[str], position: int) -> Iterator[list[T]]:
    if position == len(tokens):
        yield node.values
        return
    # A publisher may use a wildcard as a plain token, which must not lead twice to one place, nor to a tail.
    for step in {tokens[position], "*"} - {">"}:
        if (child := node.children.get(step)) is not None:
            yield from _matches(child, tokens, position + 1)
    if (rest := node.children.get(">")) is not None:
        yield rest.values
