"""The client: publish, subscribe, request, on a connection that comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from natsconnector.nats.auth import CredentialsSource
from natsconnector.nats.backoff import Backoff
from natsconnector.nats.draining import Draining
from natsconnector.nats.errors import NatsError, ServerError
from natsconnector.nats.handshake import Identity
from natsconnector.nats.lifecycle import Lifecycle
from natsconnector.nats.messaging import Messaging
from natsconnector.nats.servers import ServerPool
from natsconnector.nats.session import Session
from natsconnector.nats.status import Statistics, Status, StatusCallback
from natsconnector.nats.tls import Tls
from natsconnector.reactors import Reactor


class NatsClient(Messaging):
    """
    A NATS client that outlives its servers.

    From ``start`` to ``close`` the client keeps one connection up, going round the servers that it was given and those
    it learns of, for ever. While there is no connection, published messages wait, and go out after the subscriptions
    are back. That is at most once: what was given to a connection that breaks may be lost.

    :param servers: URLs, ``nats://[user[:password]@]host[:port]``, the same with ``tls://``, or ``host[:port]``; a user
        alone is a token.
    :param credentials: who to be where the URL does not say it. A callable is asked at every attempt to connect and may
        return a Deferred; ``password_file``, ``token_file``, ``nkey_file`` and ``creds_file`` make one of a file.
    :param tls: asks for TLS with certificates of one's own choice. Where TLS is asked for, here or by ``tls://``,
        nothing is said to a server that does not offer it; a server that requires TLS gets it in any case.
    :param ping_interval_s: between the PINGs that tell whether the connection lives.
    :param max_pings_out: so many of them without an answer end the connection.
    :param max_buffered_bytes: of messages that wait for a connection, or for a server that does not read.
    :param inbox_prefix: below it are the subjects for replies.
    :param randomize: try the servers in random order.
    :param reconnect_wait_s: the pause after a first round of failed attempts; it doubles, with jitter, up to
        ``reconnect_max_wait_s``.
    :param random: for tests; the operating system's otherwise.
    :param on_error: called with each error that a server reports.
    :raises BadServerUrl: a URL cannot be understood, or there is none.
    :raises BadSubject: for ``inbox_prefix``.
    """

    def __init__(
        self,
        reactor: IReactorTime,
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
        # Twisted's type of its own reactor, and of those for tests, is no Reactor, but has the time at least.
        whole = cast(Reactor, reactor)
        random = random or SystemRandom()
        pool = ServerPool(servers, random, shuffle=randomize)
        self._session = Session(
            whole, pool, random, inbox_prefix, max_buffered_bytes, on_error, lambda: str(self._life.why_not_ready())
        )
        self._life = Lifecycle(
            whole,
            pool,
            Identity(name, credentials, tls),
            Backoff(reconnect_wait_s, reconnect_max_wait_s, random),
            self._session,
            connect_timeout_s=connect_timeout_s,
            ping_interval_s=ping_interval_s,
            max_pings_out=max_pings_out,
        )
        self._pool = pool
        self._dialer = self._life.dialer
        self._draining = Draining(whole, self._session, self._life.flush, self.close)
        super().__init__(whole, self._session, self._check_may_subscribe)

    # State

    @property
    def status(self) -> Status:
        """Where the client stands."""
        return self._life.status.value

    def watch_status(self, callback: StatusCallback) -> Callable[[], None]:
        """
        Have ``callback(old, new, reason)`` called at each change, until the function that is returned is called.

        Any number may watch. All hear every change, in order and at once: with ``CONNECTED`` the subscriptions are
        back already. A callback may do anything, closing the client included; what it raises is logged.
        """
        return self._life.status.watch(callback)

    @property
    def ready(self) -> bool:
        """Whether there is a connection, logged in."""
        return self._life.ready

    @property
    def server(self) -> str | None:
        """``host:port`` of the current server."""
        connection = self._session.connection
        return connection.server.name if connection else None

    @property
    def servers(self) -> list[str]:
        """``host:port`` of all servers that are known, those learned included; the next one to be tried first."""
        return self._pool.names

    @property
    def server_info(self) -> dict[str, Any]:
        """
        The last INFO of the current or last server; empty before the first.

        Fields that are known but have a wrong type are left out.
        """
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
        """
        Begin to connect.

        :raises ClientClosed: it was closed.
        """
        self._life.start()

    def when_ready(self, timeout_s: float | None = None) -> Deferred[None]:
        """
        Fires when there is a connection, at once if there is one; fails with ``ClientClosed``.

        :param timeout_s: None waits for ever; after a time-out the error is the reason why there is no connection.
        """
        return self._life.when_ready(timeout_s)

    def close(self) -> Deferred[None]:
        """
        Send what can be sent within a second, and close; fires when the socket is closed. May be called again.

        Everything that waits for an answer fails with ``ClientClosed``. See ``drain`` for a gentle end.
        """
        self._life.close()
        return self._life.when_closed()

    def drain(self, timeout_s: float = 30.0) -> Deferred[None]:
        """
        Finish what is under way, then close; fires when the socket is closed.

        In this order: no new subscriptions are taken; all are ended, what is on its way to them is delivered, and the
        Deferreds their callbacks returned are awaited; open requests get their answers; nothing more may be
        published, and what was goes out; close. Until the next to last step callbacks may publish and request.
        Without a connection it waits for one to send what was published. Fails with ``DrainTimeout`` if that takes
        too long, and with ``ClientClosed`` if ``close`` is called meanwhile; it is closed then, too.
        """
        if self._draining.begun:
            return self._life.when_closed()
        if not self._life.started or self._life.closed:
            return self.close()
        return self._draining.run(timeout_s)

    def force_reconnect(self) -> None:
        """
        Leave the server in good order and go to the next one, with credentials read anew.

        Open requests may fail with ``ConnectionLost``. Without a connection there is nothing to leave.
        """
        self._session.leave("another connection was asked for")

    def _check_may_subscribe(self) -> None:
        self._life.check_open()
        self._draining.check_may_subscribe()

    def flush(self, timeout_s: float = 10.0) -> Deferred[None]:
        """
        Fires when the server has taken everything published and subscribed before.

        Without a connection it waits for one first. Fails with ``FlushTimeout``, ``ConnectionLost``,
        ``ClientClosed``.
        """
        return self._session.bounded(self._life.flush(), timeout_s)
