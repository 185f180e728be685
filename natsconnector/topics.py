"""NATS subjects and who gets them. Pure."""

from __future__ import annotations


def overlaps(one: str, other: str) -> bool:
    """Whether some concrete subject matches both of two subscription subjects, either of which may have wildcards."""
    ones, others = one.split("."), other.split(".")
    for a, b in zip(ones, others, strict=False):
        if a == ">" or b == ">":
            return True
        if a != b and a != "*" and b != "*":
            return False
    return len(ones) == len(others)
