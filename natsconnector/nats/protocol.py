"""One connection to one server: log in, keep alive, take events, one ordered way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from natsconnector.nats.errors import (
    AuthorizationError,
    BadCredentials,
    ConnectFailed,
    ConnectionLost,
    NatsError,
    PermissionsViolation,
    RequestRefused,
    ServerError,
    server_error,
)
from natsconnector.nats.handshake import Connect, Handshake, Login, Refuse, Stage, Step, Upgrade, why_lost
from natsconnector.nats.keepalive import KeepAlive
from natsconnector.nats.outbound import OutboundBuffer
from natsconnector.nats.outlet import Outlet
from natsconnector.nats.servers import Server
from natsconnector.nats.status import Statistics
from natsconnector.nats.waiters import Waiters
from natsconnector.nats.wire import encode
from natsconnector.nats.wire.events import Err, Event, Info, Msg, Ping, Pong
from natsconnector.nats.wire.info import outlasting_tls, usable
from natsconnector.nats.wire.parser import Parser

#: How long a connection may take to send what is left and close.
CLOSE_TIMEOUT_S = 1.0

_READY, _CLOSING = Stage.READY, Stage.CLOSING


@implementer(IHandshakeListener)
class Connection(Protocol):
    """
    A connection, used once.

    :param buffer: where frames wait while the peer does not read.
    :param on_message: called, as ``on_info`` and ``on_error``, for what comes while the connection is ready.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        server: Server,
        *,
        buffer: OutboundBuffer,
        statistics: Statistics,
        ping_interval_s: float,
        max_pings_out: int,
        on_message: Callable[[Msg], object],
        on_info: Callable[[dict[str, Any]], object],
        on_error: Callable[[ServerError], object],
    ) -> None:
        self.server = server
        self.stage = Stage.CREDENTIALS
        self.info: dict[str, Any] = {}
        self._clock = clock
        #: Where everything goes out.
        self.out = Outlet(clock, buffer, statistics)
        self._statistics = statistics
        self._on_message = on_message
        self._on_info = on_info
        self._on_error = on_error
        self._login = Login("", None)
        self._handshake = Handshake(self._login)
        self._parser = Parser()
        self._pong_waits = False
        self._cause: NatsError | str | None = None
        self._lost_error: ConnectionLost | None = None
        # The login's own PING is the first.
        self._keep_alive = KeepAlive(clock, ping_interval_s, max_pings_out, self.out.send, self._stale)
        self._behind_info: list[Event] = []
        self._closing_timer: IDelayedCall | None = None
        self._when_ready: Waiters[None] = Waiters()
        self._when_lost: Waiters[ConnectionLost] = Waiters()

    # What the owner asks for

    @property
    def secure(self) -> bool:
        """Whether TLS is up."""
        return self._handshake.secure

    def bring(self, login: Login) -> None:
        """What to log in with; to be called once, before the connection is made."""
        self._login = login
        self._handshake = Handshake(login)
        self.stage = Stage.CONNECTION

    def when_ready(self) -> Deferred[None]:
        """Fires when the login is done; fails with what went wrong."""
        return fail(self._login_error()) if self._lost_error else self._when_ready.wait()

    def when_lost(self) -> Deferred[ConnectionLost]:
        """Fires, with the reason, when the socket is closed."""
        return succeed(self._lost_error) if self._lost_error else self._when_lost.wait()

    def ping(self, behind: bytes = b"") -> Deferred[None]:
        """
        Fires when the server has worked through all that was sent before; fails with ``ConnectionLost``.

        :param behind: a frame to be sent first, with nothing in between.
        """
        return fail(self._lost_error) if self._lost_error is not None else self._keep_alive.ping(behind)

    def check(self) -> None:
        """Send a PING whose answer only counts as a sign of life."""
        self._keep_alive.check()

    def close(self, error: NatsError, cause: str) -> None:
        """Send what is left, then close; open PINGs get the error. Bounded: after a second the rest is dropped."""
        if self.stage is _CLOSING:
            return
        self._cause = self._cause or cause
        self._end()
        self._keep_alive.fail_all(error)
        self.out.close()
        self.transport.loseConnection()
        self._closing_timer = self._clock.callLater(CLOSE_TIMEOUT_S, self.transport.abortConnection)

    def abort(self, cause: NatsError | str) -> None:
        """Close at once. loseConnection() would wait for a peer that may have stopped reading."""
        if self._lost_error is None:
            self._cause = self._cause or cause
            self._end()
            self.transport.abortConnection()

    # What the transport says

    def connectionMade(self) -> None:
        self.stage = Stage.INFO
        self.transport.setTcpNoDelay(True)
        self.out.open(self.transport)
        if self._login.tls_first:
            self._take(Upgrade())

    def handshakeCompleted(self) -> None:
        """TLS is up, and the server is who it should be."""
        if self.stage is _CLOSING:
            return
        self.stage = Stage.INFO
        self.info = outlasting_tls(self.info)
        if (step := self._handshake.secured()) is not None:
            self._take(step)

    def dataReceived(self, data: bytes) -> None:
        if self.stage is _CLOSING:
            return
        self._statistics.in_bytes += len(data)
        events = self._parser.receive_data(data)
        violation = self._parser.violation
        if self.stage is Stage.INFO:
            self._behind_info = events[1:]
        on_message, statistics = self._on_message, self._statistics
        for event in events:
            if type(event) is Msg:
                if self.stage is _READY:
                    statistics.in_msgs += 1
                    on_message(event)
            else:
                self._handle(event)
            # A callback may have closed the connection.
            if self.stage is _CLOSING:
                return
        if violation is not None:
            self.abort(violation)
        elif self.stage is Stage.LOGGED_IN:
            # Only now, at the end of the chunk: the INFO with the limits that hold for this user follows the PONG.
            self.stage = _READY
            self._keep_alive.start()
            self._when_ready.fire(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._lost_error is not None:
            return
        if self._cause is None:
            self._cause = why_lost(reason.value, self.stage, self._login)
        self._end()
        self._lost_error = ConnectionLost(self.server.name, str(self._cause))
        self._when_ready.fail(self._login_error())
        self._when_lost.fire(self._lost_error)
        # Last, after all waiters know: a failed flush may be repeated at once, and must not get this connection.
        self._keep_alive.fail_all(self._lost_error)

    # Inside

    def _handle(self, event: Event) -> None:
        if isinstance(event, Ping):
            if self._login.wants_tls and not self.secure:
                return  # not one byte in clear
            # While the server does not read, one waiting PONG answers all its PINGs; more would only fill memory.
            if not (self.out.paused and self._pong_waits):
                self.out.send(encode.PONG)
            self._pong_waits = self.out.paused
        elif isinstance(event, Pong):
            if self.stage is Stage.ANSWER:
                self.stage = Stage.LOGGED_IN
            self._keep_alive.answered()
        elif isinstance(event, Info):
            self.info = usable(event.fields)
            if self.stage is _READY:
                self._on_info(self.info)
            elif self.stage is Stage.INFO:
                more = self._parser.begun or self._parser.violation is not None
                self._take(self._handshake.info(self.info, self._behind_info, more=more))
        elif isinstance(event, Err):
            self._refused(server_error(event.message))

    def _take(self, step: Step) -> None:
        """The next step of the login."""
        if isinstance(step, Connect):
            self.stage = Stage.ANSWER
            self.out.send(step.frame)
            self.check()
        elif isinstance(step, Refuse):
            self.abort(step.why)
        else:
            self.stage = Stage.TLS
            self.out.flush()  # what was meant to go in clear does
            try:
                self.transport.startTLS(self._login.tls_options())
            except BadCredentials as error:
                self.abort(error)

    def _refused(self, error: ServerError) -> None:
        if isinstance(error, AuthorizationError):
            credentials = self._login.credentials
            error.hint = credentials.hint if credentials is not None else "we have no credentials"
        harmless = isinstance(error, (PermissionsViolation, RequestRefused))
        if not harmless:
            # If the server closes now, this is why.
            self._cause = error
        if self.stage is _READY:
            self._on_error(error)
        elif not harmless:
            self.abort(error)

    def _stale(self, unanswered: int) -> None:
        self.abort(f"stale connection: {unanswered} PINGs without an answer")

    def _end(self) -> None:
        self.stage = _CLOSING
        self.out.stop()
        self._keep_alive.stop()
        if self._closing_timer is not None and self._closing_timer.active():
            self._closing_timer.cancel()

    def _login_error(self) -> NatsError:
        if isinstance(self._cause, (ServerError, BadCredentials)):
            return self._cause
        return ConnectFailed(self.server.name, str(self._cause))
