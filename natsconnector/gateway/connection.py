"""One connection to the gateway, and the request on it."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any
from typing import Protocol as Shape

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer
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
    cause,
)
from natsconnector.gateway.http1 import BadResponse, BodyTooLarge, Response, ResponseParser
from natsconnector.gateway.room import ResponseRoom
from natsconnector.gateway.timeouts import Timeouts

# A request of so many bytes over TLS counts as sent when its response comes; of a longer one the transport is asked.
_SENT_SOON_BYTES = 65536
_MOST_FAILED_WRITES = 10


class Pool(Shape):
    """What a connection tells whoever made it."""

    max_response_bytes: int
    room: ResponseRoom

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
        "_timeouts",
        "connecting",
        "connection",
        "ended",
        "head_only",
        "request",
        "sent",
        "when_done",
    )

    def __init__(self, timeouts: Timeouts, request: bytes, head_only: bool) -> None:
        self.request = request
        self.head_only = head_only
        self.connection: Connection | None = None
        self.connecting: Deferred[Any] | None = None
        self.sent = False
        self.ended = False
        self.when_done: Deferred[Response] = Deferred(self._give_up)
        self._timeouts = timeouts
        timeouts.begin(self)

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
            self.fail(NotConnected(cause(failure)))

    def succeed(self, response: Response) -> None:
        """The response is whole."""
        self.ended = True
        self.connection = None
        self._timeouts.end(self)
        self.when_done.callback(response)

    def fail(self, problem: NoResponse) -> None:
        """There will be no whole response: whatever is under way for it is given up."""
        self.ended = True
        self._timeouts.end(self)
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()
        if self.connecting is not None:
            self.connecting.cancel()
        self.when_done.errback(problem)

    def time_out(self) -> None:
        """See :class:`~natsconnector.gateway.timeouts.Timed`."""
        what = "did not end its answer" if self.begun else "did not answer" if self.sent else "no connection"
        self.fail(TimedOut(f"{what} within {self._timeouts.length_s:g} s", sent=self.sent, begun=self.begun))

    def _give_up(self, cancelled: Deferred[Response]) -> None:
        self.fail(GivenUp("given up", sent=self.sent, begun=self.begun))


@implementer(IPullProducer)
class Connection(Protocol):
    """
    A connection that carries one request after the other.

    :param pool: is told when it can carry another, and when it has ended.
    """

    transport: Any

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._parser = ResponseParser(pool.max_response_bytes)
        self._exchange: Exchange | None = None
        self._write_now: Callable[[bytes], int] | None = None
        self._write_some: Callable[[bytes], Any] | None = None
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        self._unsent = 0  # how often the transport has yet to say that it has written all
        self._failed_writes = 0
        self.lost = False

    def connectionMade(self) -> None:
        transport = self.transport
        if isinstance(transport, TcpConnection) and not transport.TLS:
            # Writing at once, instead of when the reactor finds the socket writable, saves three system calls of five,
            # and tells whether anything went out.
            self._write_now = transport.getHandle().send
            self._write_some = transport.writeSomeData
            vars(transport)["writeSomeData"] = self._write_rest
            transport.setTcpNoDelay(True)
        below = _socket_below(transport)
        if below is not None:
            poll = select.poll()
            poll.register(below, select.POLLIN)
            self._poll = poll.poll

    @property
    def response_begun(self) -> bool:
        return self._parser.begun

    def quiet(self) -> bool:
        """
        Nothing has come since the last response, the end of the connection included.

        The reactor may not have got round to reading it.
        """
        return not self.lost and (self._poll is None or not self._poll(0))

    def carry(self, exchange: Exchange) -> bool:
        """Send the request; False when surely no byte of it went out."""
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
            self.transport.write(bytes(rest))
            if self._write_now is not None or len(rest) > _SENT_SOON_BYTES:
                # A transport asks a producer for more at once, and again when it has written all.
                self._unsent = 2
                self.transport.registerProducer(self, False)
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
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection ends, which :meth:`connectionLost` tells."""

    def pause(self) -> None:
        """See :class:`~natsconnector.gateway.room.Reader`."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        """See :class:`~natsconnector.gateway.room.Reader`."""
        if not self.lost:
            self.transport.resumeProducing()

    def abort(self) -> None:
        """Close it, whatever is under way."""
        self._exchange = None
        self._pool.room.leave(self)
        if not self.lost:
            self.transport.abortConnection()

    def close(self) -> None:
        """Close it, while nothing is under way."""
        if self._write_now is not None:
            self.transport.loseConnection()
        else:  # TLS would wait for the other side to agree
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # nobody asked for it
            self.abort()
            return
        parser = self._parser
        try:
            if not parser.receive_data(data):
                self._pool.room.hold(self, parser.held_bytes)
                return
        except BadResponse as e:
            exchange.fail(ResponseUnreadable(str(e)))
            return
        except BodyTooLarge:
            exchange.fail(ResponseTooLarge(f"larger than {self._pool.max_response_bytes} bytes"))
            return
        self._exchange = None
        response = parser.response()
        if self._unsent:  # it came before the request was all sent, and nobody may read the rest
            self.abort()
        elif parser.keep_alive:
            self._pool.rests(self)
        else:
            self.close()
        exchange.succeed(response)
        self._pool.room.leave(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        self._poll = None
        vars(self.transport).pop("writeSomeData", None)  # which would keep both alive
        self._pool.lost(self)
        self._pool.room.leave(self)
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        begun = exchange.begun
        if begun and reason.check(error.ConnectionDone) and self._parser.receive_eof():
            exchange.succeed(self._parser.response())
        else:
            exchange.fail((ResponseCut if begun else BrokeOff)(cause(reason)))


def _socket_below(transport: Any) -> socket.socket | None:
    """The socket of a connection, below its TLS; None in memory."""
    while transport is not None:
        if isinstance(transport, TcpConnection):
            found: socket.socket = transport.getHandle()
            return found
        transport = getattr(transport, "transport", None)
    return None
