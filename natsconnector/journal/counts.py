"""What is counted of messages and calls. Pure: whoever shows the numbers reads them here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

OTHER = "other"
"""The name under which functions are counted that are one too many, or are not known to exist."""

LOST = ("too_large", "not_published", "refused", "not_allowed")
"""Why an answer was not sent: it is too large for the server, no connection, no right, or nothing that is allowed."""

_MOST_CODES = 10
_MOST_FUNCTIONS = 500
_MOST_UNPROVEN = 50
_MOST_WAITING = 10_000
# A message that has not come back so long after its time was called by another connector, or is gone.
_OVERDUE_S = 60.0


@dataclass(slots=True)
class Counts:
    """Sums since the start."""

    received: int = 0
    """Messages; those that came again are not counted again."""
    redelivered: int = 0
    """Deliveries of durable messages that came again."""
    succeeded: int = 0
    """Calls."""
    failed: Counter[int] = field(default_factory=Counter)
    """Messages that ended in a failure, by status."""
    refused: Counter[int] = field(default_factory=Counter)
    """Those of them that were no call, by status."""
    retries: int = 0
    """Attempts that were followed by another one."""
    shed: int = 0
    """Messages that found no room."""
    replies_lost: Counter[str] = field(default_factory=Counter)
    """By one of :data:`LOST`."""
    dead_letters: int = 0
    dead_letters_failed: int = 0
    """Attempts to store one."""
    given_up: int = 0
    """Durable messages that failed for good where there is no place for dead letters."""
    gateway_outages: int = 0
    results: int = 0
    """Of asynchronous calls, published."""
    results_failed: int = 0
    """Attempts of the queue-worker to bring one that could not be published."""
    callbacks_refused: Counter[str] = field(default_factory=Counter)
    """By reason."""
    by_way: dict[str, int] = field(default_factory=dict)
    """The messages received, by the way in which they ask for calls."""

    def delivered(self, is_first: bool, way: str) -> None:
        """Count a delivery. :param is_first: of its message."""
        if is_first:
            self.received += 1
            self.by_way[way] = self.by_way.get(way, 0) + 1
        else:
            self.redelivered += 1

    def answer_not_sent(self, reason: str) -> None:
        """Count an answer that was not sent. :param reason: one of :data:`LOST`."""
        self.replies_lost[reason] += 1


class FunctionNames:
    """
    The names under which functions are told and counted. A publisher can write any name: only so many functions have a
    name of their own, and few of those that have never been seen to be there.
    """

    def __init__(self, most: int = _MOST_FUNCTIONS) -> None:
        self._most = most
        self._proven: set[str] = set()
        self._unproven: set[str] = set()

    def learn(self, function: str, *, is_proven: bool) -> None:
        """A call of the function was made. :param is_proven: it has got a response."""
        if is_proven:
            if len(self._proven) < self._most:
                self._proven.add(function)
        elif len(self._unproven) < _MOST_UNPROVEN:
            self._unproven.add(function)

    def name(self, function: str) -> str:
        """The function's own name if it has one, else :data:`OTHER`."""
        return function if function in self._proven or function in self._unproven else OTHER


def add_status(codes: dict[int, int], status: int) -> None:
    """Count a status. A function may answer with any: beyond ten different ones the others are counted as 0."""
    if status not in codes and len(codes) >= _MOST_CODES:
        status = 0
    codes[status] = codes.get(status, 0) + 1


class _Waiting(NamedTuple):
    first_s: float
    """When its first attempt failed."""
    due_s: float
    attempt: int


class Awaiting(NamedTuple):
    """What there is to say of the messages that wait for another attempt."""

    messages: int
    oldest_s: float
    """Since the first attempt of the one that waits longest failed; 0 when none waits."""
    highest_attempt: int
    """The number of the last attempt of the one with the most; 0 when none waits."""


class AnotherAttempt:
    """The messages that wait for another attempt."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    def waits(self, call_id: str, now_s: float, delay_s: float, attempt: int) -> None:
        """An attempt failed, and another one follows. :param attempt: the number of the one that failed."""
        known = self._waiting.get(call_id)
        if known is not None or len(self._waiting) < _MOST_WAITING:
            self._waiting[call_id] = _Waiting(now_s if known is None else known.first_s, now_s + delay_s, attempt)

    def ended(self, call_id: str) -> None:
        """The message has ended."""
        if self._waiting:
            self._waiting.pop(call_id, None)

    def look(self, now_s: float) -> Awaiting:
        """What there is to say of them now."""
        self._waiting = {name: each for name, each in self._waiting.items() if now_s < each.due_s + _OVERDUE_S}
        waiting = self._waiting.values()
        return Awaiting(
            len(waiting),
            now_s - min((each.first_s for each in waiting), default=now_s),
            max((each.attempt for each in waiting), default=0),
        )
