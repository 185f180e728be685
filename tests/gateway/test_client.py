"""Tests of the gateway client, against real sockets."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer
from zope.interface.verify import verifyObject

from natsconnector.gateway import BasicAuth, GatewayClient, agent
from natsconnector.model.call import FunctionCall
from natsconnector.model.outcome import Outcome
from natsconnector.model.seams import IGateway
from tests.gateway.servers import RawConnection, RawServerCase, answer

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
            self.assertEqual((outcome.status, outcome.unfinished, outcome.not_executed), (503, True, False))
            self.assertIn("may have been executed", outcome.failure or "")
            await self.server.when_lost

    async def test_own_deadline(self) -> None:
        """A call's own time limit counts instead of the client's."""
        client = self.client(self.respond_with(), timeout_s=60.0)
        outcome = await client.call(FunctionCall("f", call_id="i", timeout_s=0.1))
        self.assertEqual((outcome.status, outcome.not_executed), (504, False))
        self.assertEqual(outcome.failure, "f did not answer within 0.1 s")

    async def test_given_up_before_a_connection(self) -> None:
        """Until a connection stands, whatever ends the call leaves it not executed: its deadline, or its caller."""
        self.patch(agent, "gateway_endpoint", lambda *_: NeverConnected())
        for timeout_s, status, text in ((0.05, 502, "no connection within 0.05 s"), (60.0, 503, "was called")):
            client = self.client_of("http://127.0.0.1:1", timeout_s=timeout_s)
            ending = client.call(FunctionCall("f", call_id="i"))
            if status == 503:
                ending.cancel()
            outcome = await ending
            self.assertEqual((outcome.status, outcome.not_executed), (status, True))
            self.assertIn(text, outcome.failure or "")


@implementer(IStreamClientEndpoint)
class NeverConnected:
    """Where a connection is always on its way."""

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred()


class ScaleFromZeroTests(ClientCase):
    """The gateway's empty 200 when it has not called the function."""

    MARK = b"X-Start-Time: 1"
    TRAP = answer()

    async def outcomes(self, *answers: bytes, call: FunctionCall | None = None) -> list[Outcome]:
        """What becomes of one call after the other."""
        waiting = list(answers)
        client = self.client(lambda connection: connection.write(waiting.pop(0)))
        return [await client.call(call or FunctionCall("f", call_id="i")) for _ in answers]

    async def test_trap(self) -> None:
        """From a gateway that marks its answers, an empty 200 without the mark is none: not executed, and told."""
        for marked in (answer(b"x", b"200 OK", self.MARK), answer(b"", b"500 Oh", self.MARK)):
            outcome = (await self.outcomes(marked, self.TRAP))[1]
            self.assertEqual((outcome.status, outcome.ok, outcome.not_executed), (502, False, True))
            self.assertIn("without having called f (scaling it from zero timed out)", outcome.failure or "")

    async def test_other_gateways(self) -> None:
        """A gateway that was never seen to mark answers may answer an empty 200."""
        for outcome in await self.outcomes(self.TRAP, answer(b"x"), self.TRAP):
            self.assertTrue(outcome.ok)

    async def test_answers_of_functions(self) -> None:
        """A marked empty answer is the function's; so is what another gateway, at the same place now, does not mark."""
        marked = answer(b"", b"200 OK", self.MARK)
        outcomes = await self.outcomes(marked, marked, answer(b"x"), self.TRAP)
        self.assertEqual([outcome.ok for outcome in outcomes], [True] * 4)

    async def test_other_statuses(self) -> None:
        """What the gateway answers itself, without the mark, stands; it does not say that there is no mark either."""
        marked = answer(b"", b"200 OK", self.MARK)
        outcomes = await self.outcomes(marked, answer(b"error finding function", b"404 Not Found"), self.TRAP)
        self.assertEqual([outcome.status for outcome in outcomes], [200, 404, 502])

    async def test_asynchronous(self) -> None:
        """The asynchronous route neither teaches nor is judged."""
        marked = answer(b"", b"202 Accepted", self.MARK)
        queued = FunctionCall("f", call_id="i", queued=True)
        for outcome in await self.outcomes(marked, self.TRAP, call=queued):
            self.assertTrue(outcome.ok)


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
        """Without its files nothing is sent, and the outcome says which is missing."""
        os.remove(self.folder / "basic-auth-password")
        client = self.client(self.respond_with(ANSWER), credentials=BasicAuth(str(self.folder)))
        outcome = await client.call(FunctionCall("f", call_id="i"))
        self.assertEqual((outcome.status, outcome.not_executed, self.server.requests), (502, True, []))
        self.assertIn("basic-auth-password cannot be read: No such file", outcome.failure or "")
