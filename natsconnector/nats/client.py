"""The client: publish, subscribe, request, on a connection that comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from typing import Any, NoReturn

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from natsconnector.nats import encode
from natsconnector.nats.backoff import Backoff
from natsconnector.nats.dialer import Dialer
from natsconnector.nats.errors import (
    ClientClosed,
    FlushTimeout,
    HeadersNotSupported,
    MaxPayloadExceeded,
    NatsError,
    PermissionsViolation,
    ServerError,
)
from natsconnector.nats.events import Msg
from natsconnector.nats.handshake import max_payload
from natsconnector.nats.headers import HeadersLike, encode_block
from natsconnector.nats.outbound import OutboundBuffer
from natsconnector.nats.protocol import Connection
from natsconnector.nats.requests import Requests
from natsconnector.nats.servers import Server, ServerPool
from natsconnector.nats.status import Statistics, Status
from natsconnector.nats.subscription import Subscription, Subscriptions
from natsconnector.nats.waiters import Waiters

#: The limit of a server with default settings, held to until a server has told its own.
DEFAULT_MAX_PAYLOAD = 1 << 20


class NatsClient:
    """A NATS client that outlives its servers.

    ``servers`` are URLs, ``nats://[user[:password]@]host[:port]`` or ``host[:port]``; a user alone is a token. From
    ``start`` to ``close`` it keeps one connection up, going round these and the servers it learns of, for ever.
    While there is none, published messages wait, up to ``max_buffered_bytes``, and go out after the subscriptions
    are back. That is at most once: what was given to a connection that breaks may be lost.

    ``ping_interval_s`` and ``max_pings_out`` say when a silent connection is given up. A round of failed attempts is
    followed by a pause, from ``reconnect_wait_s`` doubling up to ``reconnect_max_wait_s``, with jitter.
    ``on_status(old, new, reason)`` is called at each change, ``on_error`` with each error a server reports.

    Raises ``BadServerUrl`` and ``BadSubject`` (for ``inbox_prefix``).
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[str],
        *,
        name: str = "natsconnector",
        connect_timeout_s: float = 5.0,
        ping_interval_s: float = 30.0,
        max_pings_out: int = 2,
        max_buffered_bytes: int = 8 << 20,
        inbox_prefix: str = "_INBOX",
        randomize: bool = True,
        reconnect_wait_s: float = 0.1,
        reconnect_max_wait_s: float = 5.0,
        random: Random | None = None,
        on_status: Callable[[Status, Status, str], object] | None = None,
        on_error: Callable[[ServerError], object] | None = None,
    ) -> None:
        random = random or SystemRandom()
        self._reactor = reactor
        self._name = name
        self._ping_interval_s = ping_interval_s
        self._max_pings_out = max_pings_out
        self._on_status = on_status
        self._on_error = on_error
        self.statistics = Statistics()
        self._status = Status.DISCONNECTED
        self._info: dict[str, Any] = {}
        self._max_payload = DEFAULT_MAX_PAYLOAD
        self._connection: Connection | None = None
        self._buffer = OutboundBuffer(max_buffered_bytes)
        self._subscriptions = Subscriptions(self._send, self._confirm)
        self._requests = Requests(reactor, random, inbox_prefix, self.subscribe, self._publish_request)
        self._pool = ServerPool(servers, random, shuffle=randomize)
        self._dialer = Dialer(
            reactor,
            self._pool,
            Backoff(random, reconnect_wait_s, reconnect_max_wait_s),
            connect_timeout_s,
            self._make_connection,
            self._session_began,
            self._session_ended,
        )
        self._sessions = 0
        self._started = False
        self._stopped = False
        self._when_ready: Waiters[None] = Waiters()
        self._when_closed: Waiters[None] = Waiters()

    # State

    @property
    def status(self) -> Status:
        """Where the client stands."""
        return self._status

    @property
    def ready(self) -> bool:
        """Whether there is a connection, logged in."""
        return self._status is Status.CONNECTED

    @property
    def server(self) -> str | None:
        """``host:port`` of the current server."""
        return self._connection.server.name if self._connection else None

    @property
    def server_info(self) -> dict[str, Any]:
        """The last INFO of the current or last server; empty before the first."""
        return self._info

    @property
    def max_payload(self) -> int:
        """What one message may have, headers and payload, in bytes."""
        return self._max_payload

    @property
    def last_error(self) -> NatsError | None:
        """Why there is no connection, or was none the last time."""
        return self._dialer.last_error

    # Life

    def start(self) -> None:
        """Begin to connect. Raises ``ClientClosed``."""
        self._check_open()
        if not self._started:
            self._started = True
            self._running = self._dialer.run().addBoth(self._ended)

    def when_ready(self) -> Deferred[None]:
        """Fires when there is a connection, at once if there is one; fails with ``ClientClosed``."""
        if self._status is Status.CLOSED:
            return fail(ClientClosed())
        return succeed(None) if self.ready else self._when_ready.wait()

    def close(self) -> Deferred[None]:
        """Send what can be sent within a second, and close; fires when the socket is closed. May be called again.

        Everything that waits for an answer fails with ``ClientClosed``.
        """
        if self._status is not Status.CLOSED:
            self._set_status(Status.CLOSED, "closed by its user")
            self._subscriptions.clear()
            if self._connection is None:
                self._buffer.take_messages()
            self._dialer.stop()
            self._when_ready.fail(ClientClosed())
            self._requests.fail_all(ClientClosed())
            if not self._started:
                self._ended(None)
        return succeed(None) if self._stopped else self._when_closed.wait()

    # Messages

    def publish(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        reply: str | None = None,
        headers: HeadersLike | None = None,
    ) -> None:
        """Send a message, now or when there is a connection again.

        Raises, with nothing sent: ``BadSubject``, ``BadHeader``, ``MaxPayloadExceeded``, ``OutboundBufferFull``,
        ``HeadersNotSupported``, ``ClientClosed``, and ``TypeError`` for a payload that is not bytes.
        """
        self._check_open()
        header_block = encode_block(headers) if headers else b""
        frame = encode.publish(subject, payload, reply, header_block)
        size = len(header_block) + len(payload)
        if size > self._max_payload:
            raise MaxPayloadExceeded(size, self._max_payload)
        if self._connection is None:
            self._buffer.check_room(frame)
            self._buffer.add_message(frame, size)
        else:
            if header_block and not self._info.get("headers"):
                raise HeadersNotSupported
            self._connection.publish(frame, size)
        self.statistics.out_msgs += 1

    def subscribe(self, subject: str, callback: Callable[[Msg], object], *, queue: str | None = None) -> Subscription:
        """Have ``callback`` called with each message of a subject; members of a ``queue`` group share them.

        The callback is called synchronously and may do anything, closing the client included; what it raises is
        logged. Raises ``BadSubject`` and ``ClientClosed``.
        """
        self._check_open()
        return self._subscriptions.add(subject, queue, callback)

    def request(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        headers: HeadersLike | None = None,
        timeout_s: float = 5.0,
    ) -> Deferred[Msg]:
        """Publish and wait for the first reply.

        Fails with ``NoResponders`` at once when nobody listens, with ``RequestTimeout``, with ``ConnectionLost``
        when the connection ends (the reply could not come any more), with ``PermissionsViolation``, and with what
        ``publish`` raises.
        """
        return self._requests.send(subject, payload, headers, timeout_s)

    def flush(self, timeout_s: float = 10.0) -> Deferred[None]:
        """Fires when the server has taken everything published and subscribed before.

        Without a connection it waits for one first. Fails with ``FlushTimeout``, ``ConnectionLost``,
        ``ClientClosed``.
        """
        return self._bounded(Deferred.fromCoroutine(self._flush()), timeout_s)

    # Inside

    async def _flush(self) -> None:
        while (connection := self._connection) is None:
            await self.when_ready()
        await connection.ping()

    def _bounded(self, confirmed: Deferred[None], timeout_s: float) -> Deferred[None]:
        def too_late(_: object, timeout_s: float) -> NoReturn:
            raise FlushTimeout(timeout_s)

        return confirmed.addTimeout(timeout_s, self._reactor, onTimeoutCancel=too_late)

    def _confirm(self) -> Deferred[None]:
        """Fires when the server has taken all that was sent to it; at once if there is none."""
        connection = self._connection
        return succeed(None) if connection is None else self._bounded(connection.ping(), 10.0)

    def _send(self, frame: bytes) -> None:
        if self._connection is not None:
            self._connection.send(frame)

    def _publish_request(self, subject: str, payload: bytes, reply: str, headers: HeadersLike | None) -> None:
        self.publish(subject, payload, reply=reply, headers=headers)

    def _make_connection(self, server: Server) -> Connection:
        return Connection(
            self._reactor,
            server,
            self._name,
            buffer=self._buffer,
            statistics=self.statistics,
            ping_interval_s=self._ping_interval_s,
            max_pings_out=self._max_pings_out,
            on_message=self._message,
            on_info=self._server_info,
            on_error=self._server_error,
        )

    def _session_began(self, connection: Connection) -> None:
        """Subscriptions first, then what was published meanwhile, then a PING; nothing comes between them."""
        self._sessions += 1
        self.statistics.reconnects = self._sessions - 1
        self._connection = connection
        self._server_info(connection.info)
        messages = self._buffer.take_messages()
        for frame in self._subscriptions.frames():
            connection.send(frame)
        dropped = 0
        for size, frame in messages:
            # This server may take less than the one they were checked against, and would close the connection.
            if size > self._max_payload or (frame.startswith(b"HPUB") and not self._info.get("headers")):
                dropped += 1
            else:
                connection.forward(frame, size)
        if dropped:
            self._log.error(
                "{dropped} messages published while NATS was away are dropped: {server} does not take their size"
                " (max_payload {limit}) or their headers",
                dropped=dropped,
                server=connection.server.name,
                limit=self._max_payload,
            )
        connection.check()
        self._set_status(Status.CONNECTED, connection.server.name)
        if self.ready:
            self._when_ready.fire(None)

    def _session_ended(self, error: NatsError) -> None:
        self._connection = None
        self._requests.fail_all(error)
        if self._status is not Status.CLOSED:
            self._set_status(Status.DISCONNECTED, str(error))

    def _message(self, msg: Msg) -> None:
        self.statistics.in_msgs += 1
        self._subscriptions.deliver(msg)

    def _server_info(self, fields: dict[str, Any]) -> None:
        self._info = fields
        self._max_payload = max_payload(fields, DEFAULT_MAX_PAYLOAD)
        if self._connection is not None:
            self._pool.learn(fields.get("connect_urls"), self._connection.server)

    def _server_error(self, error: ServerError) -> None:
        self._log.warn("NATS server {server} reports: {message}", server=self.server, message=error.message)
        if isinstance(error, PermissionsViolation):
            self._requests.refuse(error)
            if error.operation == "subscription":
                self._subscriptions.refuse(error)
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:
                self._log.failure("on_error has failed")

    def _set_status(self, new: Status, reason: str) -> None:
        old, self._status = self._status, new
        if self._on_status is not None:
            try:
                self._on_status(old, new, reason)
            except Exception:
                self._log.failure("on_status has failed")

    def _check_open(self) -> None:
        if self._status is Status.CLOSED:
            raise ClientClosed

    def _ended(self, outcome: object) -> None:
        if isinstance(outcome, Failure):
            self._log.failure("the NATS client has stopped because of a fault of its own", failure=outcome)
        self._stopped = True
        self._when_closed.fire(None)
