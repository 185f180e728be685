"""One subscription: what comes of it, whether the server has it, and its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from natsconnector.nats.errors import ClientClosed, ConnectionLost, ServerError, SubscriptionEnded
from natsconnector.nats.waiters import Waiters
from natsconnector.nats.watchers import Watchers
from natsconnector.nats.wire import encode
from natsconnector.nats.wire.events import Msg


class Owner(Protocol):
    """What a subscription needs of the object that holds all subscriptions."""

    def has(self, subscription: Subscription) -> bool: ...

    def remove(self, subscription: Subscription) -> None: ...

    def send(self, frame: bytes) -> None: ...

    def confirm(self) -> Deferred[None]: ...

    def callback_failed(self, failure: Failure, subject: str) -> None: ...


class Subscription:
    """
    One subscription; it lives across reconnects until it is unsubscribed or drained.

    A server may refuse a subscription, at once or later, when a right is taken back. The client asks again, with
    growing pauses while the connection lives and at once on the next one, until the server takes it.

    :ivar delivered: how many messages were given to its callback.
    :ivar confirmed: whether the server has taken it, on the connection that there is.
    :ivar error: why the server refuses it, until the server takes it; None if it does not.
    :ivar is_asked_for_again: whether the client tells of a refusal and asks again.
    """

    def __init__(
        self,
        owner: Owner,
        sid: int,
        subject: str,
        queue: str | None,
        callback: Callable[[Msg], object],
    ) -> None:
        self.sid = sid
        self.subject = subject
        self.queue = queue
        self.delivered = 0
        self.confirmed = False
        self.error: ServerError | None = None
        self.is_asked_for_again = True
        self._owner = owner
        self._callback = callback
        self._max_msgs: int | None = None
        self._delivered_before = 0  # on earlier connections, which this server knows nothing of
        self._ending = False
        self._running = 0  # Deferreds of callbacks that have not fired
        self._idle: Waiters[None] = Waiters()
        self._when_confirmed: Waiters[None] = Waiters()
        self._when_ended: Waiters[None] = Waiters()
        self._watchers: Watchers[[Subscription]] = Watchers("Subscription.watch")

    def when_confirmed(self) -> Deferred[None]:
        """
        Fires when the server has taken it, at once if it has; waits through refusals, which ``error`` tells.

        Fails with ``SubscriptionEnded``, and with ``ClientClosed``.
        """
        if self.confirmed:
            return succeed(None)
        return self._when_confirmed.wait() if self._owner.has(self) else fail(SubscriptionEnded(self.subject))

    def when_ended(self) -> Deferred[None]:
        """Fires when it has ended: unsubscribed, drained, or its client closed."""
        return self._when_ended.wait() if self._owner.has(self) else succeed(None)

    def watch(self, callback: Callable[[Subscription], object]) -> Callable[[], None]:
        """Have ``callback(subscription)`` called when ``confirmed`` or ``error`` change; returns what ends that."""
        return self._watchers.add(callback)

    def unsubscribe(self, max_msgs: int | None = None) -> None:
        """End it: now, or when ``max_msgs`` messages have been delivered in all."""
        if not self._owner.has(self):
            return
        if max_msgs is None or max_msgs <= self.delivered:
            self._owner.remove(self)
            self._owner.send(encode.unsubscribe(self.sid))
        else:
            self._max_msgs = max_msgs
            # The server counts from the SUB that it got.
            self._owner.send(encode.unsubscribe(self.sid, max_msgs - self._delivered_before))

    def drain(self) -> Deferred[None]:
        """
        End it, but deliver what is already on its way; fires when that is done, the callbacks' Deferreds included.

        Fails with ``FlushTimeout`` if the server does not answer; it is over then, too.
        """
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        if not self._owner.has(self):
            return
        self._ending = True
        self._owner.send(encode.unsubscribe(self.sid))
        try:
            # Without a connection nothing more can come, and the drain is done.
            with contextlib.suppress(ConnectionLost, ClientClosed):
                await self._owner.confirm()
            if self._running and self._owner.has(self):
                await self._idle.wait()
        finally:
            self._owner.remove(self)

    # What its owner tells

    def deliver(self, msg: Msg) -> None:
        """A message has come. What the callback raises is logged."""
        self.delivered += 1
        if self._max_msgs is not None and self.delivered >= self._max_msgs:
            self._owner.remove(self)
        try:
            result = self._callback(msg)
        except Exception:
            self._owner.callback_failed(Failure(), self.subject)
            return
        # A comparison with None costs a tenth of isinstance.
        if result is not None and isinstance(result, Deferred):
            self._running += 1
            result.addErrback(self._owner.callback_failed, self.subject).addBoth(self._ran)

    def _ran(self, result: object) -> object:
        self._running -= 1
        if not self._running:
            self._idle.fire(None)
        return result

    def frame(self) -> bytes | None:
        """What asks a server for it; None when it is about to end."""
        if self._ending:
            return None
        self._delivered_before = self.delivered
        frame = encode.subscribe(self.subject, self.queue, self.sid)
        if self._max_msgs is not None:
            frame += encode.unsubscribe(self.sid, self._max_msgs - self.delivered)
        return frame

    def is_taken(self) -> None:
        """The server has taken it."""
        self._change(True, None)
        self._when_confirmed.fire(None)

    def is_refused(self, error: ServerError) -> None:
        """The server does not take it, or takes it away."""
        self._change(False, error)

    def is_gone(self) -> None:
        """The connection has ended."""
        self._change(False, self.error)

    def has_ended(self, error: ClientClosed | SubscriptionEnded) -> None:
        """Its owner has forgotten it."""
        self._change(False, self.error)
        self._when_confirmed.fail(error)
        self._when_ended.fire(None)

    def give_up(self) -> None:
        """The client is closed: no drain waits any longer for work that is under way."""
        self.has_ended(ClientClosed())
        self._idle.fire(None)

    def _change(self, confirmed: bool, error: ServerError | None) -> None:
        if (confirmed, error) != (self.confirmed, self.error):
            self.confirmed, self.error = confirmed, error
            self._watchers.tell(self)
