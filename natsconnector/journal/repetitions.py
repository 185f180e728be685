"""Keeps what repeats itself from filling the log."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from twisted.internet.interfaces import IDelayedCall, IReactorTime

SayMore = Callable[[int, float], object]
"""Called with how often a kind came again, and within how many seconds."""


@dataclass(slots=True)
class _Kind:
    say_more: SayMore
    timer: IDelayedCall
    step: int = 0
    count: int = 0


class Repetitions:
    """
    The first of a kind is told in full. The others are counted, and the count is told after an interval, which grows
    as long as the kind goes on to come: a steady failure makes a few lines an hour. A kind that has not come for a
    whole interval is new again.

    :param intervals_s: the first interval, the second and so on; the last one stays.
    """

    _MOST_KINDS = 200

    def __init__(self, clock: IReactorTime, intervals_s: tuple[float, ...] = (10.0, 60.0, 600.0)) -> None:
        self._clock = clock
        self._intervals_s = intervals_s
        self._kinds: dict[Hashable, _Kind] = {}

    def is_first(self, kind: Hashable, say_more: SayMore, others: SayMore | None = None) -> bool:
        """
        Whether this is to be told in full; otherwise it is counted.

        :param say_more: tells the count.
        :param others: the same, for kinds that are one too many and share a count; else ``say_more`` of the first.
        """
        if kind not in self._kinds and len(self._kinds) >= self._MOST_KINDS:
            kind, say_more = None, others or say_more  # kinds may be made of what a publisher wrote
        known = self._kinds.get(kind)
        if known is not None:
            known.count += 1
            return False
        self._kinds[kind] = _Kind(say_more, self._clock.callLater(self._intervals_s[0], self._interval_over, kind))
        return True

    def _interval_over(self, kind: Hashable) -> None:
        known = self._kinds[kind]
        if not known.count:
            del self._kinds[kind]
            return
        self._tell(known)
        known.step = min(known.step + 1, len(self._intervals_s) - 1)
        known.timer = self._clock.callLater(self._intervals_s[known.step], self._interval_over, kind)

    def _tell(self, known: _Kind) -> None:
        count, known.count = known.count, 0
        known.say_more(count, self._intervals_s[known.step])

    def finish(self) -> None:
        """Tell what is counted, and stop counting."""
        kinds, self._kinds = self._kinds, {}
        for known in kinds.values():
            known.timer.cancel()
            if known.count:
                self._tell(known)
