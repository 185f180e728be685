"""A site of twisted.web that writes no access log, bounds its clients, and can be closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from natsconnector.web.hosts import HostRule
from natsconnector.web.refusal import Refusal
from natsconnector.web.request import BoundedRequest

# So long may the rest of an answer take when a time-out closes its connection.
_LAST_BYTES_S = 1.0


@dataclass(frozen=True)
class Bounds:
    """
    What one client, and all of them, may cost.

    :ivar connections: at once. Beyond it the one that has waited longest without a request is closed for the new one.
    :ivar head_bytes: of the request line and the headers together; likewise of a single line.
    :ivar header_lines: of a request.
    :ivar body_bytes: of a request. What is beyond is read, but neither kept nor answered by a resource: 413. With 0 a
        request with a body is answered when its head is there, and its connection closed.
    :ivar head_s: from the connection, or the first byte of a later request, until a head is complete.
    :ivar body_s: from there until the body is.
    :ivar idle_s: between two requests; and how long a client may leave an answer unread.
    """

    connections: int = 100
    head_bytes: int = 16 * 1024
    header_lines: int = 100
    body_bytes: int = 1024 * 1024
    head_s: float = 10.0
    body_s: float = 60.0
    idle_s: float = 60.0


class QuietSite(Site):
    """
    A site without Twisted's log lines, with bounds, and with an end.

    Who sends more before an answer is there has the connection closed behind that answer (RFC 9112, 9.3.2): requests
    that come together would be answered together, and nothing else meanwhile.

    :param reactor: of the time-outs.
    :param rule: which hosts and origins are answered; None answers all. Others get 403 and a sentence.
    """

    noisy = False
    reactor: IReactorTime

    def __init__(
        self, resource: Resource, reactor: IReactorTime, *, bounds: Bounds, rule: HostRule | None = None
    ) -> None:
        super().__init__(resource, BoundedRequest, timeout=bounds.idle_s, reactor=reactor)
        self.bounds = bounds
        self._rule = rule
        # Connections in the order in which they began to wait for a request.
        self._open: dict[_Channel, None] = {}
        self._when_closed: Deferred[None] | None = None
        self._is_closing = False

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def close(self, grace_s: float = 1.0) -> Deferred[None]:
        """
        Close each connection when it has sent what it was given, and after the grace in any case; take no more.

        Fires when all are gone. Whoever calls it stops listening before.

        :param grace_s: the longest that it takes.
        """
        self._is_closing = True
        if not self._open:
            return succeed(None)
        if self._when_closed is None:
            self._when_closed = Deferred()
            abort = self.reactor.callLater(grace_s, self._abort)
            self._when_closed.addCallback(lambda _: abort.cancel() if abort.active() else None)
        closed: Deferred[None] = Deferred()
        self._when_closed.addCallback(closed.callback)
        for channel in list(self._open):
            channel.loseConnection()
        return closed

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A channel for a new client, or None, which closes the connection."""
        if self._is_closing:
            return None
        if len(self._open) >= self.bounds.connections:
            waiting = next((channel for channel in self._open if not channel.is_answering), None)
            if waiting is None:
                return None
            del self._open[waiting]
            waiting.abort()
        channel: Any = super().buildProtocol(addr)
        return channel

    def getResourceFor(self, request: Request) -> IResource:
        """Where a request goes: nowhere if the rule refuses it, or its body is too large."""
        # Twisted's, which tells strangers what they need not know.
        request.responseHeaders.removeHeader(b"Server")
        fault = self._rule.fault(request.requestHeaders) if self._rule is not None else None
        if fault is not None:
            return Refusal(http.FORBIDDEN, fault)
        if isinstance(request, BoundedRequest) and request.is_too_large:
            return Refusal(http.REQUEST_ENTITY_TOO_LARGE, "request body too large")
        found: IResource = super().getResourceFor(request)
        return found

    def log(self, request: http.Request) -> None:
        """Nothing: whoever answers requests says what is worth a line."""

    def startFactory(self) -> None:
        """Take connections, also after an end; without the clock of the access log, which would go each second."""
        self._is_closing = False

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 alone: the bounds are not those of HTTP/2."""
        return [b"http/1.1"]

    def began_to_wait(self, channel: _Channel) -> None:
        """For a channel: it is open, and has no request in hand any more, or not yet."""
        self._open.pop(channel, None)
        self._open[channel] = None

    def ended(self, channel: _Channel) -> None:
        """For a channel: it is gone."""
        self._open.pop(channel, None)
        if not self._open and self._when_closed is not None:
            closed, self._when_closed = self._when_closed, None
            closed.callback(None)

    def _abort(self) -> None:
        for channel in list(self._open):
            channel.abort()


class _Channel(http.HTTPChannel):
    """
    One connection. Twisted's has an idle time-out alone, which a byte now and then keeps from running out.

    :ivar is_answering: whether a whole request is in hand.
    """

    site: QuietSite
    transport: Any
    requests: list[BoundedRequest]
    _buffer: bytes
    _dataBuffer: list[bytes]

    def __init__(self) -> None:
        super().__init__()
        self._deadline: IDelayedCall | None = None
        self.is_answering = False
        self._is_ended = False

    def connectionMade(self) -> None:
        bounds = self.site.bounds
        self.MAX_LENGTH = self.totalHeadersSize = bounds.head_bytes
        self.maxHeaders = bounds.header_lines
        super().connectionMade()
        self.site.began_to_wait(self)
        self._set_deadline(bounds.head_s)

    def dataReceived(self, data: bytes) -> None:
        if self._is_ended:
            return
        if self.is_answering:
            self.answer_last()
            return
        if self._deadline is None:
            self._set_deadline(self.site.bounds.head_s)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        self._set_deadline(self.site.bounds.body_s)
        super().allHeadersReceived()
        if self.length != 0 and not self.requests[-1].takes_body:
            # Twisted takes it for a request without one.
            self.length = 0
            self._transferDecoder = None
            self.answer_last()

    def allContentReceived(self) -> None:
        self._set_deadline(None)
        self.is_answering = True
        if self._buffer or any(self._dataBuffer):
            self.answer_last()
        super().allContentReceived()

    def requestDone(self, request: http.Request) -> None:
        self.is_answering = False
        self.site.began_to_wait(self)
        super().requestDone(request)
        if not self.is_answering and not self.persistent:
            # The connection is closed once the answer is sent, which takes as long as the client likes.
            self.setTimeout(self.site.bounds.idle_s)

    def answer_last(self) -> None:
        """Close it behind the answer to the request in hand, and take nothing that has come behind that request."""
        self._is_ended = True
        self.persistent = False
        self.clearLineBuffer()
        self._dataBuffer.clear()
        self.requests[-1].responseHeaders.setRawHeaders(b"Connection", [b"close"])

    def timeoutConnection(self) -> None:
        """The client has been idle, or has left an answer unread: without a log line."""
        # A request that comes now would stop the clock.
        self._is_ended = True
        self.loseConnection()
        self._set_deadline(_LAST_BYTES_S)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._set_deadline(None)
        super().connectionLost(reason)
        self.site.ended(self)

    def abort(self) -> None:
        """Close it now, whatever is unsent."""
        self._is_ended = True
        self.setTimeout(None)
        self._set_deadline(None)
        self.transport.abortConnection()

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.site.reactor.callLater(seconds, self.abort)


QuietSite.protocol = _Channel  # type: ignore[assignment]
