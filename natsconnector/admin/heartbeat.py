"""How late the reactor is: what waits in it does so because something else has kept it busy."""

from __future__ import annotations

from collections import deque

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_INTERVAL_S = 1.0
_KEPT = 60


class Heartbeat:
    """Has itself called each second, and looks at how late that is."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._due = 0.0
        self._delays: deque[float] = deque(maxlen=_KEPT)

    @property
    def delay_s(self) -> float:
        """The longest delay of the last minute, that of the beat which is overdue now included."""
        overdue_s = self._clock.seconds() - self._due if self._timer is not None else 0.0
        return max(0.0, overdue_s, *self._delays)

    def start(self) -> None:
        """Begin to beat."""
        self._due = self._clock.seconds() + _INTERVAL_S
        self._timer = self._clock.callLater(_INTERVAL_S, self._beat)

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        self._delays.append(self._clock.seconds() - self._due)
        self.start()
