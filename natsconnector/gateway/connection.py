"""One connection to the gateway, and the request on it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from typing import Protocol as Shape

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection as TcpConnection
from twisted.python.failure import Failure
from zope.interface import implementer

from natsconnector.gateway.errors import (
    BrokeOff,
    GivenUp,
    NoResponse,
    NotConnected,
    ResponseCut,
    ResponseTooLarge,
    ResponseUnreadable,
    TimedOut,
)
from natsconnector.gateway.http1 import BadResponse, BodyTooLarge, Reply, ResponseParser

# What a TLS connection takes without being asked whether it has sent it when the response comes.
_SENT_SOON_BYTES = 65536


_MOST_FAILED_WRITES = 10


class Pool(Shape):
    """What a connection tells whoever made it."""

    max_response_bytes: int

    def rests(self, connection: Connection) -> None:
        """It can carry another request."""

    def lost(self, connection: Connection) -> None:
        """It has ended."""


class Exchange:
    """
    One request and its response, within a deadline.

    It knows how far it came, which an exception of a library does not say for sure.

    :param request: all of it, in bytes.
    :param timeout_s: from now until the response is whole.
    """

    __slots__ = (
        "_timeout_s",
        "_timer",
        "connecting",
        "connection",
        "ended",
        "head_only",
        "request",
        "sent",
        "when_done",
    )

    def __init__(self, clock: IReactorTime, request: bytes, timeout_s: float, head_only: bool) -> None:
        self.request = request
        self.head_only = head_only
        self.connection: Connection | None = None
        self.connecting: Deferred[Any] | None = None
        self.sent = False
        self.ended = False
        self.when_done: Deferred[Reply] = Deferred(self._give_up)
        self._timeout_s = timeout_s
        self._timer = clock.callLater(timeout_s, self._time_out)

    @property
    def begun(self) -> bool:
        """Something of the response has come."""
        return self.connection is not None and self.connection.response_begun

    def connected(self, connection: Connection) -> None:
        """A connection of its own stands."""
        self.connecting = None
        if self.ended:
            connection.abort()
        elif not connection.carry(self):
            connection.abort()
            self.fail(NotConnected("the connection broke before anything was sent"))

    def not_connected(self, failure: Failure) -> None:
        """There is no connection."""
        self.connecting = None
        if not self.ended:
            self.fail(NotConnected(_why(failure)))

    def succeed(self, reply: Reply) -> None:
        """The response is whole."""
        self.ended = True
        self.connection = None
        self._timer.cancel()
        self.when_done.callback(reply)

    def fail(self, problem: NoResponse) -> None:
        """There will be no whole response: whatever is under way for it is given up."""
        self.ended = True
        if self._timer.active():
            self._timer.cancel()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()
        if self.connecting is not None:
            self.connecting.cancel()
        self.when_done.errback(problem)

    def _time_out(self) -> None:
        what = "did not end its answer" if self.begun else "did not answer" if self.sent else "no connection"
        self.fail(TimedOut(f"{what} within {self._timeout_s:g} s", sent=self.sent, begun=self.begun))

    def _give_up(self, cancelled: Deferred[Reply]) -> None:
        self.fail(GivenUp("given up", sent=self.sent, begun=self.begun))


@implementer(IPullProducer)
class Connection(Protocol):
    """
    A connection that carries one request after the other.

    :param pool: is told when it can carry another, and when it has ended.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._parser = ResponseParser(pool.max_response_bytes)
        self._exchange: Exchange | None = None
        self._write_now: Callable[[bytes], int] | None = None
        self._write_some: Callable[[bytes], Any] | None = None
        self._socket: socket.socket | None = None
        self._unsent = 0  # how often the transport has yet to say that it has written all
        self._failed_writes = 0
        self.lost = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if isinstance(transport, TcpConnection) and not transport.TLS:
            # Writing at once, not when the reactor finds that it can, saves three system calls of five. And it tells
            # whether anything went out.
            self._write_now = transport.getHandle().send
            self._write_some = transport.writeSomeData
            vars(transport)["writeSomeData"] = self._write_rest
            transport.setTcpNoDelay(True)
        self._socket = _socket_below(transport)

    @property
    def response_begun(self) -> bool:
        return self._parser.begun

    def quiet(self) -> bool:
        """
        Nothing has come since the last response, the end of the connection included.

        The reactor may not have got round to reading it.
        """
        if self._socket is None:
            return not self.lost
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self.lost
        except OSError:
            pass
        return False

    def carry(self, exchange: Exchange) -> bool:
        """Send the request; False when surely no byte of it went out."""
        transport: Any = self.transport
        rest: bytes | memoryview = exchange.request
        if self._write_now is not None:
            try:
                written = self._write_now(exchange.request)
            except BlockingIOError:
                written = 0
            except OSError:
                return False
            rest = memoryview(rest)[written:] if written < len(rest) else b""
        exchange.sent = True
        exchange.connection = self
        self._exchange = exchange
        self._parser.expect(head_only=exchange.head_only)
        if rest:
            transport.write(bytes(rest))
            if self._write_now is not None or len(rest) > _SENT_SOON_BYTES:
                # A transport asks a producer for more at once, and again when it has written all.
                self._unsent = 2
                transport.registerProducer(self, False)
        return True

    def _write_rest(self, data: bytes) -> Any:
        """
        What the transport calls when it can write.

        A write that fails must not end the connection before what came is read: a server that refuses a request by
        its head answers, and closes. Reading then finds the end, too; the count is for what should never be.
        """
        assert self._write_some is not None
        written = self._write_some(data)
        if isinstance(written, Exception) and self._failed_writes < _MOST_FAILED_WRITES:
            self._failed_writes += 1
            return 0
        return written

    def resumeProducing(self) -> None:
        self._unsent -= 1
        if self._unsent == 0:
            transport: Any = self.transport
            transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection ends, which :meth:`connectionLost` tells."""

    def abort(self) -> None:
        """Close it, whatever is under way."""
        self._exchange = None
        transport: Any = self.transport
        if not self.lost:
            transport.abortConnection()

    def close(self) -> None:
        """Close it, while nothing is under way."""
        transport: Any = self.transport
        if self._write_now is not None:
            transport.loseConnection()
        else:  # TLS would wait for the other side to agree
            transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # nobody asked for it
            self.abort()
            return
        parser = self._parser
        try:
            if not parser.receive_data(data):
                return
        except BadResponse as e:
            exchange.fail(ResponseUnreadable(str(e)))
            return
        except BodyTooLarge:
            exchange.fail(ResponseTooLarge(f"larger than {self._pool.max_response_bytes} bytes"))
            return
        self._exchange = None
        reply = parser.reply()
        if self._unsent:  # it came before the request was all sent, and nobody may read the rest
            self.abort()
        elif parser.keep_alive:
            self._pool.rests(self)
        else:
            self.close()
        exchange.succeed(reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        self._socket = None
        vars(self.transport).pop("writeSomeData", None)  # which would keep both alive
        self._pool.lost(self)
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        begun = exchange.begun
        if begun and reason.check(error.ConnectionDone) and self._parser.receive_eof():
            exchange.succeed(self._parser.reply())
        else:
            exchange.fail((ResponseCut if begun else BrokeOff)(_why(reason)))


def _socket_below(transport: Any) -> socket.socket | None:
    """The socket of a connection, below its TLS; None in memory."""
    while transport is not None:
        if isinstance(transport, TcpConnection):
            found: socket.socket = transport.getHandle()
            return found
        transport = getattr(transport, "transport", None)
    return None


def _why(failure: Failure) -> str:
    """The cause in a few words, on one line."""
    problem = failure.value
    if isinstance(problem, error.DNSLookupError):
        return "no address is known for its name"
    if isinstance(problem, error.ConnectionDone):
        return "the connection was closed"
    if isinstance(problem, error.ConnectionLost):
        return "the connection was lost"
    return " ".join((str(problem) or type(problem).__name__).split())[:200].rstrip(".")
