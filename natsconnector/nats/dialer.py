"""Keeps one connection up, for ever, going round the servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger

from natsconnector.nats.backoff import Backoff
from natsconnector.nats.errors import ClientClosed, ConnectFailed, ConnectionLost, NatsError, ServerError
from natsconnector.nats.handshake import Identity
from natsconnector.nats.outage import Outage
from natsconnector.nats.protocol import Connection
from natsconnector.nats.servers import Server, ServerPool
from natsconnector.reactors import Reactor

#: A connection that ends sooner counts as a failed attempt: a server may accept the login and close at once, for ever.
SHORT_SESSION_S = 1.0


class _Once(Factory):
    noisy = False

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        return self._connection


class Dialer:
    """
    Tries the servers of the pool in turn, sleeping only when a whole round has failed.

    No failure stops the dialer: refused, no such host, silence, nonsense, a refused login, a file that cannot be read
    are all "next server", and so is a fault of this client.

    :param connect_timeout_s: for one attempt, from the look-up of the name to the answer to ``CONNECT``.
    :param began: called with each connection that is ready.
    :param ended: called with the error when a connection that was ready is gone.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        pool: ServerPool,
        identity: Identity,
        backoff: Backoff,
        connect_timeout_s: float,
        make_connection: Callable[[Server], Connection],
        began: Callable[[Connection], None],
        ended: Callable[[NatsError], None],
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._identity = identity
        self._backoff = backoff
        self._connect_timeout_s = connect_timeout_s
        self._make_connection = make_connection
        self._began = began
        self._ended = ended
        #: Why there is no connection.
        self.last_error: NatsError | None = None
        self._stopping = False
        # The steps of an attempt that can be waited for: at most one is set.
        self._attempt: Deferred[None] | None = None
        self._sleep: Deferred[None] | None = None
        self._connection: Connection | None = None
        self._outage = Outage(0.0)
        self._lost: ConnectionLost | None = None

    def run(self) -> Deferred[None]:
        """Begin; fires when stopped and everything is closed."""
        return Deferred.fromCoroutine(self._run())

    def stop(self) -> None:
        """End whatever is going on. What can be sent within a second still is."""
        self._stopping = True
        if self._sleep is not None:
            self._sleep.cancel()
        elif self._attempt is not None:
            self._attempt.cancel()
        elif self._connection is not None:
            self._connection.close(ClientClosed(), "closed by its user")

    async def _run(self) -> None:
        self._outage = Outage(self._reactor.seconds())
        while not self._stopping:
            try:
                await self._round()
            except Exception:
                self._log.failure("a defect of the NATS client, which goes on all the same", event="defect")
                await self._pause({})

    async def _round(self) -> None:
        """Try every server once, until a connection has lasted a while; pause if none has."""
        failures: dict[str, NatsError] = {}
        for _ in range(len(self._pool)):
            if self._stopping:
                return
            server = self._pool.next()
            error, lasted_s = await self._session(server)
            if lasted_s >= SHORT_SESSION_S:
                self._backoff.reset()
                return
            failures[server.name] = error
        await self._pause(failures)

    async def _session(self, server: Server) -> tuple[NatsError, float]:
        """One connection, from the attempt to its end: why it ended and how long it was ready."""
        connection = self._make_connection(server)
        self._attempt = Deferred.fromCoroutine(self._open(connection)).addTimeout(
            self._connect_timeout_s, self._reactor, onTimeoutCancel=lambda _, __: self._too_slow(connection)
        )
        try:
            await self._attempt
        except Exception as error:
            self._attempt = None
            if connection.transport is not None:
                connection.abort("given up")
                await connection.when_lost()
            self.last_error = _attempt_error(server, error)
            return self.last_error, 0.0
        self._attempt = None
        self._connection = connection
        began_s = self._reactor.seconds()
        self._report_connected(connection)
        try:
            self._began(connection)
        except Exception:
            self._log.failure("a defect of the NATS client, which goes on with another connection", event="defect")
            connection.abort("given up because of a defect of the NATS client")
        lost = await connection.when_lost()
        self._connection = None
        self._outage = Outage(self._reactor.seconds())
        self._lost = self.last_error = lost
        if not self._stopping:
            self._log.warn(
                "connection to NATS {server} lost: {reason}",
                server=lost.server, reason=lost.reason, event="nats_lost",
            )  # fmt: skip
        self._ended(lost)
        return lost, self._outage.began_s - began_s

    async def _open(self, connection: Connection) -> None:
        connection.bring(await self._identity.login(connection.server))
        endpoint = connection.server.endpoint(self._reactor, self._connect_timeout_s)
        await endpoint.connect(_Once(connection))
        await connection.when_ready()

    def _too_slow(self, connection: Connection) -> NoReturn:
        reason = f"timeout of {self._connect_timeout_s:g} s while waiting for {connection.stage.value}"
        raise ConnectFailed(connection.server.name, reason)

    async def _pause(self, failures: dict[str, NatsError]) -> None:
        delay_s = self._backoff.next_s()
        self._report_failures(failures, delay_s)
        if self._stopping:
            return
        self._sleep = deferLater(self._reactor, delay_s, lambda: None)
        try:
            await self._sleep
        except CancelledError:
            pass
        finally:
            self._sleep = None

    def _report_connected(self, connection: Connection) -> None:
        told = {
            "server": connection.server.name,
            "server_version": connection.info.get("version"),
            "client_id": connection.info.get("client_id"),
        }
        if self._lost is None:
            self._log.info(
                "connected to NATS {server} (nats-server {server_version}, client id {client_id})",
                **told, event="nats_connected",
            )  # fmt: skip
        else:
            self._log.info(
                "reconnected to NATS {server} (nats-server {server_version}, client id {client_id}),"
                " {away_s:.3f} s after {lost_server} was lost: {reason}",
                **told,
                away_s=self._outage.lasted_s(self._reactor.seconds()),
                lost_server=self._lost.server,
                reason=self._lost.reason,
                event="nats_reconnected",
            )

    def _report_failures(self, failures: dict[str, NatsError], delay_s: float) -> None:
        """Say why nothing works."""
        # The log has the loss of a connection already, also of a short one.
        reasons = sorted(
            f"{name}: {_reason(error)}" for name, error in failures.items() if not isinstance(error, ConnectionLost)
        )
        now_s = self._reactor.seconds()
        if reasons and not self._stopping and self._outage.is_news(reasons, now_s):
            self._log.warn(
                "no NATS server for {away_s:.1f} s: {reason}; the next attempt follows in {delay_s:.1f} s",
                away_s=self._outage.lasted_s(now_s),
                delay_s=delay_s,
                reason="; ".join(reasons),
                event="nats_unreachable",
            )


def _attempt_error(server: Server, error: Exception) -> NatsError:
    if isinstance(error, NatsError):
        return error
    return ConnectFailed(server.name, str(error).rstrip(".") or type(error).__name__)


def _reason(error: NatsError) -> str:
    if isinstance(error, ConnectFailed):
        return error.reason
    return str(error).removeprefix("NATS server: ") if isinstance(error, ServerError) else str(error)
