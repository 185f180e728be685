"""A request that many may answer (ADR-47)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from natsconnector.nats.errors import ClientClosed, NatsError, NoResponders, PermissionsViolation, RequestTimeout
from natsconnector.nats.subscription import Subscription
from natsconnector.nats.wire.events import Msg
from natsconnector.nats.wire.headers import HeadersLike

_MOST_BYTES = 64 << 20


class Messenger(Protocol):
    """What such a request needs of a client."""

    def new_inbox(self) -> str: ...

    def subscribe(self, subject: str, callback: Callable[[Msg], object]) -> Subscription: ...

    def publish(
        self, subject: str, payload: bytes = b"", *, reply: str | None = None, headers: HeadersLike | None = None
    ) -> None: ...

    def watch_refused_publishes(self, callback: Callable[[PermissionsViolation], object]) -> Callable[[], None]: ...


class RequestMany:
    """
    One such request, from its sending to its end; the parameters are those of ``NatsClient.request_many``.

    :param why_away: tells why there is no connection; None if there is one.
    """

    def __init__(
        self,
        clock: IReactorTime,
        client: Messenger,
        most: int,
        pause_s: float | None,
        is_last: Callable[[Msg], bool] | None,
        why_away: Callable[[], str | None],
    ) -> None:
        self._clock = clock
        self._client = client
        self._most = most
        self._pause_s = pause_s
        self._is_last = is_last
        self._why_away = why_away
        self._replies: list[Msg] = []
        self._bytes = 0
        self._pausing: IDelayedCall | None = None
        self._done: Deferred[list[Msg]] = Deferred()

    def send(self, subject: str, payload: bytes, headers: HeadersLike | None, timeout_s: float) -> Deferred[list[Msg]]:
        """Publish; fires with the replies."""
        self._subject = subject
        inbox = self._client.new_inbox()
        try:
            subscription = self._client.subscribe(inbox, self._heard)
        except NatsError:
            return fail()
        subscription.is_asked_for_again = False
        subscription.watch(self._look)
        unwatch = self._client.watch_refused_publishes(self._refused)
        late = self._clock.callLater(timeout_s, self._late, timeout_s)

        def over(result: list[Msg] | Failure) -> list[Msg] | Failure:
            for timer in (late, self._pausing):
                if timer is not None and timer.active():
                    timer.cancel()
            unwatch()
            subscription.unsubscribe()
            return result

        self._done.addBoth(over)
        try:
            self._client.publish(subject, payload, reply=inbox, headers=headers)
        except Exception:
            self._done.errback()
            return self._done
        # Who closes the client ends the wait.
        subscription.when_ended().addCallback(self._closed)
        return self._done

    def _heard(self, msg: Msg) -> None:
        if self._done.called:
            return
        if msg.status == 503 and not msg.payload and not self._replies:
            self._done.errback(NoResponders(self._subject))
            return
        self._replies.append(msg)
        self._bytes += len(msg.payload) + len(msg.header_block)
        is_full = len(self._replies) >= self._most or self._bytes >= _MOST_BYTES
        if is_full or (self._is_last is not None and self._is_last(msg)):
            self._end()
        elif self._pause_s is not None:
            if self._pausing is None:
                self._pausing = self._clock.callLater(self._pause_s, self._end)
            else:
                self._pausing.reset(self._pause_s)

    def _end(self) -> None:
        if not self._done.called:
            self._done.callback(self._replies)

    def _closed(self, _: None) -> None:
        if self._replies:
            self._end()
        elif not self._done.called:
            self._done.errback(ClientClosed())

    def _late(self, timeout_s: float) -> None:
        if self._replies:
            self._end()
        elif not self._done.called:
            self._done.errback(RequestTimeout(self._subject, timeout_s, self._why_away()))

    def _look(self, subscription: Subscription) -> None:
        if subscription.error is not None and not self._done.called:
            self._done.errback(subscription.error)

    def _refused(self, error: PermissionsViolation) -> None:
        if error.subject == self._subject and not self._replies and not self._done.called:
            self._done.errback(error)
