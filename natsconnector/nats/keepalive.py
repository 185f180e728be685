"""PINGs and their answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from natsconnector.nats.errors import NatsError
from natsconnector.nats.wire import encode


class KeepAlive:
    """
    The PINGs of one connection that wait for their PONG, and the regular ones that tell whether it lives.

    Every PING has its entry, oldest first, since PONGs carry no name.

    :param max_out: so many regular PINGs in a row without an answer are too many.
    :param send: puts a frame on the wire.
    :param stale: called with their number when there are too many.
    """

    def __init__(
        self,
        clock: IReactorTime,
        interval_s: float,
        max_out: int,
        send: Callable[[bytes], None],
        stale: Callable[[int], None],
    ) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._max_out = max_out
        self._send = send
        self._stale = stale
        self._pings: deque[Deferred[None]] = deque()
        self._unanswered = 0
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Begin with the regular PINGs."""
        self._timer = self._clock.callLater(self._interval_s, self._beat)

    def stop(self) -> None:
        """Send no more regular PINGs."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def ping(self, behind: bytes = b"") -> Deferred[None]:
        """Send a PING, right behind a frame if there is one; fires with its PONG."""
        answered: Deferred[None] = Deferred()
        self._pings.append(answered)
        self._send(behind + encode.PING)
        return answered

    def check(self) -> None:
        """Send a PING whose answer only counts as a sign of life."""
        self.ping().addErrback(lambda _: None)  # connectionLost reports why it failed

    def answered(self) -> None:
        """A PONG has come: the server lives, however many PINGs it has not answered."""
        self._unanswered = 0
        if self._pings:
            # The entry of a cancelled flush is still here, so that its PONG is not taken for the next one's.
            self._pings.popleft().callback(None)

    def fail_all(self, error: NatsError) -> None:
        """No PONG will come any more."""
        pings, self._pings = self._pings, deque()
        for answered in pings:
            answered.errback(error)

    def _beat(self) -> None:
        if self._unanswered >= self._max_out:
            self._stale(self._unanswered)
            return
        self._unanswered += 1
        self.start()
        self.check()
