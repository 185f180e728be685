"""Time-outs of many requests, with one timer for all that last equally long."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime


class Timed(Protocol):
    """What has a time-out."""

    def time_out(self) -> None:
        """The time is over."""


class Timeouts:
    """
    The time-outs of one length.

    They end in the order in which they began, so one timer is enough: a timer for each request costs more than the rest
    of what a request needs.

    :param length_s: of each.
    """

    def __init__(self, clock: IReactorTime, length_s: float) -> None:
        self.length_s = length_s
        self._clock = clock
        self._ends: dict[Timed, float] = {}
        self._timer: Any = None

    def begin(self, timed: Timed) -> None:
        """Have ``timed`` told when its time is over, unless :meth:`end` comes before."""
        self._ends[timed] = self._clock.seconds() + self.length_s
        if self._timer is None:
            self._timer = self._clock.callLater(self.length_s, self._look)

    def end(self, timed: Timed) -> None:
        """There is no time-out any more, if there was one."""
        self._ends.pop(timed, None)
        if not self._ends and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        over = []
        for timed, end in self._ends.items():
            if end > now:
                self._timer = self._clock.callLater(end - now, self._look)
                break
            over.append(timed)
        for timed in over:
            # Another one of them may have ended it meanwhile.
            if self._ends.pop(timed, None) is not None:
                timed.time_out()
