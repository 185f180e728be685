"""Requests and their replies, all on one inbox subscription."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple, NoReturn

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from natsconnector.nats.errors import NatsError, NoResponders, PermissionsViolation, RequestTimeout
from natsconnector.nats.events import Msg
from natsconnector.nats.headers import HeadersLike
from natsconnector.nats.subjects import check_inbox_prefix


class _Pending(NamedTuple):
    subject: str
    replied: Deferred[Msg]


class Requests:
    """The open requests by token, the last part of their reply subject. Tokens are random, so nobody guesses them.

    A reply with another token - late, doubled, invented - is dropped.
    """

    def __init__(
        self,
        clock: IReactorTime,
        random: Random,
        inbox_prefix: str,
        subscribe: Callable[[str, Callable[[Msg], object]], object],
        publish: Callable[[str, bytes, str, HeadersLike | None], None],
    ) -> None:
        self._clock = clock
        self._random = random
        self._inbox = f"{check_inbox_prefix(inbox_prefix)}.{self._token(128)}."
        self._subscribe = subscribe
        self._publish = publish
        self._subscribed = False
        self._pending: dict[str, _Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def send(self, subject: str, payload: bytes, headers: HeadersLike | None, timeout_s: float) -> Deferred[Msg]:
        """Publish with a reply subject of our own; fires with the first message that comes there."""
        token = self._token(64)
        try:
            if not self._subscribed:
                self._subscribe(f"{self._inbox}*", self._reply)
                self._subscribed = True
            self._publish(subject, payload, self._inbox + token, headers)
        except Exception:
            return fail()
        replied: Deferred[Msg] = Deferred(lambda _: self._forget(token))
        self._pending[token] = _Pending(subject, replied)

        def too_late(_: object, timeout_s: float) -> NoReturn:
            raise RequestTimeout(subject, timeout_s)

        return replied.addTimeout(timeout_s, self._clock, onTimeoutCancel=too_late)

    def fail_all(self, error: NatsError) -> None:
        """Nobody will get an answer any more."""
        pending, self._pending = self._pending, {}
        for request in pending.values():
            if not request.replied.called:
                request.replied.errback(error)

    def refuse(self, error: PermissionsViolation) -> None:
        """The server has refused a publish or the inbox: fail who waits in vain because of that."""
        if error.operation == "subscription":
            if error.subject == f"{self._inbox}*":
                self.fail_all(error)
            return
        for token, request in self._pending.items():
            if request.subject == error.subject:
                del self._pending[token]
                request.replied.errback(error)
                return

    def _reply(self, msg: Msg) -> None:
        # A subject mapping may have rewritten the reply subject; then it is not known to be ours.
        if not msg.subject.startswith(self._inbox):
            return
        request = self._pending.pop(msg.subject[len(self._inbox) :], None)
        if request is None:
            return
        # Only an inline status counts: anybody may send a header that is named Status.
        if not msg.payload and msg.status == 503:
            request.replied.errback(NoResponders(request.subject))
        else:
            request.replied.callback(msg)

    def _forget(self, token: str) -> None:
        self._pending.pop(token, None)

    def _token(self, bits: int) -> str:
        return f"{self._random.getrandbits(bits):0{bits // 4}x}"
