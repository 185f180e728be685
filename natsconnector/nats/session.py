"""What a client has at a server, whichever connection it has there: subscriptions, requests, what waits to be sent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random
from typing import Any, NoReturn

from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from natsconnector.nats.errors import (
    ClientClosed,
    ConnectionLost,
    FlushTimeout,
    HeadersNotSupported,
    MaxPayloadExceeded,
    NatsError,
    PermissionsViolation,
    ServerError,
)
from natsconnector.nats.handshake import max_payload
from natsconnector.nats.outage import Tally
from natsconnector.nats.outbound import OutboundBuffer
from natsconnector.nats.protocol import Connection
from natsconnector.nats.requests import Requests
from natsconnector.nats.servers import ServerPool
from natsconnector.nats.status import Statistics
from natsconnector.nats.subscription import Subscription
from natsconnector.nats.subscriptions import Subscriptions
from natsconnector.nats.watchers import Watchers
from natsconnector.nats.wire import encode
from natsconnector.nats.wire.events import Msg
from natsconnector.nats.wire.headers import HeadersLike, encode_block
from natsconnector.reactors import Reactor

#: The limit of a server with default settings, held to until a server has told its own.
DEFAULT_MAX_PAYLOAD = 1 << 20

#: How long a server in lame duck mode may take to send what is on its way to us, before we leave it.
LEAVE_TIMEOUT_S = 2.0


class Session:
    """
    Carries a client's state from one connection to the next.

    :param on_error: called with each error the server reports.
    :param why_away: tells why there is no connection.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        pool: ServerPool,
        random: Random,
        inbox_prefix: str,
        max_buffered_bytes: int,
        on_error: Callable[[ServerError], object] | None,
        why_away: Callable[[], str],
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._on_error = on_error
        self._why_away = why_away
        self.statistics = Statistics()
        #: Why nothing may be published any more.
        self.refusal: type[ClientClosed] | None = None
        self.info: dict[str, Any] = {}
        self.max_payload = DEFAULT_MAX_PAYLOAD
        self.connection: Connection | None = None
        self.buffer = OutboundBuffer(max_buffered_bytes)
        self.subscriptions = Subscriptions(reactor, random, self._send, self._ask, self._confirm, self.publish)
        self.requests = Requests(
            reactor,
            random,
            inbox_prefix,
            self.subscribe,
            self._publish_request,
            self.why_away,
        )
        #: Told of each publish that the server refuses.
        self.refused_publishes: Watchers[[PermissionsViolation]] = Watchers("watch_refused_publishes")
        self._refused = Tally()
        self._reported = Tally()
        self._begun = 0
        self._lame = False
        self._leaving: Deferred[None] | None = None

    def publish(self, subject: str, payload: bytes, reply: str | None, headers: HeadersLike | None) -> None:
        """
        Send a message, now or with the next connection.

        :raises NatsError: as ``NatsClient.publish`` says.
        """
        if self.refusal is not None:
            raise self.refusal
        connection = self.connection
        if headers:
            header_block = encode_block(headers)
            if header_block and connection is not None and not self.info.get("headers"):
                raise HeadersNotSupported
            frame = encode.publish(subject, payload, reply, header_block)
            size = len(header_block) + len(payload)
        else:
            frame = encode.publish(subject, payload, reply)
            size = len(payload)
        if size > self.max_payload:
            raise MaxPayloadExceeded(size, self.max_payload)
        if connection is None:
            self.buffer.add(frame, size)
        else:
            connection.out.publish(frame, size)
        self.statistics.out_msgs += 1

    def why_away(self) -> str | None:
        """Why there is no connection; None if there is one."""
        return self._why_away() if self.connection is None else None

    def subscribe(self, subject: str, callback: Callable[[Msg], object], queue: str | None = None) -> Subscription:
        """
        Subscribe on this connection and all that follow.

        :raises BadSubject: subject or queue group cannot be put on the wire.
        """
        return self.subscriptions.add(subject, queue, callback)

    def drain_subscriptions(self) -> list[Deferred[None]]:
        """End all but the one for replies, side by side."""

        def unanswered(failure: Failure, subject: str) -> None:
            failure.trap(FlushTimeout)
            self._log.warn(
                "could not drain {subject}: {reason}", subject=subject, reason=failure.value, event="drain_failed"
            )

        all_but_replies = [each for each in self.subscriptions if each is not self.requests.subscription]
        return [each.drain().addErrback(unanswered, each.subject) for each in all_but_replies]

    def bounded(self, confirmed: Deferred[None], timeout_s: float) -> Deferred[None]:
        """The same, failing with ``FlushTimeout`` when it takes too long."""

        def too_late(_: object, timeout_s: float) -> NoReturn:
            raise FlushTimeout(timeout_s)

        return confirmed.addTimeout(timeout_s, self._reactor, onTimeoutCancel=too_late)

    def close(self) -> None:
        """Forget all; what waits for an answer fails with ``ClientClosed``."""
        self.subscriptions.clear()
        if self.connection is None:
            self.buffer.take_messages()
        self.requests.fail_all(ClientClosed())

    # What the connection tells

    def began(self, connection: Connection) -> None:
        """Subscriptions first, then what was published meanwhile, then a PING; nothing comes between them."""
        self.statistics.reconnects = self._begun
        self._begun += 1
        self.connection = connection
        self._learn(connection.info)
        messages = self.buffer.take_messages()
        self.subscriptions.began()
        dropped = 0
        for size, frame in messages:
            # Waiting messages were checked against another server's limits; this server closes the connection for one
            # beyond its own.
            if size > self.max_payload or (frame.startswith(b"HPUB") and not self.info.get("headers")):
                dropped += 1
            else:
                connection.out.forward(frame, size)
        if dropped:
            self._log.error(
                "{count} messages published while NATS was away are dropped: {server} does not take their size"
                " (max_payload {limit_bytes}) or their headers",
                count=dropped,
                server=connection.server.name,
                limit_bytes=self.max_payload,
                event="publishes_dropped",
            )
        connection.check()
        self._mind_lame_duck()

    def ended(self) -> None:
        """There is no connection any more."""
        self.connection = None
        self._lame = False
        self._leaving = None
        self.subscriptions.ended()

    def take_info(self, fields: dict[str, Any]) -> None:
        """The server tells about itself: it counts instead of what it told before."""
        self._learn(fields)
        self._mind_lame_duck()

    def take_error(self, error: ServerError) -> None:
        """The server refuses something."""
        if isinstance(error, PermissionsViolation) and error.operation == "publish":
            self._publish_refused(error)
        elif not self.subscriptions.refuse(error):
            self._tell(self._reported, error.message[:100], error)
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:
                self._log.failure("on_error has failed", event="defect")

    def _publish_refused(self, error: PermissionsViolation) -> None:
        # Whoever made a request is told by its failure. Publishers choose the reply subjects that are published to: a
        # line for each of those would be theirs to write.
        if not self.requests.refuse(error):
            self._tell(self._refused, _pattern(error.subject), error)
        self.refused_publishes.tell(error)

    def _tell(self, tally: Tally, kind: str, error: ServerError) -> None:
        counted = tally.count(kind, self._reactor.seconds())
        if counted is not None:
            self._log.warn(
                "NATS server {server} reports: {reason}" + (" (and {count} more like it)" if counted > 1 else ""),
                server=self.connection.server.name if self.connection else None,
                reason=error.message[:300],
                count=counted - 1 or None,
                event="nats_error",
            )

    # Going elsewhere

    def leave(self, why: str) -> None:
        """Take what is on its way to us, then close, so that the next server is dialled."""
        if self.connection is not None and self._leaving is None:
            self._leaving = Deferred.fromCoroutine(self._leave(self.connection, why))
            self._leaving.addErrback(
                lambda f: self._log.failure("could not leave a NATS server", failure=f, event="defect")
            )

    async def _leave(self, connection: Connection, why: str) -> None:
        self.subscriptions.leave(but=self.requests.subscription)
        # Without the PONG, messages that are still on their way are lost, as they would be without waiting.
        with contextlib.suppress(NatsError, TimeoutError):
            await connection.ping().addTimeout(LEAVE_TIMEOUT_S, self._reactor)
        connection.close(ConnectionLost(connection.server.name, why), why)

    # Inside

    def _learn(self, fields: dict[str, Any]) -> None:
        self.info = fields
        self.max_payload = max_payload(fields, DEFAULT_MAX_PAYLOAD)
        connection = self.connection
        if connection is not None:
            self._pool.learn(fields.get("connect_urls"), connection.server, secure=connection.secure)

    def _mind_lame_duck(self) -> None:
        """A server in lame duck mode takes no new work: go to another server if one is known."""
        if self.connection is None or self.info.get("ldm") is not True:
            return
        others = len(self._pool) > 1
        if not self._lame:
            self._lame = True
            self._log.warn(
                "NATS server {server} is about to shut down (lame duck mode): "
                + ("going to another one" if others else "no other one is known, so the client stays to the end"),
                server=self.connection.server.name,
                event="lame_duck",
            )
        if others:
            self.leave("it is about to shut down")

    def _send(self, frame: bytes) -> None:
        if self.connection is not None:
            self.connection.out.send(frame)

    def _ask(self, frame: bytes) -> Deferred[None] | None:
        return None if self.connection is None else self.connection.ping(frame)

    def _confirm(self) -> Deferred[None]:
        """Fires when the server has taken all that was sent to it; at once if there is none."""
        connection = self.connection
        return succeed(None) if connection is None else self.bounded(connection.ping(), 10.0)

    def _publish_request(self, subject: str, payload: bytes, reply: str, headers: HeadersLike | None) -> None:
        self.publish(subject, payload, reply, headers)


def _pattern(subject: str) -> str:
    """What is counted together: everything below the first token, below the first two of the server's own subjects."""
    tokens = subject.split(".")
    kept = 2 if subject.startswith("$") else 1
    return subject if len(tokens) <= kept else ".".join((*tokens[:kept], ">"))
