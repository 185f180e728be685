"""One connection to one server: log in, keep alive, take events, one ordered way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer, IReactorTime
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
from natsconnector.nats.handshake import Login, connect_frame, refusal, upgrades
from natsconnector.nats.keepalive import KeepAlive
from natsconnector.nats.outbound import OutboundBuffer
from natsconnector.nats.servers import Server
from natsconnector.nats.status import Statistics
from natsconnector.nats.tls import tls_reason
from natsconnector.nats.waiters import Waiters
from natsconnector.nats.wire import encode
from natsconnector.nats.wire.events import Err, Event, Info, Msg, Ping, Pong
from natsconnector.nats.wire.parser import Parser

#: How long a connection may take to send what is left and close.
CLOSE_TIMEOUT_S = 1.0


@implementer(IPushProducer, IHandshakeListener)
class Connection(Protocol):
    """A connection, used once; ``login`` has to be set before it is made.

    ``on_message``, ``on_info`` and ``on_error`` are called for what comes once it is ready, never after its end was
    asked for. It is a push producer of its transport: while the peer does not read, frames wait in ``buffer``.
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
        self.login: Login
        self.info: dict[str, Any] = {}
        #: Whether TLS is up.
        self.secure = False
        #: What the login waits for, or None when it is done.
        self.awaiting: str | None = "credentials"
        self._clock = clock
        self._buffer = buffer
        self._statistics = statistics
        self._on_message = on_message
        self._on_info = on_info
        self._on_error = on_error
        self._parser = Parser()
        self._paused = False
        self._pong_waits = False
        self._closing = False
        self._ready = False
        self._cause: NatsError | str | None = None
        self._lost_error: ConnectionLost | None = None
        # The login's own PING is the first.
        self._keep_alive = KeepAlive(clock, ping_interval_s, max_pings_out, lambda: self.send(encode.PING), self._stale)
        # What came in clear behind the first INFO, and whether there was more of it than whole frames.
        self._behind_info: list[Event] = []
        self._more_behind_info = False
        self._closing_timer: IDelayedCall | None = None
        self._when_ready: Waiters[None] = Waiters()
        self._when_lost: Waiters[ConnectionLost] = Waiters()

    # What the owner asks for

    def when_ready(self) -> Deferred[None]:
        """Fires when the login is done; fails with what went wrong."""
        return fail(self._login_error()) if self._lost_error else self._when_ready.wait()

    def when_lost(self) -> Deferred[ConnectionLost]:
        """Fires, with the reason, when the socket is closed."""
        return succeed(self._lost_error) if self._lost_error else self._when_lost.wait()

    def publish(self, frame: bytes, payload_size: int) -> None:
        """Send a message after everything before it. Raises ``OutboundBufferFull``."""
        if self._paused or self._closing:
            self._buffer.check_room(frame)
        self.forward(frame, payload_size)

    def forward(self, frame: bytes, payload_size: int) -> None:
        """Send a message that has waited already, and is not to be refused now."""
        if self._paused or self._closing:
            self._buffer.add_message(frame, payload_size)
        else:
            self._write(frame)

    def send(self, frame: bytes) -> None:
        """Send any other frame after everything before it."""
        if self._closing:
            return
        if self._paused:
            self._buffer.add_control(frame)
        else:
            self._write(frame)

    def ping(self) -> Deferred[None]:
        """Fires when the server has worked through all that was sent before; fails with ``ConnectionLost``."""
        return fail(self._lost_error) if self._lost_error is not None else self._keep_alive.ping()

    def check(self) -> None:
        """Send a PING whose answer only counts as a sign of life."""
        self._keep_alive.check()

    def close(self, error: NatsError, cause: str) -> None:
        """Send what is left, then close; open PINGs get the error. Bounded: after a second the rest is dropped."""
        if self._closing:
            return
        self._cause = self._cause or cause
        self._end()
        self._keep_alive.fail_all(error)
        self.transport.unregisterProducer()
        while self._buffer:
            self._write(self._buffer.pop())
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
        self.awaiting = "INFO"
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        if self.login.tls_first:
            self._start_tls()

    def handshakeCompleted(self) -> None:
        """TLS is up, and the server is who it should be."""
        if self._closing:
            return
        self.secure = True
        self.awaiting = "INFO"
        if self.info:
            self._log_in()

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        self._statistics.in_bytes += len(data)
        events = self._parser.receive_data(data)
        violation = self._parser.violation
        if self.awaiting == "INFO":
            self._behind_info = events[1:]
            self._more_behind_info = violation is not None or self._parser.begun
        for event in events:
            if type(event) is Msg:
                if self._ready:
                    self._on_message(event)
            else:
                self._take(event)
            # A callback may have closed us.
            if self._closing:
                return
        if violation is not None:
            self.abort(violation)
        elif self.awaiting is None and not self._ready:
            # Only now, at the end of the chunk: the INFO with the limits that hold for this user follows the PONG.
            self._ready = True
            self._keep_alive.start()
            self._when_ready.fire(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._lost_error is not None:
            return
        self._end()
        if self._cause is None:
            self._cause = self._why_lost(reason)
        self._lost_error = ConnectionLost(self.server.name, str(self._cause))
        self._when_ready.fail(self._login_error())
        self._when_lost.fire(self._lost_error)
        # Last, when everybody knows: who flushes again must not be given this connection.
        self._keep_alive.fail_all(self._lost_error)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        # The buffer outlives us; an old connection must not send for the new one.
        if self._closing:
            return
        self._paused = False
        while self._buffer and not self._paused:
            self._write(self._buffer.pop())

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says the rest."""

    # Inside

    def _take(self, event: Event) -> None:
        if isinstance(event, Ping):
            if self.login.wants_tls and not self.secure:
                return  # not one byte in clear
            # For a peer that does not read one PONG is as good as many, and does not fill memory.
            if not (self._paused and self._pong_waits):
                self.send(encode.PONG)
            self._pong_waits = self._paused
        elif isinstance(event, Pong):
            if self.awaiting == "the answer to CONNECT":
                self.awaiting = None
            self._keep_alive.answered()
        elif isinstance(event, Info):
            self.info = event.fields
            if self._ready:
                self._on_info(event.fields)
            elif self.awaiting == "INFO":
                self._log_in()
        elif isinstance(event, Err):
            self._refused(server_error(event.message))

    def _log_in(self) -> None:
        if (why_not := refusal(self.info, self.login, secure=self.secure)) is not None:
            self.abort(why_not)
        elif upgrades(self.info, self.login, secure=self.secure):
            self._upgrade()
        else:
            try:
                frame = connect_frame(self.info, self.login, secure=self.secure)
            except BadCredentials as error:
                self.abort(error)
                return
            self.awaiting = "the answer to CONNECT"
            self._write(frame)
            self.check()

    def _upgrade(self) -> None:
        """Go on with TLS. Somebody in between may have added what came in clear: it must not count later."""
        if self._behind_info or self._more_behind_info:
            told = [event for event in self._behind_info if isinstance(event, Err)]
            self.abort(server_error(told[0].message) if told else "more than INFO came in clear, before TLS")
        else:
            self._start_tls()

    def _start_tls(self) -> None:
        self.awaiting = "the TLS handshake"
        self.transport.startTLS(self.login.tls)

    def _refused(self, error: ServerError) -> None:
        if isinstance(error, AuthorizationError):
            credentials = self.login.credentials
            error.hint = credentials.hint if credentials is not None else "we have no credentials"
        harmless = isinstance(error, (PermissionsViolation, RequestRefused))
        if not harmless:
            # If the server closes now, this is why.
            self._cause = error
        if self._ready:
            self._on_error(error)
        elif not harmless:
            self.abort(error)

    def _stale(self, unanswered: int) -> None:
        self.abort(f"stale connection: {unanswered} PINGs without an answer")

    def _write(self, frame: bytes) -> None:
        self._statistics.out_bytes += len(frame)
        self.transport.write(frame)

    def _end(self) -> None:
        self._closing = True
        self._keep_alive.stop()
        if self._closing_timer is not None and self._closing_timer.active():
            self._closing_timer.cancel()

    def _why_lost(self, reason: Failure) -> str:
        closed = isinstance(reason.value, ConnectionDone)
        why = tls_reason(reason.value) or ("closed by the server" if closed else reason.getErrorMessage().rstrip("."))
        if self.awaiting is None:
            return why
        if self.awaiting == "INFO" and self.login.wants_tls and not self.login.tls_first:
            return f"{why} while waiting for INFO; one with handshake_first wants TLS first"
        return f"{why} while waiting for {self.awaiting}"

    def _login_error(self) -> NatsError:
        if isinstance(self._cause, (ServerError, BadCredentials)):
            return self._cause
        return ConnectFailed(self.server.name, str(self._cause))
