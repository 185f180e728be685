"""Keeps failures that repeat themselves from filling the log."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Repetitions:
    """
    Keeps what repeats itself from filling the log: the first of a kind is said, the others are counted.

    :param say_more: called with a kind and how often it came again within the interval.
    """

    _MOST_KINDS = 200

    def __init__(
        self, clock: IReactorTime, say_more: Callable[[Hashable, int], None], interval_s: float = 10.0
    ) -> None:
        self._clock = clock
        self._say_more = say_more
        self._interval_s = interval_s
        self._counts: dict[Hashable, int] = {}
        self._timers: dict[Hashable, IDelayedCall] = {}

    def is_first(self, kind: Hashable) -> bool:
        """Whether this is the first of its kind for an interval; otherwise it is counted."""
        if kind not in self._counts and len(self._counts) >= self._MOST_KINDS:
            kind = None  # kinds may be made of what a publisher wrote: beyond a bound they share one count
        if kind in self._counts:
            self._counts[kind] += 1
            return False
        self._counts[kind] = 0
        self._timers[kind] = self._clock.callLater(self._interval_s, self._interval_over, kind)
        return True

    def _interval_over(self, kind: Hashable) -> None:
        del self._timers[kind]
        if again := self._counts.pop(kind):
            self._say_more(kind, again)

    def finish(self) -> None:
        """Say what is counted and stop counting."""
        for kind, timer in list(self._timers.items()):
            timer.cancel()
            self._interval_over(kind)
