"""Requests and their replies, all on one inbox subscription."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple, NoReturn

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from natsconnector.nats.errors import NatsError, NoResponders, PermissionsViolation, RequestTimeout
from natsconnector.nats.subscription import Subscription
from natsconnector.nats.waiters import Waiters
from natsconnector.nats.wire.events import Msg
from natsconnector.nats.wire.headers import HeadersLike
from natsconnector.nats.wire.subjects import check_inbox_prefix


class _Pending(NamedTuple):
    subject: str
    replied: Deferred[Msg]


class Requests:
    """
    The open requests by token, the last part of their reply subject. Tokens are random, so that they cannot be guessed.

    A reply with another token - late, doubled, invented - is dropped.

    :param subscribe: as ``Session.subscribe``.
    :param publish: as ``Session.publish``.
    :param why_away: tells why there is no connection; None if there is one.
    """

    def __init__(
        self,
        clock: IReactorTime,
        random: Random,
        inbox_prefix: str,
        subscribe: Callable[[str, Callable[[Msg], object]], Subscription],
        publish: Callable[[str, bytes, str, HeadersLike | None], None],
        why_away: Callable[[], str | None],
    ) -> None:
        self._clock = clock
        self._random = random
        self._inbox_prefix = check_inbox_prefix(inbox_prefix)
        self._inbox = f"{self.new_inbox()}."
        self._subscribe = subscribe
        self._publish = publish
        self._why_away = why_away
        #: Where the replies come in, once there has been a request.
        self.subscription: Subscription | None = None
        self._pending: dict[str, _Pending] = {}
        # Subjects of attempts whose reply subject was refused; the message itself may be refused after that.
        self._given_up: set[str] = set()
        self._idle: Waiters[None] = Waiters()

    def __len__(self) -> int:
        return len(self._pending)

    def new_inbox(self) -> str:
        """A random subject for replies, below the inbox prefix."""
        return f"{self._inbox_prefix}.{self._token(128)}"

    def send(self, subject: str, payload: bytes, headers: HeadersLike | None, timeout_s: float) -> Deferred[Msg]:
        """Publish with a reply subject of our own; fires with the first message that comes there."""
        token = self._token(64)
        try:
            if self.subscription is None:
                self.subscription = self._subscribe(f"{self._inbox}*", self._reply)
                self.subscription.watch(self._inbox_changed)
            if self.subscription.error is not None:
                # The reply could not come.
                return fail(self.subscription.error)
            self._publish(subject, payload, self._inbox + token, headers)
        except Exception:
            return fail()
        replied: Deferred[Msg] = Deferred(lambda _: self._forget(token))
        self._pending[token] = _Pending(subject, replied)

        def too_late(_: object, timeout_s: float) -> NoReturn:
            raise RequestTimeout(subject, timeout_s, self._why_away())

        return replied.addTimeout(timeout_s, self._clock, onTimeoutCancel=too_late)

    def attempt(self, subject: str, payload: bytes, timeout_s: float) -> Deferred[Msg]:
        """A request that may not be allowed: only the caller is told of a refusal, and nothing is asked for again."""
        inbox = self.new_inbox()
        replied: Deferred[Msg] = Deferred(lambda _: self._forget(inbox))
        self._pending[inbox] = _Pending(subject, replied)

        def heard(msg: Msg) -> None:
            if inbox in self._pending:
                self._forget(inbox)
                replied.callback(msg)

        def look(subscription: Subscription) -> None:
            if subscription.error is not None and inbox in self._pending:
                self._forget(inbox)
                self._given_up.add(subject)
                replied.errback(subscription.error)

        subscription = self._subscribe(inbox, heard)
        subscription.is_asked_for_again = False
        subscription.watch(look)
        try:
            self._publish(subject, payload, inbox, None)
        except NatsError:
            self._forget(inbox)
            subscription.unsubscribe()
            return fail()

        def too_late(_: object, timeout_s: float) -> NoReturn:
            raise RequestTimeout(subject, timeout_s, self._why_away())

        def over(result: Msg | Failure) -> Msg | Failure:
            subscription.unsubscribe()
            return result

        replied.addTimeout(timeout_s, self._clock, onTimeoutCancel=too_late)
        return replied.addBoth(over)

    def when_idle(self) -> Deferred[None]:
        """Fires when no request is open."""
        return self._idle.wait() if self._pending else succeed(None)

    def fail_all(self, error: NatsError) -> None:
        """No reply can come any more: fail all open requests."""
        pending, self._pending = self._pending, {}
        for request in pending.values():
            if not request.replied.called:
                request.replied.errback(error)
        self._idle.fire(None)

    def refuse(self, error: PermissionsViolation) -> bool:
        """The server has refused a publish: fail the request that waits in vain because of that, if there is one."""
        for token, request in self._pending.items():
            if request.subject == error.subject:
                self._forget(token)
                request.replied.errback(error)
                return True
        if error.subject in self._given_up:
            self._given_up.remove(error.subject)
            return True
        return False

    def _inbox_changed(self, inbox: Subscription) -> None:
        if inbox.error is not None:
            self.fail_all(inbox.error)

    def _reply(self, msg: Msg) -> None:
        # A subject mapping of the server may have rewritten the reply subject; then it names no request.
        if not msg.subject.startswith(self._inbox):
            return
        token = msg.subject[len(self._inbox) :]
        request = self._pending.get(token)
        if request is None:
            return
        self._forget(token)
        # Only an inline status counts: any responder may send a header that is named Status.
        if not msg.payload and msg.status == 503:
            request.replied.errback(NoResponders(request.subject))
        else:
            request.replied.callback(msg)

    def _forget(self, token: str) -> None:
        if self._pending.pop(token, None) is not None and not self._pending:
            self._idle.fire(None)

    def _token(self, bits: int) -> str:
        return f"{self._random.getrandbits(bits):0{bits // 4}x}"
