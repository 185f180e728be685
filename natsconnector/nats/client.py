"""The client: publish, subscribe, request, on a connection that comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from natsconnector.nats.auth import CredentialsSource
from natsconnector.nats.backoff import Backoff
from natsconnector.nats.dialer import Dialer
from natsconnector.nats.errors import (
    ClientClosed,
    ClientDraining,
    ConnectionLost,
    DrainTimeout,
    NatsError,
    ServerError,
)
from natsconnector.nats.handshake import Identity
from natsconnector.nats.protocol import Connection
from natsconnector.nats.servers import Server, ServerPool
from natsconnector.nats.session import Session
from natsconnector.nats.status import CurrentStatus, Statistics, Status, StatusCallback
from natsconnector.nats.subscription import Subscription
from natsconnector.nats.tls import Tls
from natsconnector.nats.waiters import Waiters
from natsconnector.nats.wire.events import Msg
from natsconnector.nats.wire.headers import HeadersLike


class NatsClient:
    """A NATS client that outlives its servers.

    ``servers`` are URLs, ``nats://[user[:password]@]host[:port]``, the same with ``tls://``, or ``host[:port]``; a
    user alone is a token. From ``start`` to ``close`` it keeps one connection up, going round these and the servers
    it learns of, for ever. While there is none, published messages wait, up to ``max_buffered_bytes``, and go out
    after the subscriptions are back. That is at most once: what was given to a connection that breaks may be lost.

    ``credentials`` say who to be where the URL does not. A callable is asked at every attempt to connect and may
    return a Deferred; ``password_file``, ``token_file``, ``nkey_file`` and ``creds_file`` make one that reads a file.
    ``tls`` asks for TLS with certificates of one's own choice. When it is asked for, here or by ``tls://``, nothing
    is said to a server that does not offer it; a server that requires it gets it in any case.

    ``ping_interval_s`` and ``max_pings_out`` say when a silent connection is given up. A round of failed attempts is
    followed by a pause, from ``reconnect_wait_s`` doubling up to ``reconnect_max_wait_s``, with jitter.
    ``on_error`` is called with each error a server reports.

    Raises ``BadServerUrl`` and ``BadSubject`` (for ``inbox_prefix``).
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[str],
        *,
        name: str = "natsconnector",
        credentials: CredentialsSource | None = None,
        tls: Tls | None = None,
        connect_timeout_s: float = 5.0,
        ping_interval_s: float = 30.0,
        max_pings_out: int = 2,
        max_buffered_bytes: int = 8 << 20,
        inbox_prefix: str = "_INBOX",
        randomize: bool = True,
        reconnect_wait_s: float = 0.1,
        reconnect_max_wait_s: float = 5.0,
        random: Random | None = None,
        on_error: Callable[[ServerError], object] | None = None,
    ) -> None:
        random = random or SystemRandom()
        self._reactor = reactor
        self._ping_interval_s = ping_interval_s
        self._max_pings_out = max_pings_out
        self._status = CurrentStatus()
        self._pool = ServerPool(servers, random, shuffle=randomize)
        self._session = Session(reactor, self._pool, random, inbox_prefix, max_buffered_bytes, on_error)
        self._dialer = Dialer(
            reactor,
            self._pool,
            Identity(name, credentials, tls),
            Backoff(random, reconnect_wait_s, reconnect_max_wait_s),
            connect_timeout_s,
            self._make_connection,
            self._session_began,
            self._session_ended,
        )
        self._started = False
        self._draining = False
        self._drained = False
        self._stopped = False
        self._when_ready: Waiters[None] = Waiters()
        self._when_closed: Waiters[None] = Waiters()

    # State

    @property
    def status(self) -> Status:
        """Where the client stands."""
        return self._status.value

    def watch_status(self, callback: StatusCallback) -> Callable[[], None]:
        """Have ``callback(old, new, reason)`` called at each change, until the function that is returned is called.

        Any number may watch. All hear every change, in order and at once: with ``CONNECTED`` the subscriptions are
        back already. A callback may do anything, closing the client included; what it raises is logged.
        """
        return self._status.watch(callback)

    @property
    def ready(self) -> bool:
        """Whether there is a connection, logged in."""
        return self.status is Status.CONNECTED

    @property
    def server(self) -> str | None:
        """``host:port`` of the current server."""
        connection = self._session.connection
        return connection.server.name if connection else None

    @property
    def server_info(self) -> dict[str, Any]:
        """The last INFO of the current or last server; empty before the first."""
        return self._session.info

    @property
    def max_payload(self) -> int:
        """What one message may have, headers and payload, in bytes."""
        return self._session.max_payload

    @property
    def statistics(self) -> Statistics:
        """What has gone in and out, counted since the client was made."""
        return self._session.statistics

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
        if self.status is Status.CLOSED:
            return fail(ClientClosed())
        return succeed(None) if self.ready else self._when_ready.wait()

    def close(self) -> Deferred[None]:
        """Send what can be sent within a second, and close; fires when the socket is closed. May be called again.

        Everything that waits for an answer fails with ``ClientClosed``. See ``drain`` for a gentle end.
        """
        if self.status is not Status.CLOSED:
            self._status.set(Status.CLOSED, "closed by its user")
            self._session.close()
            self._dialer.stop()
            self._when_ready.fail(ClientClosed())
            if not self._started:
                self._ended(None)
        return self._closed()

    def drain(self, timeout_s: float = 30.0) -> Deferred[None]:
        """Finish what is under way, then close; fires when the socket is closed.

        In this order: no new subscriptions are taken; all are ended, what is on its way to them is delivered, and the
        Deferreds their callbacks returned are awaited; open requests get their answers; nothing more may be
        published, and what was goes out; close. Until the next to last step callbacks may publish and request.
        Without a connection it waits for one to send what was published. Fails with ``DrainTimeout`` if that takes
        too long, and with ``ClientClosed`` if ``close`` is called meanwhile; it is closed then, too.
        """
        if self._draining:
            return self._closed()
        if not self._started or self.status is Status.CLOSED:
            return self.close()
        self._draining = True
        return Deferred.fromCoroutine(self._drain(timeout_s))

    def force_reconnect(self) -> None:
        """Leave the server in good order and go to the next one, with credentials read anew.

        Open requests may fail with ``ConnectionLost``. Without a connection there is nothing to leave.
        """
        self._session.leave("another connection was asked for")

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
        if self._drained:
            raise ClientDraining
        self._session.publish(subject, payload, reply, headers)

    def subscribe(self, subject: str, callback: Callable[[Msg], object], *, queue: str | None = None) -> Subscription:
        """Have ``callback`` called with each message of a subject; members of a ``queue`` group share them.

        The callback is called synchronously and may do anything, closing the client included; what it raises is
        logged. A Deferred it returns is work that a drain waits for. Raises ``BadSubject`` and ``ClientClosed``.
        """
        self._check_open()
        if self._draining:
            raise ClientDraining
        return self._session.subscribe(subject, callback, queue)

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
        try:
            self._check_open()
            if self._drained:
                raise ClientDraining
        except ClientClosed:
            return fail()
        return self._session.requests.send(subject, payload, headers, timeout_s)

    def new_inbox(self) -> str:
        """A subject of one's own for replies, below the inbox prefix; it may be continued with further tokens."""
        return self._session.requests.new_inbox()

    def flush(self, timeout_s: float = 10.0) -> Deferred[None]:
        """Fires when the server has taken everything published and subscribed before.

        Without a connection it waits for one first. Fails with ``FlushTimeout``, ``ConnectionLost``,
        ``ClientClosed``.
        """
        return self._session.bounded(Deferred.fromCoroutine(self._flush()), timeout_s)

    # Inside

    async def _flush(self) -> None:
        while (connection := self._session.connection) is None:
            await self.when_ready()
        await connection.ping()

    async def _drain(self, timeout_s: float) -> None:
        emptied = Deferred.fromCoroutine(self._empty()).addTimeout(timeout_s, self._reactor)
        try:
            await emptied
        except TimeoutError:
            raise DrainTimeout(timeout_s) from None
        finally:
            await self.close()

    async def _empty(self) -> None:
        session = self._session
        for drained in session.drain_subscriptions():
            await drained
        await session.requests.when_idle()
        if session.requests.subscription is not None:
            session.requests.subscription.unsubscribe()
        self._drained = True
        while True:
            try:
                await self._flush()
                return
            except ConnectionLost:
                continue  # what has not been sent yet waits for the next connection

    def _closed(self) -> Deferred[None]:
        return succeed(None) if self._stopped else self._when_closed.wait()

    def _make_connection(self, server: Server) -> Connection:
        return Connection(
            self._reactor,
            server,
            buffer=self._session.buffer,
            statistics=self.statistics,
            ping_interval_s=self._ping_interval_s,
            max_pings_out=self._max_pings_out,
            on_message=self._session.take_message,
            on_info=self._session.take_info,
            on_error=self._session.take_error,
        )

    def _session_began(self, connection: Connection) -> None:
        self._session.began(connection)
        self._status.set(Status.CONNECTED, connection.server.name)
        if self.ready:
            self._when_ready.fire(None)

    def _session_ended(self, error: NatsError) -> None:
        self._session.ended()
        if self.status is not Status.CLOSED:
            self._status.set(Status.DISCONNECTED, str(error))
        # Replies to what was asked there cannot come any more. Who asks again must find the status as it is.
        self._session.requests.fail_all(error)

    def _check_open(self) -> None:
        if self.status is Status.CLOSED:
            raise ClientClosed

    def _ended(self, outcome: object) -> None:
        if isinstance(outcome, Failure):
            self._log.failure("the NATS client has stopped because of a fault of its own", failure=outcome)
        self._stopped = True
        self._when_closed.fire(None)
