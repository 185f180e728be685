"""The site, in memory and over sockets."""

from __future__ import annotations

from typing import Any, cast

from treq.client import HTTPClient
from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, capturedLogs, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import provider

from natsconnector.web.hosts import HostRule
from natsconnector.web.site import Bounds, QuietSite

reactor: Any = _reactor
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
BOUNDS = Bounds(connections=3, head_bytes=1000, header_lines=10, body_bytes=100, head_s=10.0, body_s=20.0, idle_s=30.0)


class Echo(Resource):
    """Answers with the body. ``/held`` is not answered until told to."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Request] = []
        self.next_held: DeferredQueue[Request] = DeferredQueue()
        self.calls = 0

    def render(self, request: Request) -> bytes | int:
        self.calls += 1
        if request.path == b"/held":
            self.held.append(request)
            self.next_held.put(request)
            return NOT_DONE_YET
        assert request.content is not None
        return request.content.read() or b"hello"


class Transport(StringTransport):
    """A transport that closes as a socket does: in order when all is written, or at once."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.producer: Any = None
        self.protocol: Any = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As a socket has it."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def resumeProducing(self) -> None:
        """Nothing once it is closing, as a socket."""
        if not self.disconnecting:
            super().resumeProducing()

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True


class SiteTests(SynchronousTestCase):
    """In memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.echo = Echo()
        self.site = QuietSite(self.echo, self.clock, bounds=BOUNDS, rule=HostRule("127.0.0.1"))
        self.site.doStart()
        self.addCleanup(self.site.doStop)

    def connect(self) -> tuple[Any, Transport]:
        """A client's channel and its transport."""
        channel = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1234))
        assert channel is not None
        transport = Transport()
        transport.protocol = channel
        channel.makeConnection(transport)
        return channel, transport

    def lose(self, channel: Any) -> None:
        """The connection is gone."""
        channel.connectionLost(Failure(ConnectionDone()))

    def head(self, answer: bytes) -> bytes:
        """The status of an answer."""
        return answer.split(b"\r\n", 1)[0]

    def test_forms(self) -> None:
        """A form in a body is not parsed; whoever answers has the body and its type."""
        channel, _ = self.connect()
        head = b"POST /held?q=1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        channel.dataReceived(head + b"Content-Length: 3\r\n\r\na=b")
        [request] = self.echo.held
        assert request.content is not None
        self.assertEqual((request.args, request.content.read()), ({b"q": [b"1"]}, b"a=b"))
        self.assertEqual(request.getHeader("content-type"), "application/x-www-form-urlencoded")

    def test_answers(self) -> None:
        """One request after the other on one connection; a clock that ran without them would stay behind."""
        channel, transport = self.connect()
        for _ in range(3):
            channel.dataReceived(GET)
            self.assertEqual(self.head(transport.value()), b"HTTP/1.1 200 OK")
            self.assertTrue(transport.value().endswith(b"\r\n\r\nhello"))
            transport.clear()
        self.assertFalse(transport.disconnecting)
        self.lose(channel)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_quiet(self) -> None:
        """Neither requests nor time-outs write lines to the log."""
        with capturedLogs() as events:
            channel, _ = self.connect()
            channel.dataReceived(GET)
            self.clock.advance(30)
            self.lose(channel)
            self.clock.advance(100)
        self.assertEqual(events, [])

    def test_foreign(self) -> None:
        """What the rule refuses gets 403 with the reason, and no resource."""
        for line in (b"Host: evil.example", b"Host: localhost\r\nOrigin: http://evil.example"):
            channel, transport = self.connect()
            channel.dataReceived(b"GET / HTTP/1.1\r\n" + line + b"\r\n\r\n")
            self.assertEqual(self.head(transport.value()), b"HTTP/1.1 403 Forbidden")
            self.assertIn(b"evil.example' is not", transport.value())
            self.lose(channel)
        self.assertEqual(self.echo.calls, 0)

    def test_no_server(self) -> None:
        """No answer of the site's own says what it is made of."""
        for request, status in (
            (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"403"),
            (b"OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"403"),
            (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", b"200"),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, b"413"),
            (b"NO REQUEST\r\n\r\n", b"400"),
        ):
            channel, transport = self.connect()
            channel.dataReceived(request)
            self.assertIn(status, self.head(transport.value()))
            self.assertNotIn(b"server:", transport.value().lower())
            self.lose(channel)

    def test_no_rule(self) -> None:
        """Without a rule any host is answered."""
        self.site = QuietSite(self.echo, self.clock, bounds=BOUNDS)
        channel, transport = self.connect()
        channel.dataReceived(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        self.assertEqual(self.head(transport.value()), b"HTTP/1.1 200 OK")

    def test_head_bytes(self) -> None:
        """A head beyond the bound is refused while it comes, as one line and as many."""
        for lines in ([b"X: " + b"x" * 1000], [b"X: " + b"x" * 200] * 6, [b"X" * 200 for _ in range(20)]):
            channel, transport = self.connect()
            channel.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n".join(lines))
            self.assertTrue(transport.disconnecting)
            self.assertNotIn(b"200", self.head(transport.value()))
            self.lose(channel)
        channel, transport = self.connect()
        channel.dataReceived(b"x" * 1100)
        self.assertTrue(transport.disconnecting)
        self.assertEqual(self.echo.calls, 0)

    def test_header_lines(self) -> None:
        """So is one with too many lines."""
        for number, status in ((9, b"200 OK"), (10, b"400 Bad Request")):
            channel, transport = self.connect()
            lines = b"".join(b"X: y\r\n" for _ in range(number))
            channel.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n")
            self.assertEqual(self.head(transport.value()), b"HTTP/1.1 " + status)

    def test_body(self) -> None:
        """A body beyond the bound is a 413, and no more of it is kept than one byte; with a length and in chunks."""
        too_large = b"413 Request Entity Too Large"
        for size, status in ((100, b"200 OK"), (101, too_large), (100_000, too_large)):
            whole = b"Content-Length: %d\r\n\r\n%s" % (size, b"x" * size)
            pieces = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (b"x" * (size - 1), b"x"))
            for rest in (whole, b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"):
                channel, transport = self.connect()
                channel.dataReceived(b"POST / HTTP/1.1\r\nHost: localhost\r\n")
                for start in range(0, len(rest), 60):
                    channel.dataReceived(rest[start : start + 60])
                    for request in channel.requests:
                        if request.content is not None:
                            self.assertLessEqual(request.content.tell(), 101)
                self.assertTrue(self.head(transport.value()).startswith(b"HTTP/1.1 " + status), transport.value())
                self.lose(channel)

    def test_head_deadline(self) -> None:
        """A head that does not get complete is given up, however often a byte of it comes."""
        for before, pause_s in ((b"", 0), (GET, 20)):
            channel, transport = self.connect()
            channel.dataReceived(before)
            self.clock.advance(pause_s)
            for byte in range(10):
                self.assertFalse(transport.aborted)
                channel.dataReceived(GET[byte : byte + 1])
                self.clock.advance(1)
            self.assertTrue(transport.aborted)
            self.lose(channel)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silent(self) -> None:
        """So is a client that never says anything."""
        channel, transport = self.connect()
        self.clock.advance(10)
        self.assertTrue(transport.aborted)
        self.lose(channel)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_body_deadline(self) -> None:
        """So is a body."""
        channel, transport = self.connect()
        channel.dataReceived(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n")
        for _ in range(20):
            self.assertFalse(transport.aborted)
            channel.dataReceived(b"x")
            self.clock.advance(1)
        self.assertTrue(transport.aborted)

    def test_answer_takes_time(self) -> None:
        """No time-out runs while a request is answered."""
        channel, transport = self.connect()
        channel.dataReceived(GET.replace(b"/ ", b"/held "))
        self.clock.advance(1000)
        self.assertFalse(transport.disconnecting)
        self.echo.held[0].finish()
        self.assertEqual(self.head(transport.value()), b"HTTP/1.1 200 OK")
        self.clock.advance(29)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(transport.disconnecting)

    def test_idle(self) -> None:
        """A connection without requests is closed in order, and by force if the client does not take its answer."""
        channel, transport = self.connect()
        channel.dataReceived(GET)
        self.clock.advance(30)
        self.assertEqual((transport.disconnecting, transport.aborted), (True, False))
        transport.disconnecting = False  # as one that still reads would have it
        channel.dataReceived(GET)
        self.assertEqual(self.echo.calls, 1)
        self.clock.advance(1)
        self.assertTrue(transport.aborted)

    def test_unread_answer(self) -> None:
        """So is one that would be closed after its answer, if the answer is not taken."""
        channel, transport = self.connect()
        channel.dataReceived(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        self.assertEqual((transport.disconnecting, transport.aborted), (True, False))
        self.clock.advance(30)
        self.clock.advance(1)
        self.assertTrue(transport.aborted)
        self.lose(channel)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_pipelined_pieces(self) -> None:
        """What comes before an answer is there is not kept: the connection is closed behind that answer."""
        held = GET.replace(b"/ ", b"/held ")
        post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab"
        for pieces in ([held, GET], [held + GET], [GET + GET], [post + GET], [post[:-1], b"b" + GET]):
            self.echo.held.clear()
            channel, transport = self.connect()
            for piece in pieces:
                channel.dataReceived(piece)
            for _ in range(1000):
                channel.dataReceived(GET)
            self.assertEqual((channel._buffer, channel._dataBuffer), (b"", []))
            if self.echo.held:
                self.assertEqual((transport.value(), transport.disconnecting), (b"", False))
                self.echo.held[0].finish()
            self.assertEqual(transport.value().count(b"HTTP/1.1"), 1)
            self.assertIn(b"Connection: close", transport.value())
            self.assertTrue(transport.disconnecting)
            self.lose(channel)

    def test_no_body(self) -> None:
        """Where no body is taken a request with one is answered by its head, and nothing of the body is looked at."""
        self.site.bounds = Bounds(body_bytes=0)
        for head in (b"Content-Length: 999999999", b"Transfer-Encoding: chunked", b"Content-Length: 1"):
            for rest in (b"", b"1\r\nx\r\n" * 10, GET):
                channel, transport = self.connect()
                channel.dataReceived(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n" + rest)
                channel.dataReceived(GET)
                self.assertEqual(transport.value().count(b"HTTP/1.1"), 1)
                self.assertTrue(transport.value().endswith(b"hello"))
                self.assertTrue(transport.disconnecting)
                self.lose(channel)
        channel, transport = self.connect()
        channel.dataReceived(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        self.assertFalse(transport.disconnecting)

    def test_chunks(self) -> None:
        """A body has only so many chunks, however small they are."""
        channel, transport = self.connect()
        channel.dataReceived(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(64):
            channel.dataReceived(b"1\r\nx\r\n" * 1024)
        self.assertFalse(transport.aborted)
        channel.dataReceived(b"1\r\nx\r\n")
        self.assertTrue(transport.aborted)

    def test_connections(self) -> None:
        """Beyond the bound the one that has waited longest is closed, never one that is being answered."""
        held, first, second = (self.connect() for _ in range(3))
        held[0].dataReceived(GET.replace(b"/ ", b"/held "))
        first[0].dataReceived(GET)
        third = self.connect()
        self.assertEqual([each[1].aborted for each in (held, first, second, third)], [False, False, True, False])
        for each in (first, third):
            each[0].dataReceived(GET.replace(b"/ ", b"/held "))
        self.assertIsNone(self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)))
        self.lose(second[0])
        self.assertEqual(self.site.connections, 3)
        self.lose(held[0])
        self.connect()

    def test_close(self) -> None:
        """Each is closed in order, at the end of the grace by force; it fires when all are gone, whoever asked."""
        (one, one_transport), (two, two_transport) = self.connect(), self.connect()
        closed = [self.site.close(5), self.site.close(5)]
        self.assertTrue(one_transport.disconnecting and two_transport.disconnecting)
        self.assertIsNone(self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)))
        self.lose(one)
        self.clock.advance(4.9)
        self.assertFalse(two_transport.aborted)
        self.clock.advance(0.1)
        self.assertTrue(two_transport.aborted)
        for each in closed:
            self.assertNoResult(each)
        self.lose(two)
        for each in closed:
            self.successResultOf(each)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_without_connections(self) -> None:
        """There is nothing to wait for; what listens again takes connections again."""
        self.successResultOf(self.site.close())
        self.successResultOf(self.site.close())
        self.site.doStop()
        self.site.doStart()
        self.connect()

    def test_one_protocol(self) -> None:
        """HTTP/2, which has other bounds, is not offered."""
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])


class Client(Protocol):
    """Keeps what it reads until the server closes."""

    def __init__(self) -> None:
        self.read = b""
        self.closed: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.read += data

    def connectionLost(self, reason: Any = None) -> None:
        self.closed.callback(self.read)


class SocketTests(TestCase):
    """Over real sockets."""

    timeout = 30

    async def listen(self, bounds: Bounds) -> None:
        self.echo = Echo()
        self.site = QuietSite(self.echo, reactor, bounds=bounds, rule=HostRule("127.0.0.1"))
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self.site)
        self.addCleanup(self.site.close)
        self.addCleanup(port.stopListening)
        self.port = cast(Any, port.getHost()).port

    async def connect(self) -> Client:
        return cast(Client, await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.port), Client()))

    async def test_answer(self) -> None:
        """An HTTP client is answered, and nothing is logged."""
        await self.listen(Bounds())
        lines: list[LogEvent] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            lines.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        url = f"http://127.0.0.1:{self.port}/"
        response = await HTTPClient(Agent(reactor)).post(url, data=b"x" * 100_000, reactor=reactor)
        self.assertEqual(await response.content(), b"x" * 100_000)
        self.assertEqual([each for each in lines if "HTTPChannel" in str(each) or "Site" in str(each)], [])

    async def test_time_out(self) -> None:
        """A client that says nothing is sent away."""
        await self.listen(Bounds(head_s=0.01))
        client = await self.connect()
        self.assertEqual(await client.closed, b"")

    async def test_connections(self) -> None:
        """With one connection at most the second client takes the place of the first, which waits."""
        await self.listen(Bounds(connections=1))
        first, second = await self.connect(), await self.connect()
        await first.closed
        assert second.transport is not None
        second.transport.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.assertTrue((await second.closed).endswith(b"hello"))

    async def test_close_with_unread_answer(self) -> None:
        """A client that does not read does not hold up the end."""
        await self.listen(Bounds(body_bytes=20_000_000))
        client = await self.connect()
        assert client.transport is not None
        cast(Any, client.transport).pauseProducing()
        client.transport.write(GET.replace(b"/ ", b"/held "))
        request = await self.echo.next_held.get()
        request.write(b"x" * 20_000_000)
        request.finish()
        await self.site.close(0.01)
        self.assertEqual(self.site.connections, 0)
        cast(Any, client.transport).abortConnection()
        await client.closed
