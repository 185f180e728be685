"""HTTP on both sides: responses to the gateway's client, over sockets, and requests to our own site, in memory."""

from __future__ import annotations

import math
import re
from random import Random
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from natsconnector.gateway import GatewayClient
from natsconnector.local.gateway import LocalGateway
from natsconnector.local.processes import Function
from natsconnector.model.call import FunctionCall
from natsconnector.model.outcome import Outcome
from natsconnector.web.hosts import HostRule
from natsconnector.web.site import Bounds, QuietSite
from tests.fuzz.mutate import mutated_bytes, pieces_of
from tests.fuzz.target import Plain, holds, no_failures_logged
from tests.web.test_site import Echo, Transport

reactor: Any = _reactor
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nX-Start-Time: 1\r\n\r\nhi"
RESPONSES = [
    OK,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;a=b\r\n!\r\n0\r\nTrailer: x\r\n\r\n",
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nX-Call-Id: 1\r\n\r\n",
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 503 X\r\nRetry-After: Wed, 25 Nov 2099 23:59:59 -0000\r\nConnection: close\r\n\r\nto the end",
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nold",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw",
    b"HTTP/1.1 500 X\r\nContent-Length: 44\r\n\r\nError queuing request: request body too large",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
    OK + OK,
]
RETRY_AFTERS = [
    b"0",
    b"3",
    b"-1",
    b"1e9",
    b"9" * 400,
    b"\xd9\xa1",
    b"Fri, 31 Dec 9999 23:59:59 GMT",
    b"Fri, 0 Foo 0 0:0:0",
]
REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: 127.0.0.1:80\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /held HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /?a=%zz&b HTTP/1.1\r\nHost: localhost\r\nCookie: a=b; c\r\nSec-Fetch-Site: none\r\n\r\n",
    b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n folded: line\r\n\r\n",
]


class _Upstream(Protocol):
    """Sends one response to each request, whatever that is."""

    factory: _UpstreamFactory

    def connectionMade(self) -> None:
        self._unread = b""

    def dataReceived(self, data: bytes) -> None:
        self._unread += data
        found = re.match(rb"POST /(?:async-)?function/f(\d+) .*?\r\n\r\n", self._unread, re.DOTALL)
        if found is None:
            return
        self._unread = b""
        pieces, closes = self.factory.responses.pop(int(found[1]), ([], True))
        self._send(pieces, closes)

    def _send(self, pieces: list[bytes], closes: bool) -> None:
        assert self.transport is not None
        for piece in pieces:
            self.transport.write(piece)
        if closes:
            self.transport.loseConnection()


class _UpstreamFactory(Factory):
    noisy = False
    protocol = _Upstream  # type: ignore[assignment]

    def __init__(self) -> None:
        self.responses: dict[int, tuple[list[bytes], bool]] = {}


class ResponseTarget:
    """Live on 127.0.0.1: whatever an upstream sends, a call ends in an Outcome by its time-out."""

    name = "responses"
    TIMEOUT_S = 0.25

    def __init__(self) -> None:
        self._number = 0

    def open(self) -> None:
        self._upstream = _UpstreamFactory()
        self._port = reactor.listenTCP(0, self._upstream, interface="127.0.0.1")
        self._client = GatewayClient(
            reactor,
            f"http://127.0.0.1:{self._port.getHost().port}",
            timeout_s=self.TIMEOUT_S,
            max_connections=10,
            max_response_bytes=1000,
        )

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        await maybeDeferred(self._client.close)
        await maybeDeferred(self._port.stopListening)

    def make(self, rng: Random) -> tuple[list[bytes], bool, bool]:
        response = rng.choice(RESPONSES)
        if rng.random() < 0.2:
            response = OK.replace(b"X-Start-Time: 1", b"Retry-After: " + mutated_bytes(rng, rng.choice(RETRY_AFTERS)))
        response = mutated_bytes(rng, response, RESPONSES)
        # Most are closed: the others take as long as the time-out.
        return pieces_of(rng, response), rng.random() < 0.85, rng.random() < 0.2

    def check(self, given: tuple[list[bytes], bool, bool]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._check(given))

    async def _check(self, given: tuple[list[bytes], bool, bool]) -> None:
        pieces, closes, queued = given
        self._number += 1
        self._upstream.responses[self._number] = (pieces, closes)
        outcome: object = await self._client.call(FunctionCall(f"f{self._number}", b"x", call_id="i", queued=queued))
        self._upstream.responses.pop(self._number, None)
        if not isinstance(outcome, Outcome):
            raise TypeError(f"it ended in {outcome!r}")
        holds(100 <= outcome.status <= 999, f"the status is {outcome.status}")
        holds(len(outcome.body) <= 1000, f"the body has {len(outcome.body)} bytes")
        wait_s = outcome.retry_after_s
        holds(wait_s is None or 0 <= wait_s < math.inf, f"it asks to wait {wait_s} s")
        for name, value in outcome.headers:
            holds(type(name) is type(value) is str, f"a header is {name!r}: {value!r}")
            holds(not re.search("[\r\n\0]", name + value), f"a header is {name!r}: {value!r}")


class RequestTarget(Plain):
    """Whatever a client sends to our site, it is answered, or closed in bounded time, what is kept is bounded."""

    name = "requests"
    BOUNDS = Bounds(head_bytes=1000, header_lines=20, body_bytes=50, head_s=10, body_s=10, idle_s=10)

    def make(self, rng: Random) -> list[bytes]:
        requests = [mutated_bytes(rng, rng.choice(REQUESTS), REQUESTS) for _ in range(rng.randint(1, 3))]
        return pieces_of(rng, b"".join(requests))

    def check(self, given: list[bytes]) -> None:
        with no_failures_logged():
            clock, echo = Clock(), Echo()
            local = LocalGateway(cast(Any, clock), {"f": Function("f", "cat")}).resource
            for resource in (echo, local):
                site = QuietSite(resource, clock, bounds=self.BOUNDS, rule=HostRule("127.0.0.1"))
                channel, transport = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)), Transport()
                transport.protocol = channel
                channel.makeConnection(transport)
                for piece in given:
                    if not transport.disconnecting:
                        channel.dataReceived(piece)
                for request in channel.requests:
                    holds(request.content is None or request.content.tell() <= 51, "a body beyond its bound is kept")
                for held in echo.held:
                    if not held._disconnected and not held.finished:
                        held.finish()
                # The client never takes what it is sent: in the end it is closed by force.
                for _ in range(40):
                    clock.advance(1)
                holds(transport.aborted, "the connection stays open")
                sent = transport.value()
                holds(not sent or sent.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), f"sent: {sent[:100]!r}")
                channel.connectionLost(Failure(ConnectionDone()))
                holds(site.connections == 0, "a connection is not forgotten")
                echo = Echo()
            holds(not clock.getDelayedCalls(), f"a clock still runs: {clock.getDelayedCalls()}")
