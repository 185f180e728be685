"""What is counted of messages and calls. Pure: whoever shows the numbers reads them here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

OTHER = "other"
"""The name under which functions are counted that are one too many, or are not known to exist."""

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
    replies_lost: int = 0
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


class AnotherAttempt:
    """The messages that wait for another attempt."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[float, float]] = {}

    def waits(self, call_id: str, now_s: float, delay_s: float) -> None:
        """An attempt failed, and another one follows."""
        first, _ = self._waiting.get(call_id, (now_s, 0.0))
        if call_id in self._waiting or len(self._waiting) < _MOST_WAITING:
            self._waiting[call_id] = (first, now_s + delay_s)

    def ended(self, call_id: str) -> None:
        """The message has ended."""
        if self._waiting:
            self._waiting.pop(call_id, None)

    def count_and_oldest_s(self, now_s: float) -> tuple[int, float]:
        """How many wait, and since when the one that waits longest has, in seconds."""
        self._waiting = {name: times for name, times in self._waiting.items() if now_s < times[1] + _OVERDUE_S}
        return len(self._waiting), now_s - min((first for first, _ in self._waiting.values()), default=now_s)
