"""Tests of the gateway client, against real sockets."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from natsconnector.gateway import BasicAuth, GatewayClient
from natsconnector.model.call import FunctionCall
from natsconnector.model.headers import returned
from natsconnector.model.route import Route
from natsconnector.model.seams import IGateway
from tests.gateway.servers import RawConnection, RawServerCase, answer

reactor: Any = _reactor

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nX-Start-Time: 1\r\n\r\nhi"


class ClientCase(RawServerCase):
    """A client of a raw server."""

    def client(self, respond: Callable[[RawConnection], None], **more: Any) -> GatewayClient:
        self.server = self.serve(respond)
        self.url = f"http://127.0.0.1:{self.server.port}"
        client = self.client_of(self.url, **more)
        self.addCleanup(client.close)
        return client

    def client_of(
        self, url: str, *, timeout_s: float = 10.0, max_response_bytes: int = 1000, **more: Any
    ) -> GatewayClient:
        return GatewayClient(
            reactor, url, timeout_s=timeout_s, max_connections=10, max_response_bytes=max_response_bytes, **more
        )

    def respond_with(self, *chunks: bytes, close: bool = False) -> Callable[[RawConnection], None]:
        def respond(connection: RawConnection) -> None:
            for chunk in chunks:
                connection.write(chunk)
            if close:
                connection.lose()

        return respond


class GatewayClientTests(ClientCase):
    """Calls and their outcomes."""

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

    async def test_route(self) -> None:
        """Method and path of a call; no length is told of a body that cannot be."""
        client = self.client(self.respond_with(ANSWER))
        for call, line, length in [
            (FunctionCall("f", b"x", route=Route("PUT", "/a/b?c=d")), b"PUT /function/f/a/b?c=d", b"1"),
            (FunctionCall("f", route=Route("PATCH", "?c")), b"PATCH /function/f?c", b"0"),
            (FunctionCall("f", route=Route("OPTIONS")), b"OPTIONS /function/f", b"0"),
            (FunctionCall("f", route=Route("GET", "/")), b"GET /function/f/", None),
            (FunctionCall("f", route=Route("DELETE")), b"DELETE /function/f", None),
            (FunctionCall("f", queued=True, route=Route("POST", "/a")), b"POST /async-function/f/a", b"0"),
        ]:
            self.assertEqual((await client.call(call)).status, 200)
            head = self.server.requests[-1].partition(b"\r\n\r\n")[0].split(b"\r\n")
            self.assertEqual(head[0], line + b" HTTP/1.1")
            lengths = [each.partition(b": ")[2] for each in head if each.startswith(b"Content-Length")]
            self.assertEqual(lengths, [] if length is None else [length])

    async def test_head(self) -> None:
        """The answer to a HEAD has a length, and no body that would be waited for."""
        client = self.client(self.respond_with(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"))
        for _ in range(2):
            outcome = await client.call(FunctionCall("f", route=Route("HEAD", "/a")))
            self.assertEqual((outcome.status, outcome.body), (200, b""))
        self.assertTrue(self.server.requests[1].startswith(b"HEAD /function/f/a HTTP/1.1\r\n"))

    async def test_bad_route(self) -> None:
        """Whoever made the call: nothing leads out of the function, and nothing is sent."""
        client = self.client(self.respond_with(ANSWER))
        for route in (Route("POST", "/../x"), Route("POST", "x"), Route("GET /", ""), Route("get"), Route("CONNECT")):
            outcome = await client.call(FunctionCall("f", route=route))
            self.assertEqual((outcome.status, outcome.final, outcome.not_executed), (400, True, True))
        self.assertEqual(self.server.requests, [])

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
        call = FunctionCall("f", call_id="i", queued=True)
        for head, body in [
            (b"500 Internal Server Error", b"boom"),
            (b"500 Internal Server Error", b"Error queuing request: request body too large for OpenFaaS CE"),
            (b"429 Too Many Requests\r\nRetry-After: 7", b""),
            (b"503 Service Unavailable\r\nRetry-After: Mon, 01 Jan 2001 00:00:00 GMT", b""),
            (b"503 Service Unavailable\r\nRetry-After: soon", b""),
        ]:
            answer = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
            outcomes.append(await self.client(self.respond_with(answer)).call(call))
        self.assertEqual([outcome.status for outcome in outcomes], [500, 500, 429, 503, 503])
        self.assertEqual([outcome.final for outcome in outcomes], [False, True, False, False, False])
        self.assertEqual([outcome.retry_after_s for outcome in outcomes], [None, None, 7, 0, None])

    async def test_content_coding(self) -> None:
        """No coding is asked for unless the call does; what comes passes untouched, with the header that names it."""
        for coding in ("gzip", "GZIP", "deflate", "br"):
            head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 6\r\n\r\n"
            client = self.client(self.respond_with(head.encode() + b"packed"))
            call = FunctionCall("f", call_id="i")
            outcome = await client.call(call)
            self.assertEqual((outcome.status, outcome.body), (200, b"packed"))
            self.assertIn(("Content-Encoding", coding), returned(outcome.headers))
            await client.call(replace(call, headers=(("accept-encoding", coding),)))
            asked = [re.findall(rb"(?i)accept-encoding: (.*)\r", request) for request in self.server.requests]
            self.assertEqual(asked, [[b"identity"], [coding.encode()]])

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
        """Once the request was sent, a lost connection may have executed it, also after a first response (1xx)."""
        for chunks in ((), (b"HTTP/1.1 100 Continue\r\n\r\n",)):
            client = self.client(self.respond_with(*chunks, close=True))
            outcome = await client.call(FunctionCall("f", call_id="i"))
            self.assertEqual((outcome.status, outcome.not_executed, outcome.final), (502, False, False), chunks)
            self.assertEqual(
                outcome.failure,
                "the connection broke before f had answered (the connection was closed); it may have been executed",
            )

    async def test_unreadable(self) -> None:
        """A response that has begun is an execution: cut or beyond reading, it is final, and its connection closed."""
        for response, reason in (
            (b"HTTP/1.1 200 OK\r\nCont", "the connection was closed"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "the connection was closed"),
            (b"garbage\r\n\r\n", "it is not HTTP/1.1"),
            (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "a header line has no valid name"),
            (b"HTTP/1.1 999 Oh\r\n\r\n", "its status is 999"),
            (b"HTTP/1.1 200 OK\r\n" + b"A: 1\r\n" * 513 + b"\r\n", "it has more than 512 header lines"),
            (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 1_100_000, "its head is larger than 1048576 bytes"),
            (b"HTTP/1.1 100 Continue\r\n\r\n" * 11, "more than 10 responses 1xx came before it"),
        ):
            client = self.client(self.respond_with(response, close=reason == "the connection was closed"))
            outcome = await client.call(FunctionCall("f", call_id="i"))
            self.assertEqual((outcome.status, outcome.not_executed, outcome.final), (502, False, True), outcome)
            said = f"the answer of f cannot be read ({reason}); it has been executed, or may have been"
            self.assertEqual(outcome.failure, said)
            await self.server.when_lost


class CallCredentialsTests(ClientCase):
    """BasicAuth on calls, for gateways that ask for them there, too."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.write("s3cret")

    def write(self, password: str) -> None:
        (self.folder / "basic-auth-user").write_text("admin")
        (self.folder / "basic-auth-password").write_text(password)

    def authorizations(self) -> list[str]:
        """Of the requests so far."""
        return [
            line.split(b": ")[1].decode()
            for request in self.server.requests
            for line in request.split(b"\r\n")
            if line.lower().startswith(b"authorization")
        ]

    async def test_off(self) -> None:
        """Unless it is told to, no call carries credentials: the gateway would hand them to the function."""
        await self.client(self.respond_with(ANSWER)).call(FunctionCall("f", call_id="i"))
        self.assertEqual(self.authorizations(), [])

    async def test_sent(self) -> None:
        """Calls of both kinds carry them, except for one that has its own."""
        client = self.client(self.respond_with(ANSWER), credentials=BasicAuth(str(self.folder)))
        call = FunctionCall("f", call_id="i")
        await client.call(call)
        await client.call(replace(call, queued=True))
        await client.call(replace(call, headers=(("authorization", "Bearer own"),)))
        self.assertEqual(self.authorizations(), ["Basic YWRtaW46czNjcmV0"] * 2 + ["Bearer own"])

    async def test_refused(self) -> None:
        """After a 401, which is an answer like any other, the files are read again, and only then."""
        client = self.client(
            self.respond_with(answer(b"no", b"401 Unauthorized")), credentials=BasicAuth(str(self.folder))
        )
        call = FunctionCall("f", call_id="i")
        self.assertEqual((await client.call(call)).status, 401)
        self.write("changed")
        await client.call(call)
        self.server.respond = self.respond_with(ANSWER)
        await client.call(call)
        self.write("again")
        await client.call(call)
        self.assertEqual(
            self.authorizations(),
            [
                "Basic YWRtaW46czNjcmV0",
                "Basic YWRtaW46Y2hhbmdlZA==",
                "Basic YWRtaW46Y2hhbmdlZA==",
                "Basic YWRtaW46Y2hhbmdlZA==",
            ],
        )

    async def test_missing(self) -> None:
        """Without its files nothing is sent; the outcome says so, and the log, once, which is missing."""
        os.remove(self.folder / "basic-auth-password")
        client = self.client(self.respond_with(ANSWER), credentials=BasicAuth(str(self.folder)))
        with capturedLogs() as logs:
            for _ in range(3):
                outcome = await client.call(FunctionCall("f", call_id="i"))
                self.assertEqual((outcome.status, outcome.not_executed, self.server.requests), (502, True, []))
                self.assertEqual(outcome.failure, "the connector has no credentials for the gateway")
        lines = [line for line in map(formatEvent, logs) if "credentials" in line]
        self.assertEqual(len(lines), 1)
        self.assertIn("basic-auth-password cannot be read: No such file", lines[0])
