"""Who gets which message."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import count

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from natsconnector.nats.errors import ClientClosed, ConnectionLost, PermissionsViolation
from natsconnector.nats.waiters import Waiters
from natsconnector.nats.wire import encode
from natsconnector.nats.wire.events import Msg


class Subscription:
    """One subscription; it lives across reconnects until it is unsubscribed or drained.

    ``delivered`` counts the messages given to its callback. ``error`` is set when the server refuses it for lack of
    permission; it is asked for again with the next connection.
    """

    def __init__(
        self,
        owner: Subscriptions,
        sid: int,
        subject: str,
        queue: str | None,
        callback: Callable[[Msg], object],
    ) -> None:
        self.subject = subject
        self.queue = queue
        self.delivered = 0
        self.error: PermissionsViolation | None = None
        self._owner = owner
        self._sid = sid
        self._callback = callback
        self._max_msgs: int | None = None
        self._delivered_before = 0  # on earlier connections, which this server knows nothing of
        self._ending = False
        self._running = 0  # Deferreds of callbacks that have not fired
        self._idle: Waiters[None] = Waiters()

    def unsubscribe(self, max_msgs: int | None = None) -> None:
        """End it: now, or when ``max_msgs`` messages have been delivered in all."""
        if not self._owner.has(self._sid):
            return
        if max_msgs is None or max_msgs <= self.delivered:
            self._owner.remove(self._sid)
            self._owner.send(encode.unsubscribe(self._sid))
        else:
            self._max_msgs = max_msgs
            # The server counts from the SUB it got.
            self._owner.send(encode.unsubscribe(self._sid, max_msgs - self._delivered_before))

    def drain(self) -> Deferred[None]:
        """End it, but deliver what is already on its way; fires when that is done, the callbacks' Deferreds included.

        Fails with ``FlushTimeout`` if the server does not answer; it is over then, too.
        """
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        if not self._owner.has(self._sid):
            return
        self._ending = True
        self._owner.send(encode.unsubscribe(self._sid))
        try:
            # When there is no connection any more nothing can come, which is what was asked for.
            with contextlib.suppress(ConnectionLost, ClientClosed):
                await self._owner.confirm()
            if self._running and self._owner.has(self._sid):
                await self._idle.wait()
        finally:
            self._owner.remove(self._sid)

    def _deliver(self, msg: Msg) -> None:
        self.delivered += 1
        if self._max_msgs is not None and self.delivered >= self._max_msgs:
            self._owner.remove(self._sid)
        result = self._callback(msg)
        if isinstance(result, Deferred):
            self._running += 1
            result.addErrback(self._owner.callback_failed, self.subject).addBoth(self._ran)

    def _ran(self, result: object) -> object:
        self._running -= 1
        if not self._running:
            self._idle.fire(None)
        return result

    def _frames(self) -> Iterator[bytes]:
        """What asks a new server for it."""
        if self._ending:
            return
        self.error = None
        self._delivered_before = self.delivered
        yield encode.subscribe(self.subject, self.queue, self._sid)
        if self._max_msgs is not None:
            yield encode.unsubscribe(self._sid, self._max_msgs - self.delivered)


class Subscriptions:
    """All subscriptions of a client, by sid. Sids are never used twice, not even on another connection.

    ``send`` takes a frame to the server, if there is one; ``confirm`` fires when the server has taken all of them.
    """

    _log = Logger()

    def __init__(self, send: Callable[[bytes], None], confirm: Callable[[], Deferred[None]]) -> None:
        self.send = send
        self.confirm = confirm
        self._by_sid: dict[int, Subscription] = {}
        self._sids = count(1)

    def add(self, subject: str, queue: str | None, callback: Callable[[Msg], object]) -> Subscription:
        """Subscribe. Raises ``BadSubject`` before anything is sent."""
        sid = next(self._sids)
        frame = encode.subscribe(subject, queue, sid)
        subscription = self._by_sid[sid] = Subscription(self, sid, subject, queue, callback)
        self.send(frame)
        return subscription

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_sid.values())

    def has(self, sid: int) -> bool:
        """Whether it is still there."""
        return sid in self._by_sid

    def remove(self, sid: int) -> None:
        """Forget it; messages that still come for it are dropped."""
        self._by_sid.pop(sid, None)

    def clear(self) -> None:
        """Forget all; no drain waits any longer."""
        subscriptions = list(self)
        self._by_sid.clear()
        for subscription in subscriptions:
            subscription._idle.fire(None)

    def deliver(self, msg: Msg) -> None:
        """Give a message to its subscription; what the callback raises is logged and harms nobody else."""
        subscription = self._by_sid.get(msg.sid)
        if subscription is None:
            return
        try:
            subscription._deliver(msg)
        except Exception:
            self.callback_failed(Failure(), subscription.subject)

    def callback_failed(self, failure: Failure, subject: str) -> None:
        """Log what a callback has raised, or its Deferred failed with."""
        self._log.failure("the callback of subscription {subject} has failed", failure=failure, subject=subject)

    def frames(self) -> list[bytes]:
        """What asks a new server for all of them."""
        return [frame for subscription in self._by_sid.values() for frame in subscription._frames()]

    def pausing_frames(self, but: Subscription | None) -> list[bytes]:
        """What ends the messages of all, ``but`` of one, on this connection; the next one has them again."""
        return [encode.unsubscribe(each._sid) for each in self if each is not but]

    def refuse(self, error: PermissionsViolation) -> None:
        """Note at the first subscription it can be about that the server refused it."""
        for subscription in self._by_sid.values():
            asked = subscription.subject, subscription.queue
            if asked == (error.subject, error.queue) and subscription.error is None:
                subscription.error = error
                return
