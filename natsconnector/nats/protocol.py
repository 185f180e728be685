"""One connection to one server: log in, keep alive, take events, one ordered way out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from natsconnector.nats import encode
from natsconnector.nats.errors import (
    ConnectFailed,
    ConnectionLost,
    NatsError,
    PermissionsViolation,
    ProtocolViolation,
    RequestRefused,
    ServerError,
    server_error,
)
from natsconnector.nats.events import Err, Event, Info, Msg, Ping, Pong
from natsconnector.nats.handshake import connect_frame, refusal
from natsconnector.nats.outbound import OutboundBuffer
from natsconnector.nats.parser import Parser
from natsconnector.nats.servers import Server
from natsconnector.nats.status import Statistics
from natsconnector.nats.waiters import Waiters

#: How long a connection may take to send what is left and close.
CLOSE_TIMEOUT_S = 1.0


@implementer(IPushProducer)
class Connection(Protocol):
    """A connection, used once.

    ``on_message``, ``on_info`` and ``on_error`` are called for what comes once it is ready, never after its end was
    asked for. It is a push producer of its transport: while the peer does not read, frames wait in ``buffer``.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        server: Server,
        name: str,
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
        self.info: dict[str, Any] = {}
        #: What the login waits for, or None when it is done.
        self.awaiting: str | None = "a connection"
        self._clock = clock
        self._name = name
        self._buffer = buffer
        self._statistics = statistics
        self._ping_interval_s = ping_interval_s
        self._max_pings_out = max_pings_out
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
        # Every PING sent has its entry, oldest first: PONGs carry no name. The login's own is the first.
        self._pings: deque[Deferred[None]] = deque()
        self._unanswered = 0
        self._timer: IDelayedCall | None = None
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
        if self._lost_error is not None:
            return fail(self._lost_error)
        answered: Deferred[None] = Deferred()
        self._pings.append(answered)
        self.send(encode.PING)
        return answered

    def check(self) -> None:
        """Send a PING whose answer only counts as a sign of life."""
        # Failing is nobody's business: connectionLost says it.
        self._pings.append(Deferred().addErrback(lambda _: None))
        self.send(encode.PING)

    def close(self, error: NatsError) -> None:
        """Send what is left, then close; open PINGs get the error. Bounded: after a second the rest is dropped."""
        if self._closing:
            return
        self._end()
        self._fail_pings(error)
        self.transport.unregisterProducer()
        while self._buffer:
            self._write(self._buffer.pop())
        self.transport.loseConnection()
        self._timer = self._clock.callLater(CLOSE_TIMEOUT_S, self.transport.abortConnection)

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

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        self._statistics.in_bytes += len(data)
        violation = None
        try:
            events = self._parser.receive_data(data)
        except ProtocolViolation as error:
            events, violation = error.events, error
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
            self._timer = self._clock.callLater(self._ping_interval_s, self._keep_alive)
            self._when_ready.fire(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._lost_error is not None:
            return
        self._end()
        if self._cause is None:
            closed = isinstance(reason.value, ConnectionDone)
            self._cause = "closed by the server" if closed else reason.getErrorMessage().rstrip(".")
            if self.awaiting is not None:
                self._cause += f" while waiting for {self.awaiting}"
        self._lost_error = ConnectionLost(self.server.name, str(self._cause))
        self._fail_pings(self._lost_error)
        self._when_ready.fail(self._login_error())
        self._when_lost.fire(self._lost_error)

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
            # For a peer that does not read one PONG is as good as many, and does not fill memory.
            if not (self._paused and self._pong_waits):
                self.send(encode.PONG)
            self._pong_waits = self._paused
        elif isinstance(event, Pong):
            self._answered()
        elif isinstance(event, Info):
            self.info = event.fields
            if self._ready:
                self._on_info(event.fields)
            elif self.awaiting == "INFO":
                self._log_in()
        elif isinstance(event, Err):
            self._refused(server_error(event.message))

    def _log_in(self) -> None:
        if (why_not := refusal(self.info)) is not None:
            self.abort(why_not)
            return
        self.awaiting = "the answer to CONNECT"
        self._write(connect_frame(self.info, self.server, self._name))
        self.check()

    def _answered(self) -> None:
        self._unanswered = 0
        if self.awaiting == "the answer to CONNECT":
            self.awaiting = None
        if self._pings:
            # A cancelled flush has left its place in the line, where it belongs.
            self._pings.popleft().callback(None)

    def _refused(self, error: ServerError) -> None:
        harmless = isinstance(error, (PermissionsViolation, RequestRefused))
        if not harmless:
            # If the server closes now, this is why.
            self._cause = error
        if self._ready:
            self._on_error(error)
        elif not harmless:
            self.abort(error)

    def _keep_alive(self) -> None:
        if self._unanswered >= self._max_pings_out:
            self.abort(f"stale connection: {self._unanswered} PINGs without an answer")
            return
        self._unanswered += 1
        self._timer = self._clock.callLater(self._ping_interval_s, self._keep_alive)
        self.check()

    def _write(self, frame: bytes) -> None:
        self._statistics.out_bytes += len(frame)
        self.transport.write(frame)

    def _end(self) -> None:
        self._closing = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _fail_pings(self, error: NatsError) -> None:
        pings, self._pings = self._pings, deque()
        for answered in pings:
            answered.errback(error)

    def _login_error(self) -> NatsError:
        if isinstance(self._cause, ServerError):
            return self._cause
        return ConnectFailed(self.server.name, str(self._cause))
