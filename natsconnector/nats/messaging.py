"""What a client does with messages: publish, subscribe, request."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from natsconnector.nats.errors import PermissionsViolation
from natsconnector.nats.messages import Messages
from natsconnector.nats.request_many import RequestMany
from natsconnector.nats.session import Session
from natsconnector.nats.subscription import Subscription
from natsconnector.nats.wire.events import Msg
from natsconnector.nats.wire.headers import HeadersLike


class Messaging:
    """
    The part of a client that has to do with messages.

    :param check: raises when nothing may be subscribed to any more.
    """

    def __init__(self, clock: IReactorTime, session: Session, check: Callable[[], None]) -> None:
        self._clock = clock
        self._session = session
        self._check = check

    def publish(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        reply: str | None = None,
        headers: HeadersLike | None = None,
    ) -> None:
        """
        Send a message, now or when there is a connection again. What is refused here has not been sent.

        :raises BadSubject: subject or reply cannot be put on the wire.
        :raises BadHeader: a header cannot be.
        :raises MaxPayloadExceeded: headers and payload are larger than the server takes.
        :raises OutboundBufferFull: too much waits already.
        :raises HeadersNotSupported: the server takes no headers.
        :raises ClientClosed: the client was closed, or drained.
        :raises TypeError: the payload is not bytes.
        """
        self._session.publish(subject, payload, reply, headers)

    def subscribe(self, subject: str, callback: Callable[[Msg], object], *, queue: str | None = None) -> Subscription:
        """
        Have ``callback`` called with each message of a subject.

        The callback is called synchronously and may do anything, closing the client included; what it raises is
        logged. A Deferred that it returns is work which a drain waits for.

        :param queue: a queue group, whose members share the messages.
        :raises BadSubject: subject or queue group cannot be put on the wire.
        :raises ClientClosed: the client was closed, or is being drained.
        """
        self._check()
        return self._session.subscribe(subject, callback, queue)

    def watch_refused_publishes(self, callback: Callable[[PermissionsViolation], object]) -> Callable[[], None]:
        """
        Have ``callback(error)`` called with each publish that a server refuses, until what is returned is called.

        The error has the ``subject``. The server says it some time after the message was sent, and not which of several
        messages to one subject it was.
        """
        return self._session.refused_publishes.add(callback)

    def request(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        headers: HeadersLike | None = None,
        timeout_s: float = 5.0,
    ) -> Deferred[Msg]:
        """
        Publish and wait for the first reply.

        Fails with ``NoResponders`` at once when nobody listens, with ``RequestTimeout``, with ``ConnectionLost``
        when the connection ends (the reply could not come any more), with ``PermissionsViolation``, and with what
        ``publish`` raises.
        """
        if self._session.refusal is not None:
            return fail(self._session.refusal())
        return self._session.requests.send(subject, payload, headers, timeout_s)

    def attempt_request(self, subject: str, payload: bytes = b"", *, timeout_s: float = 5.0) -> Deferred[Msg]:
        """
        A request that this user may not be allowed to make.

        Fails as ``request`` does. A refusal is told by ``PermissionsViolation`` alone: no log line says it, and the
        client does not ask for the reply subject again.
        """
        if self._session.refusal is not None:
            return fail(self._session.refusal())
        return self._session.requests.attempt(subject, payload, timeout_s)

    def request_many(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        headers: HeadersLike | None = None,
        timeout_s: float = 5.0,
        most: int = 1000,
        pause_s: float | None = None,
        is_last: Callable[[Msg], bool] | None = None,
    ) -> Deferred[list[Msg]]:
        """
        Publish and collect the replies of all who answer (ADR-47).

        It fires with what has come when ``timeout_s`` is over, when there are ``most`` replies, or 64 MiB of them, or
        when there was none for ``pause_s`` after another. Fails with ``RequestTimeout`` when there was none at all, and
        as ``request`` does; a connection that ends is no failure: what comes over the next one counts.

        :param pause_s: None does not mind pauses.
        :param is_last: tells whether a reply, which is among them, is the last one.
        """
        if self._session.refusal is not None:
            return fail(self._session.refusal())
        requested = RequestMany(self._clock, self, most, pause_s, is_last, self._session.why_away)
        return requested.send(subject, payload, headers, timeout_s)

    def messages(
        self, subject: str, *, queue: str | None = None, most: int = 10_000, most_bytes: int = 64 << 20
    ) -> Messages:
        """
        Subscribe, and take the messages one after the other: ``async for msg in client.messages("jobs")``.

        :param most: so many may wait for the loop, and so many bytes; what comes beyond is dropped, counted and told.
        :raises BadSubject: subject or queue group cannot be put on the wire.
        :raises ClientClosed: the client was closed, or is being drained.
        """
        messages = Messages(most, most_bytes)
        messages.follow(self.subscribe(subject, messages.received, queue=queue))
        return messages

    def new_inbox(self) -> str:
        """A subject of one's own for replies, below the inbox prefix; it may be continued with further tokens."""
        return self._session.requests.new_inbox()
