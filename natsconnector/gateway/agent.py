"""Connections to one gateway, kept and reused."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from natsconnector.gateway.connection import Connection, Exchange
from natsconnector.gateway.endpoint import gateway_endpoint
from natsconnector.gateway.http1 import Response
from natsconnector.gateway.origin import Origin
from natsconnector.gateway.request import BadRequest, encode_request
from natsconnector.gateway.response import WholeResponse
from natsconnector.gateway.room import ResponseRoom
from natsconnector.gateway.timeouts import Timeouts
from natsconnector.reactors import Reactor

CONNECT_TIMEOUT_S = 10.0
# Shorter than the idle time-out of any gateway in use, so that it is we who close a connection nobody needs: one that
# the gateway closes under a request cannot be told from a call that broke off.
IDLE_CONNECTION_S = 30.0
# Lengths of time-outs that are kept; each function may have one of its own.
_MOST_TIMEOUTS = 1000


@implementer(IAgent)
class GatewayAgent:
    """
    An HTTP client of one origin.

    A request is never sent twice: only when surely no byte of it left on a kept connection, it goes out on another.
    Its Deferred fires with a response that is whole, so that its one deadline and bound hold for the body, too.

    :param timeout_s: for a request that has no deadline of its own; also for connecting, but there never more than
        ten seconds.
    :param max_connections: how many idle connections are kept; how many requests run at once is the caller's to bound.
    :param max_response_bytes: of a response's body; the connection of a longer one is closed.
    :param max_held_bytes: of the responses that are coming, all together, as :class:`ResponseRoom` says.
    :param ca_file: PEM file of the authorities that are trusted for ``https``; None trusts the system's.
    """

    def __init__(
        self,
        reactor: Reactor,
        origin: Origin,
        *,
        timeout_s: float,
        max_connections: int,
        max_response_bytes: int,
        max_held_bytes: int | None = None,
        ca_file: str | None = None,
    ) -> None:
        self.max_response_bytes = max_response_bytes
        self.room = ResponseRoom(max_held_bytes)
        self._reactor = reactor
        self._origin = origin
        self._timeout_s = timeout_s
        self._max_connections = max_connections
        self._endpoint: IStreamClientEndpoint = gateway_endpoint(
            reactor, origin, min(timeout_s, CONNECT_TIMEOUT_S), ca_file
        )
        self._factory = _ConnectionFactory(self)
        # Idle connections, and since when each is idle, in seconds; the one that became idle last comes last.
        self._idle: dict[Connection, float] = {}
        self._sweep_timer: Any = None
        self._timeouts: dict[float, Timeouts] = {}
        self._closed = False
        self._closing: set[Connection] = set()
        self._when_closed: list[Deferred[None]] = []

    def exchange(self, request: bytes, timeout_s: float, *, head_only: bool = False) -> Deferred[Response]:
        """
        Send a request and read its response. Cancelling closes its connection.

        :param request: all of it, in bytes.
        :param timeout_s: for all of it, connecting and reading the body included.
        :param head_only: the response has no body (HEAD).
        :raises NoResponse: (in the Deferred, as everything that goes wrong) there is no whole response.
        """
        timeouts = self._timeouts.get(timeout_s)
        if timeouts is None:
            if len(self._timeouts) >= _MOST_TIMEOUTS:
                self._timeouts.clear()
            timeouts = self._timeouts[timeout_s] = Timeouts(self._reactor, timeout_s)
        exchange = Exchange(timeouts, request, head_only)
        idle = self._idle
        while idle:
            connection, _ = idle.popitem()
            if connection.quiet() and connection.carry(exchange):
                return exchange.when_done
            connection.abort()
        self._connect(exchange)
        return exchange.when_done

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """
        See :class:`IAgent`; the URI has to be one of the gateway.

        :raises NoResponse: (in the Deferred) there is no whole response.
        :raises BadRequest: (in the Deferred) there can be no such request.
        """
        return Deferred.fromCoroutine(self._request(method, uri, headers, bodyProducer))

    def close(self) -> Deferred[None]:
        """Close the idle connections, and keep none from now on."""
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        self._closing.update(self._idle)
        self._idle.clear()
        for connection in list(self._closing):
            connection.close()
        if not self._closing:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._when_closed.append(closed)
        return closed

    def rests(self, connection: Connection) -> None:
        """See :class:`~natsconnector.gateway.connection.Pool`."""
        if self._closed or len(self._idle) >= self._max_connections:
            connection.close()
            return
        self._idle[connection] = self._reactor.seconds()
        if self._sweep_timer is None:
            self._sweep_timer = self._reactor.callLater(IDLE_CONNECTION_S, self._sweep)

    def lost(self, connection: Connection) -> None:
        """See :class:`~natsconnector.gateway.connection.Pool`."""
        self._idle.pop(connection, None)
        if connection in self._closing:
            self._closing.remove(connection)
            if not self._closing:
                waiting, self._when_closed = self._when_closed, []
                for each in waiting:
                    each.callback(None)

    def _connect(self, exchange: Exchange) -> None:
        try:
            connecting: Deferred[Any] = self._endpoint.connect(self._factory)
        except Exception:  # whatever a library raises, nothing was sent
            connecting = fail(Failure())
        exchange.connecting = connecting
        connecting.addCallbacks(exchange.connected, exchange.not_connected)

    def _sweep(self) -> None:
        """Close what has rested too long."""
        self._sweep_timer = None
        now = self._reactor.seconds()
        for connection, since_s in list(self._idle.items()):
            if now - since_s < IDLE_CONNECTION_S:
                self._sweep_timer = self._reactor.callLater(since_s + IDLE_CONNECTION_S - now, self._sweep)
                return
            del self._idle[connection]
            connection.close()

    async def _request(
        self, method: bytes, uri: bytes, headers: Headers | None, producer: IBodyProducer | None
    ) -> IResponse:
        target = self._target(uri)
        body = None if producer is None else await _produced(producer)
        if body is None and method in (b"POST", b"PUT"):
            body = b""  # RFC 9110, 8.6: a length is expected
        lines = [(name, value) for name, values in (headers or Headers()).getAllRawHeaders() for value in values]
        request = encode_request(method, target, self._origin.host_header.encode(), lines, body)
        response = await self.exchange(request, self._timeout_s, head_only=method == b"HEAD")
        return WholeResponse(response)

    def _target(self, uri: bytes) -> bytes:
        parsed = URI.fromBytes(uri)
        host = parsed.host.decode("latin-1").lower().strip("[]")
        scheme = b"https" if self._origin.tls else b"http"
        if (parsed.scheme.lower(), host, parsed.port) != (scheme, self._origin.host, self._origin.port):
            raise BadRequest("the URL is not one of the gateway")
        target: bytes = parsed.originForm
        return target


class _ConnectionFactory(Factory):
    noisy = False

    def __init__(self, agent: GatewayAgent) -> None:
        self._agent = agent

    def buildProtocol(self, addr: Any) -> Connection:
        return Connection(self._agent)


@implementer(IConsumer)
class _Body:
    """Takes what a producer of a body has, all of which is in memory anyway."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, data: bytes) -> None:
        self.content += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Whoever produces is not held up."""

    def unregisterProducer(self) -> None:
        """See above."""


async def _produced(producer: IBodyProducer) -> bytes:
    body = _Body()
    try:
        await producer.startProducing(body)
    except BaseException:
        producer.stopProducing()
        raise
    return bytes(body.content)
