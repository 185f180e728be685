"""A client from its start to its end: its status, what waits for it, and the connection that it keeps up."""

from __future__ import annotations

from typing import NoReturn

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from natsconnector.nats.backoff import Backoff
from natsconnector.nats.dialer import Dialer
from natsconnector.nats.errors import ClientClosed, ConnectFailed, NatsError
from natsconnector.nats.handshake import Identity
from natsconnector.nats.protocol import Connection
from natsconnector.nats.servers import Server, ServerPool
from natsconnector.nats.session import Session
from natsconnector.nats.status import CurrentStatus, Status
from natsconnector.nats.waiters import Waiters
from natsconnector.reactors import Reactor


class Lifecycle:
    """
    Keeps a session supplied with connections until it is closed.

    :param connect_timeout_s: for one attempt to connect and log in.
    :param ping_interval_s: between the PINGs that tell whether the connection lives.
    :param max_pings_out: so many of them without an answer end the connection.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        pool: ServerPool,
        identity: Identity,
        backoff: Backoff,
        session: Session,
        *,
        connect_timeout_s: float,
        ping_interval_s: float,
        max_pings_out: int,
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._session = session
        self._ping_interval_s = ping_interval_s
        self._max_pings_out = max_pings_out
        self.status = CurrentStatus()
        self.dialer = Dialer(
            reactor, pool, identity, backoff, connect_timeout_s, self._make_connection, self._began, self._ended
        )
        self.started = False
        self._stopped = False
        self._when_ready: Waiters[None] = Waiters()
        self._when_closed: Waiters[None] = Waiters()

    @property
    def closed(self) -> bool:
        """Whether its end was asked for."""
        return self.status.value is Status.CLOSED

    @property
    def ready(self) -> bool:
        """Whether there is a connection, logged in."""
        return self.status.value is Status.CONNECTED

    def check_open(self) -> None:
        """:raises ClientClosed: it was closed."""
        if self.status.value is Status.CLOSED:
            raise ClientClosed

    def start(self) -> None:
        """
        Begin to connect.

        :raises ClientClosed: it was closed.
        """
        self.check_open()
        if not self.started:
            self.started = True
            self._running = self.dialer.run().addBoth(self._over)

    def when_ready(self, timeout_s: float | None = None) -> Deferred[None]:
        """Fires when there is a connection; fails with why there is none, in the end, and with ``ClientClosed``."""
        if self.closed:
            return fail(ClientClosed())
        if self.ready:
            return succeed(None)

        def too_late(_: object, timeout_s: float) -> NoReturn:
            raise self.why_not_ready()

        waiting = self._when_ready.wait()
        if timeout_s is not None:
            waiting.addTimeout(timeout_s, self._reactor, onTimeoutCancel=too_late)
        return waiting

    def when_closed(self) -> Deferred[None]:
        """Fires when the socket is closed, after ``close``."""
        return succeed(None) if self._stopped else self._when_closed.wait()

    def close(self) -> None:
        """Send what can be sent within a second, and close; all that waits for an answer fails."""
        if self.closed:
            return
        self._session.refusal = ClientClosed
        self.status.set(Status.CLOSED, "closed by its user")
        self._session.close()
        self.dialer.stop()
        self._when_ready.fail(ClientClosed())
        if not self.started:
            self._over(None)

    def flush(self) -> Deferred[None]:
        """Fires when the server has taken everything given to it before; waits for a connection if there is none."""
        return Deferred.fromCoroutine(self._flush())

    async def _flush(self) -> None:
        while (connection := self._session.connection) is None:
            await self.when_ready()
        await connection.ping()

    def why_not_ready(self) -> NatsError:
        """Why there is no connection."""
        if self.dialer.last_error is not None:
            return self.dialer.last_error
        why = "the first attempt has not ended yet" if self.started else "the client was not started"
        return ConnectFailed(", ".join(self._pool.names), why)

    def _make_connection(self, server: Server) -> Connection:
        return Connection(
            self._reactor,
            server,
            buffer=self._session.buffer,
            statistics=self._session.statistics,
            ping_interval_s=self._ping_interval_s,
            max_pings_out=self._max_pings_out,
            on_message=self._session.subscriptions.deliver,
            on_info=self._session.take_info,
            on_error=self._session.take_error,
        )

    def _began(self, connection: Connection) -> None:
        self._session.began(connection)
        self.status.set(Status.CONNECTED, connection.server.name)
        if self.ready:
            self._when_ready.fire(None)

    def _ended(self, error: NatsError) -> None:
        self._session.ended()
        if not self.closed:
            self.status.set(Status.DISCONNECTED, str(error))
        # Replies cannot come any more. A request may be repeated at once, so the status is set before.
        self._session.requests.fail_all(error)

    def _over(self, outcome: object) -> None:
        if isinstance(outcome, Failure):
            self._log.failure(
                "the NATS client has stopped because of a defect of its own", failure=outcome, event="defect"
            )
        self._stopped = True
        self._when_closed.fire(None)
