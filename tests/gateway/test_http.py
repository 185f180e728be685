"""Tests of treq's face: the same over our client, over treq on our agent, and over treq on Twisted's."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any, cast

from hyperlink import DecodedURL
from treq.client import HTTPClient
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface.verify import verifyObject

from natsconnector.gateway import errors
from natsconnector.gateway.http import GatewayHttp
from natsconnector.gateway.request import BadRequest
from tests.gateway.servers import RawConnection, RawServerCase, answer

reactor: Any = _reactor

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Collector(Protocol):
    """Takes a body."""

    def __init__(self) -> None:
        self.body = b""
        self.when_done: Deferred[list[Failure]] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.body += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # Not the failure itself, which would make the Deferred fail.
        self.when_done.callback([reason])


class FaceCase(RawServerCase):
    """A client of a raw server."""

    url = ""

    def client_of(self, url: str) -> HTTPClient:
        raise NotImplementedError

    def start(self, respond: Callable[[RawConnection], None] | bytes, *, close: bool = False) -> HTTPClient:
        def write(connection: RawConnection) -> None:
            assert isinstance(respond, bytes)
            connection.write(respond)
            if close:
                connection.lose()

        self.server = self.serve(write if isinstance(respond, bytes) else respond)
        self.url = f"http://127.0.0.1:{self.server.port}"
        return self.client_of(self.url)

    def request(self, client: HTTPClient, method: str = "GET", path: str = "/", **more: Any) -> Deferred[Any]:
        return client.request(method, self.url + path, allow_redirects=False, reactor=reactor, **more)

    async def whole(self, client: HTTPClient, method: str = "GET", path: str = "/", **more: Any) -> tuple[Any, bytes]:
        """A response and its body; fails when either does."""
        response = await self.request(client, method, path, **more)
        return response, await response.content()

    async def fails(self, client: HTTPClient, **more: Any) -> Exception:
        try:
            _, body = await self.whole(client, **more)
        except Exception as e:
            return e
        raise self.failureException(f"it did not fail: {body!r}")


class FaceTests:
    """What is the same, whoever does it; a base of the tests below."""

    unpacks = keeps_cookies = lax = True

    async def test_requests(self: Any) -> None:
        """Line, headers and length of each method."""
        client = self.start(answer(b"hi"))
        for method, data, length in (
            ("GET", None, None),
            ("POST", b"body", b"4"),
            ("POST", None, b"0"),
            ("post", b"", b"0"),
            ("PUT", None, b"0"),
            ("DELETE", None, None),
            ("PATCH", b"body", b"4"),
        ):
            _, body = await self.whole(client, method, "/a%20b?c=d&e", data=data)
            head, _, sent = self.server.requests[-1].partition(b"\r\n\r\n")
            line, *headers = head.split(b"\r\n")
            self.assertEqual(line, f"{method.upper()} /a%20b?c=d&e HTTP/1.1".encode())
            self.assertEqual((sent, body), (data or b"", b"hi"))
            lengths = [header.split(b": ")[1] for header in headers if header.lower().startswith(b"content-length")]
            self.assertEqual(lengths, [] if length is None else [length])
            self.assertIn(f"Host: 127.0.0.1:{self.server.port}".encode(), headers)
        self.assertEqual(len(self.server.connections), 1)

    async def test_headers(self: Any) -> None:
        """Headers of each form that treq takes."""
        client = self.start(answer())
        for headers in ({"X-A": "1", b"X-B": [b"2", "3"]}, Headers({"X-A": ["1"], "X-B": ["2", "3"]})):
            await self.whole(client, headers=headers)
            for line in (b"X-A: 1\r\n", b"X-B: 2\r\n", b"X-B: 3\r\n"):
                self.assertIn(line, self.server.requests[-1])

    async def test_urls(self: Any) -> None:
        """URLs of each form that treq takes."""
        client = self.start(answer(b"hi"))
        url = f"{self.url}/a?b=c"
        for each in (url, url.encode(), DecodedURL.from_text(url), DecodedURL.from_text(url).encoded_url):
            response = await client.request("GET", each, reactor=reactor)
            self.assertEqual(await response.content(), b"hi")
            self.assertTrue(self.server.requests[-1].startswith(b"GET /a?b=c HTTP/1.1\r\n"))

    async def test_response(self: Any) -> None:
        """What a response tells, in each way of treq, more than once."""
        client = self.start(answer(b'{"a": "\xc3\xbc"}', b"418 I'm a teapot", b"X-A: 1", b"X-A:  2 "))
        response, body = await self.whole(client)
        verifyObject(IResponse, response)
        self.assertEqual((response.code, response.phrase, response.version), (418, b"I'm a teapot", (b"HTTP", 1, 1)))
        self.assertEqual(response.headers.getRawHeaders("x-a"), ["1", "2"])
        self.assertEqual((response.length, body), (11, b'{"a": "\xc3\xbc"}'))
        self.assertEqual(await response.content(), body)
        self.assertEqual(await response.json(), {"a": "ü"})
        self.assertEqual(await response.text("utf-8"), '{"a": "ü"}')
        self.assertEqual((response.history(), response.previousResponse), ([], None))

    async def test_deliver_body(self: Any) -> None:
        """A protocol takes the body, and hears that it was whole."""
        for response in (answer(b"hi"), CHUNKED + b"1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"):
            collector = Collector()
            (await self.request(self.start(response), unbuffered=True)).deliverBody(collector)
            [reason] = await collector.when_done
            self.assertEqual((collector.body, reason.type), (b"hi", ResponseDone))

    async def test_framing(self: Any) -> None:
        """Where a body ends, and whether there is one."""
        for data, close, body in (
            (CHUNKED + b"1;x=y\r\nh\r\n1\r\ni\r\n0\r\nX-Trailer: 1\r\n\r\n", False, b"hi"),
            (OK + b"\r\nhi", True, b"hi"),
            (b"HTTP/1.0 200 OK\r\n\r\nhi", True, b"hi"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", False, b""),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", False, b""),
            (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"hi"), False, b"hi"),
            (OK + b"Content-Length: 2\r\n\r\nhi" + OK, False, b"hi"),
        ):
            self.assertEqual((await self.whole(self.start(data, close=close)))[1], body, data)
        for data in (OK + b"Content-Length: 2\r\n\r\n", CHUNKED):
            self.assertEqual((await self.whole(self.start(data), "HEAD"))[1], b"", data)

    async def test_rare(self: Any) -> None:
        """What treq works out for itself."""
        client = self.start(answer(b"hi"))
        await self.whole(client, "POST", json={"a": 1}, params={"b": "c"}, auth=("user", "word"))
        request = self.server.requests[-1]
        self.assertTrue(request.startswith(b"POST /?b=c HTTP/1.1\r\n"))
        self.assertIn(b"Authorization: Basic dXNlcjp3b3Jk\r\n", request)
        self.assertEqual(request.partition(b"\r\n\r\n")[2].replace(b" ", b""), b'{"a":1}')
        await self.whole(client, "POST", data={"a": "b"})
        self.assertTrue(self.server.requests[-1].endswith(b"\r\n\r\na=b"))

    async def test_no_redirect(self: Any) -> None:
        """A redirect is a response like any other."""
        client = self.start(answer(b"", b"302 Found", b"Location: /elsewhere"))
        self.assertEqual((await self.whole(client))[0].code, 302)
        self.assertEqual(len(self.server.requests), 1)

    async def test_cookies(self: Any) -> None:
        """Ours keep no cookie: what one function sets is not for the next."""
        client = self.start(answer(b"", b"200 OK", b"Set-Cookie: a=b"))
        for _ in range(2):
            await self.whole(client)
        self.assertEqual(b"a=b" in self.server.requests[1], self.keeps_cookies)

    async def test_content_coding(self: Any) -> None:
        """Ours asks for no coding and undoes none: who gets the body knows what it is from its header."""
        packed = gzip.compress(b"hi")
        response, body = await self.whole(self.start(answer(packed, b"200 OK", b"Content-Encoding: gzip")))
        self.assertEqual(body, b"hi" if self.unpacks else packed)
        self.assertEqual(response.headers.hasHeader("Content-Encoding"), not self.unpacks)

    async def test_unreachable(self: Any) -> None:
        """Nobody listens."""
        self.url = "http://127.0.0.1:1"
        await self.fails(self.client_of(self.url))

    async def test_broken_off(self: Any) -> None:
        """The connection ends before, within or behind the headers."""
        for part in (b"", OK, OK + b"Content-Length: 3\r\n\r\nhi", CHUNKED + b"2\r\nhi\r\n"):
            await self.fails(self.start(part, close=True))

    async def test_unreadable(self: Any) -> None:
        """What is no response fails, and ends its connection."""
        for data in (
            b"garbage\r\n\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            OK + b"no colon\r\n\r\n",
            OK + b"Content-Length: abc\r\n\r\n",
            OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
            CHUNKED + b"zz\r\nhi\r\n",
        ):
            await self.fails(self.start(data, close=self.lax))
            await self.server.when_lost

    async def test_lax(self: Any) -> None:
        """What breaks a rule but can be guessed is refused by ours: another reader might guess otherwise."""
        for data in (
            b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
            b"HTTP/1.1 999 Oh\r\nContent-Length: 2\r\n\r\nhi",
            OK + b"A: 1\r\n folded\r\nContent-Length: 2\r\n\r\nhi",
            OK + b"A: \0\r\nContent-Length: 2\r\n\r\nhi",
        ):
            client = self.start(data)
            if self.lax:
                self.assertEqual((await self.whole(client))[1], b"hi", data)
            else:
                self.assertIsInstance(await self.fails(client), errors.ResponseUnreadable)

    async def test_time_out(self: Any) -> None:
        """A server that is silent; the connection is closed."""
        await self.fails(self.start(b""), timeout=0.5)
        await self.server.when_lost

    async def test_cancelled(self: Any) -> None:
        """Whoever cancels closes the connection."""
        arrived: Deferred[None] = Deferred()
        asking = self.request(self.start(lambda connection: arrived.callback(None)))
        await arrived
        asking.cancel()
        await self.assertFailure(asking, Exception)
        await self.server.when_lost


class OursTests(FaceTests, FaceCase):
    """Our client, and what only it does."""

    unpacks = keeps_cookies = lax = False

    def client_of(self, url: str) -> GatewayHttp:
        client = GatewayHttp(reactor, url, timeout_s=20, max_connections=10, max_response_bytes=1000)
        self.addCleanup(client.close)
        return client

    async def test_failures(self) -> None:
        """They tell how far the request came; a cancellation is one."""
        self.url = "http://127.0.0.1:1"
        self.assertIsInstance(await self.fails(self.client_of(self.url)), errors.NotConnected)
        self.assertIsInstance(await self.fails(self.start(b"", close=True)), errors.BrokeOff)
        self.assertIsInstance(await self.fails(self.start(OK, close=True)), errors.ResponseCut)
        asking = self.request(self.start(b""))
        asking.cancel()
        await self.assertFailure(asking, CancelledError)

    async def test_bounds(self) -> None:
        """A body that is too large, or stalls, fails the request, and ends its connection."""
        self.assertIsInstance(await self.fails(self.start(answer(b"x" * 1001))), errors.ResponseTooLarge)
        await self.server.when_lost
        problem = await self.fails(self.start(answer(b"hi")[:-1]), timeout=0.5)
        self.assertIsInstance(problem, errors.TimedOut)
        await self.server.when_lost

    async def test_paths(self) -> None:
        """A path is one at the gateway, below its prefix; the gateway's own URL is its prefix."""
        self.start(answer())
        client = self.client_of(f"{self.url}/below")
        for url in ("/a", f"{self.url}/below/a", f"{self.url}/below", f"{self.url}/below?a#b"):
            await client.get(url)
        paths = [request.split(b" ")[1] for request in self.server.requests]
        self.assertEqual(paths, [b"/below/a", b"/below/a", b"/below", b"/below?a"])

    async def test_no_redirect_of_the_rare(self) -> None:
        """Nor is a redirect followed by what treq works out for itself."""
        client = self.start(answer(b"", b"302 Found", b"Location: /elsewhere"))
        self.assertEqual((await client.get("/", params={"a": "b"})).code, 302)
        self.assertEqual(len(self.server.requests), 1)

    async def test_foreign(self) -> None:
        """What is not of the gateway, or no request, goes nowhere."""
        client = self.start(answer())
        for url in ("http://127.0.0.1:1/", f"{self.url}1/", self.url.replace("http", "https"), f"{self.url}/a b"):
            try:
                await client.get(url)
            except BadRequest:
                continue
            self.fail(url)
        await self.assertFailure(client.get("/", headers=cast(Any, {"A b": "1"})), BadRequest)
        self.assertEqual(self.server.requests, [])


class OurAgentTests(FaceTests, FaceCase):
    """treq's own client on our agent."""

    lax = False

    def client_of(self, url: str) -> HTTPClient:
        client = GatewayHttp(reactor, url, timeout_s=20, max_connections=10, max_response_bytes=1000)
        self.addCleanup(client.close)
        return HTTPClient(client.agent)


class StockTests(FaceTests, FaceCase):
    """treq's own client on Twisted's agent."""

    def client_of(self, url: str) -> HTTPClient:
        pool: Any = HTTPConnectionPool(reactor)
        pool.retryAutomatically = False
        self.addCleanup(pool.closeCachedConnections)
        return HTTPClient(Agent(reactor, pool=pool))
