"""What the statuses say that a server sends to a pull. Source: ADR-13, ADR-37 and the server. Pure."""

from __future__ import annotations

import enum
import re


class Then(enum.Enum):
    """What follows a status."""

    WAIT = enum.auto()
    NEXT = enum.auto()
    SMALLER = enum.auto()
    LATER = enum.auto()
    LOST = enum.auto()


# Status and text of it, as servers from 2.9 to 2.15 send them; the first row that fits counts.
_STATUSES: tuple[tuple[int | None, re.Pattern[str], Then], ...] = tuple(
    (status, re.compile(text, re.IGNORECASE), then)
    for status, text, then in (
        (100, "", Then.WAIT),
        (408, "", Then.NEXT),
        (None, "batch completed", Then.NEXT),
        (None, r"exceeded maxrequest(batch|expires) of (\S+)", Then.SMALLER),
        (None, "leadership change|server shutdown|exceeded", Then.LATER),
        (404, "", Then.LATER),
        (None, "", Then.LOST),
    )
)


def what_follows(status: int | None, text: str) -> tuple[Then, re.Match[str]]:
    """What a pull does after a status, and how the text of the status was read."""
    for of, pattern, then in _STATUSES:
        if of in (None, status) and (found := pattern.search(text)) is not None:
            return then, found
    raise AssertionError("the last row of the table fits all")
