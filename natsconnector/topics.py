"""NATS subjects and who gets them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

# No control characters and no half of a surrogate pair: a subject becomes a header of the call too.
_TOKEN = re.compile(r"[^\s\x00-\x1f\x7f\ud800-\udfff.*>]+")
# What a server takes for one command with everything in it is four times that.
_MOST_BYTES = 1024
# The server's own: replies to others, the JetStream API, system events.
RESERVED = ("_INBOX.>", "$JS.>", "$SYS.>")


def is_pattern(subject: str) -> bool:
    """Whether it can be subscribed to, and would not hear what is NATS's own."""
    *tokens, last = subject.split(".")
    if len(subject.encode("utf-8", "replace")) > _MOST_BYTES:
        return False
    well_formed = all(token == "*" or _TOKEN.fullmatch(token) for token in tokens)
    well_formed = well_formed and bool(last in ("*", ">") or _TOKEN.fullmatch(last))
    return well_formed and not any(overlaps(subject, reserved) for reserved in RESERVED)


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
