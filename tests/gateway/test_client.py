"""Tests of the gateway client, against real sockets."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from natsconnector.calls import FunctionCall
from natsconnector.gateway import GatewayClient
from natsconnector.interfaces import IGateway
from natsconnector.outcome import Outcome

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nX-Start-Time: 1\r\n\r\nhi"


class RawServer(Factory):
    """Answers requests with whatever bytes a test wants, and remembers them and the connections."""

    noisy = False

    def __init__(self, respond: Callable[[RawConnection], None]) -> None:
        self.respond = respond
        self.requests: list[bytes] = []
        self.connections: list[RawConnection] = []
        self.when_lost: Deferred[None] = Deferred()

    def buildProtocol(self, addr: Any) -> Protocol:
        connection = RawConnection(self)
        self.connections.append(connection)
        return connection


class RawConnection(Protocol):
    """One connection of a :class:`RawServer`; takes requests of known length."""

    def __init__(self, server: RawServer) -> None:
        self.server = server
        self.buffer = b""

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        length = [
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        ]
        if end and len(body) >= length[0]:
            self.server.requests.append(self.buffer)
            self.buffer = b""
            self.server.respond(self)

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def lose(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.server.when_lost.called:
            self.server.when_lost.callback(None)


class GatewayClientTests(TestCase):
    """Calls and their outcomes."""

    def client(self, respond: Callable[[RawConnection], None], **more: Any) -> GatewayClient:
        self.server = RawServer(respond)
        port: IListeningPort = cast(Any, reactor).listenTCP(0, self.server, interface="127.0.0.1")
        self.addCleanup(self.close_port, port)
        self.url = f"http://127.0.0.1:{cast(Any, port.getHost()).port}"
        client = self.client_of(self.url, **more)
        self.addCleanup(client.close)
        return client

    def client_of(self, url: str, *, timeout_s: float = 10.0, max_response_bytes: int = 1000) -> GatewayClient:
        return GatewayClient(
            reactor, url, timeout_s=timeout_s, max_connections=10, max_response_bytes=max_response_bytes
        )

    async def close_port(self, port: IListeningPort) -> None:
        for connection in self.server.connections:
            connection.lose()
        await port.stopListening()  # type: ignore[misc]

    def respond_with(self, *chunks: bytes, close: bool = False) -> Callable[[RawConnection], None]:
        def respond(connection: RawConnection) -> None:
            for chunk in chunks:
                connection.write(chunk)
            if close:
                connection.lose()

        return respond

    def test_interface(self) -> None:
        """It is a gateway."""
        verifyObject(IGateway, self.client_of("http://127.0.0.1:1"))

    async def test_synchronous_call(self) -> None:
        """The request the gateway's contract asks for, and its answer."""
        client = self.client(self.respond_with(ANSWER))
        call = FunctionCall("figlet", b"Hello World", "text/plain", (("X-Tenant", "ü"),), call_id="id-1")
        outcome = await client.call(call)
        self.assertEqual((outcome.status, outcome.body, outcome.ok), (200, b"hi", True))
        self.assertIn(("Content-Type", "text/plain"), outcome.headers)
        head, _, body = self.server.requests[0].partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.assertEqual((lines[0], body), (b"POST /function/figlet HTTP/1.1", b"Hello World"))
        for line in (b"X-Call-Id: id-1", b"Content-Type: text/plain", b"X-Tenant: \xc3\xbc", b"Content-Length: 11"):
            self.assertIn(line, lines)
        self.assertRegex(head, rb"User-Agent: natsconnector/\d")
        self.assertNotIn(b"X-Callback-Url", head)

    async def test_asynchronous_call(self) -> None:
        """With a callback the asynchronous route is called."""
        client = self.client(self.respond_with(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"))
        outcome = await client.call(FunctionCall("f.ns", callback_url="http://h/cb?a=b", call_id="i"))
        self.assertEqual((outcome.status, outcome.ok), (202, True))
        head = self.server.requests[0]
        self.assertTrue(head.startswith(b"POST /async-function/f.ns HTTP/1.1\r\n"))
        self.assertIn(b"X-Callback-Url: http://h/cb?a=b\r\n", head)
        self.assertIn(b"Content-Length: 0\r\n", head)

    async def test_path_prefix(self) -> None:
        """A gateway behind a path prefix is called below it."""
        self.client(self.respond_with(ANSWER))
        behind = self.client_of(f"{self.url}/openfaas")
        await behind.call(FunctionCall("f", call_id="i"))
        await behind.close()
        self.assertTrue(self.server.requests[0].startswith(b"POST /openfaas/function/f "))

    async def test_connection_is_reused(self) -> None:
        """One call after the other takes one connection."""
        client = self.client(self.respond_with(ANSWER))
        for _ in range(5):
            await client.call(FunctionCall("f", call_id="i"))
        self.assertEqual(len(self.server.connections), 1)

    async def test_no_redirect_and_no_cookie(self) -> None:
        """A redirect is an answer like any other, and a cookie is forgotten."""
        client = self.client(
            self.respond_with(
                b"HTTP/1.1 302 Found\r\nLocation: /system/functions\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
            )
        )
        self.assertEqual((await client.call(FunctionCall("f", call_id="i"))).status, 302)
        await client.call(FunctionCall("f", call_id="i"))
        self.assertEqual(len(self.server.requests), 2)
        self.assertNotIn(b"cookie", self.server.requests[1].lower())

    async def test_statuses(self) -> None:
        """A function's failure keeps its status and body; what the queue will never take is final."""
        outcomes = []
        for head, body in [
            (b"500 Internal Server Error", b"boom"),
            (b"500 Internal Server Error", b"Error queuing request: request body too large for OpenFaaS CE"),
            (b"429 Too Many Requests\r\nRetry-After: 7", b""),
            (b"503 Service Unavailable\r\nRetry-After: Mon, 01 Jan 2001 00:00:00 GMT", b""),
            (b"503 Service Unavailable\r\nRetry-After: soon", b""),
        ]:
            answer = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
            outcomes.append(await self.client(self.respond_with(answer)).call(FunctionCall("f", call_id="i")))
        self.assertEqual([outcome.status for outcome in outcomes], [500, 500, 429, 503, 503])
        self.assertEqual([outcome.final for outcome in outcomes], [False, True, False, False, False])
        self.assertEqual([outcome.retry_after_s for outcome in outcomes], [None, None, 7, 0, None])

    async def test_gzip(self) -> None:
        """A compressed answer arrives unpacked; the limit counts unpacked bytes."""
        for size, status in ((900, 200), (2000, 413)):
            body = gzip.compress(b"x" * size)
            head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
            outcome = await self.client(self.respond_with(head + body)).call(FunctionCall("f", call_id="i"))
            self.assertEqual(outcome.status, status)
            self.assertEqual(len(outcome.body), size if status == 200 else 0)

    async def test_body_too_large(self) -> None:
        """An answer over the limit is cut off: final, and the connection is closed."""
        client = self.client(self.respond_with(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"x" * 1001))
        outcome = await client.call(FunctionCall("f", call_id="i"))
        self.assertEqual((outcome.status, outcome.final, outcome.not_executed), (413, True, False))
        self.assertIn("1000 bytes", outcome.failure or "")
        await self.server.when_lost

    async def test_body_without_length(self) -> None:
        """A body that ends with its connection is complete."""
        client = self.client(self.respond_with(b"HTTP/1.1 200 OK\r\n\r\nwhole", close=True))
        self.assertEqual((await client.call(FunctionCall("f", call_id="i"))).body, b"whole")

    async def test_unreachable(self) -> None:
        """No connection: surely not executed."""
        outcome = await self.client_of("http://127.0.0.1:1").call(FunctionCall("f", call_id="i"))
        self.assertEqual((outcome.status, outcome.not_executed), (502, True))
        self.assertIn("unreachable", outcome.failure or "")
        self.assertIn("refused", (outcome.failure or "").lower())

    async def test_broken_off(self) -> None:
        """Once the request was sent, a lost connection may have executed it: before, in and after the headers."""
        for chunks in ((), (b"HTTP/1.1 200 OK\r\nCont",), (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",)):
            client = self.client(self.respond_with(*chunks, close=True))
            outcome = await client.call(FunctionCall("f", call_id="i"))
            self.assertEqual((outcome.status, outcome.not_executed), (502, False), chunks)
            self.assertIn("may have been executed", outcome.failure or "")

    async def test_not_http(self) -> None:
        """Garbage instead of an answer is a broken call."""
        client = self.client(self.respond_with(b"garbage\r\n\r\n", close=True))
        outcome = await client.call(FunctionCall("f", call_id="i"))
        self.assertEqual((outcome.status, outcome.not_executed), (502, False))

    async def test_deadline(self) -> None:
        """The deadline holds for the headers and for a body that stalls; the connection is closed."""
        for chunks in ((), (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",)):
            client = self.client(self.respond_with(*chunks), timeout_s=0.2)
            outcome = await client.call(FunctionCall("f", call_id="i"))
            self.assertEqual((outcome.status, outcome.not_executed, outcome.final), (504, False, False))
            self.assertIn("0.2 s", outcome.failure or "")
            await self.server.when_lost

    async def test_cancelled(self) -> None:
        """A cancelled call ends in an outcome and closes its connection, while it waits for headers or body."""
        for chunks in ((), (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",)):
            arrived: Deferred[None] = Deferred()

            def respond(
                connection: RawConnection, chunks: tuple[bytes, ...] = chunks, arrived: Deferred[None] = arrived
            ) -> None:
                for chunk in chunks:
                    connection.write(chunk)
                cast(Any, reactor).callLater(0, arrived.callback, None)

            ended: Deferred[Outcome] = self.client(respond).call(FunctionCall("f", call_id="i"))
            await arrived
            ended.cancel()
            outcome = await ended
            self.assertEqual((outcome.status, outcome.final), (503, True))
            self.assertIn("may have been executed", outcome.failure or "")
            await self.server.when_lost
