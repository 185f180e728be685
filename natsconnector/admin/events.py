"""Server-sent events: what is new, once a second, encoded once for all who look."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.server import Request
from zope.interface import implementer

from natsconnector.admin.status import Status

MOST_LISTENERS = 16
_INTERVAL_S = 1.0
# When all places are taken, the next listener gets the place of the one that has had it longest, though not sooner: so
# one that is asleep, or gone without a word, which TCP notices after a quarter of an hour, keeps nobody out for long. A
# browser whose place is given away comes again by itself.
_PLACE_S = 60.0


class Events:
    """
    Tells each listener the whole state when it comes, then what is new. While there is none, nothing is done.

    :param status: what is told.
    """

    def __init__(self, clock: IReactorTime, status: Status) -> None:
        self._clock = clock
        self._status = status
        self._listeners: dict[_Listener, None] = {}
        self._timer: IDelayedCall | None = None
        self._whole: tuple[float, bytes] | None = None
        self._is_stopped = False

    @property
    def listeners(self) -> int:
        """How many there are."""
        return len(self._listeners)

    @property
    def has_room(self) -> bool:
        """Whether one more may come: there is a place, or one that may be given away."""
        if self._is_stopped:
            return False
        if len(self._listeners) < MOST_LISTENERS:
            return True
        return self._clock.seconds() - next(iter(self._listeners)).came_at >= _PLACE_S

    def take(self, request: Request) -> None:
        """Answer a request until its client goes away, or has to make room. There has to be room for it."""
        if len(self._listeners) >= MOST_LISTENERS:
            self._drop(next(iter(self._listeners)))
        listener = _Listener(request, self._clock.seconds())
        if not self._listeners:
            self._status.catch_up()
            self._timer = self._clock.callLater(_INTERVAL_S, self._tick)
        whole = self._whole_now()
        self._listeners[listener] = None
        request.notifyFinish().addBoth(lambda _: self._gone(listener))
        request.registerProducer(listener, True)
        request.write(whole)

    def stop(self) -> None:
        """End every answer, and take no more."""
        self._is_stopped = True
        for listener in list(self._listeners):
            listener.finish()
        self._cancel()

    def _whole_now(self) -> bytes:
        """Who comes many times within a second is given the same: what it lacks is news of the next second."""
        now = self._clock.seconds()
        if self._whole is None or not 0 <= now - self._whole[0] < _INTERVAL_S:
            self._whole = now, self._status.whole()
        return self._whole[1]

    def _tick(self) -> None:
        # Before anything that could fail: one defect must not be the last event.
        self._timer = self._clock.callLater(_INTERVAL_S, self._tick)
        # The transport keeps what a browser does not read, up to a bound, and so does the kernel: a browser that is
        # still behind after a second does not read. One that was only slow connects again by itself.
        for listener in [each for each in self._listeners if each.is_behind]:
            self._drop(listener)
        if not self._listeners:
            return
        news = self._status.news()
        # An event older than these news lacks them, which whoever listens next would miss.
        self._whole = None
        for listener in list(self._listeners):
            listener.request.write(news)

    def _drop(self, listener: _Listener) -> None:
        self._gone(listener)
        listener.abort()

    def _gone(self, listener: _Listener) -> None:
        self._listeners.pop(listener, None)
        if not self._listeners:
            self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._whole = None


@implementer(IPushProducer)
class _Listener:
    """One answer that does not end. The transport takes it for a producer, and tells it when too much is unsent."""

    def __init__(self, request: Request, came_at: float) -> None:
        self.request = request
        self.came_at = came_at
        self.is_behind = False

    def pauseProducing(self) -> None:
        self.is_behind = True

    def resumeProducing(self) -> None:
        self.is_behind = False

    def stopProducing(self) -> None:
        self.is_behind = True

    def finish(self) -> None:
        self.request.unregisterProducer()
        self.request.finish()

    def abort(self) -> None:
        channel: Any = self.request.channel
        channel.abort()
