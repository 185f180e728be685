"""Tests of what is sent to the gateway, wherever it is, and what never is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from natsconnector.model.call import FunctionCall
from tests.gateway.servers import RawConnection, answer
from tests.gateway.test_client import ANSWER, ClientCase


class RequestTests(ClientCase):
    """What is sent."""

    async def test_line_breaks(self) -> None:
        """Nothing in a call begins another header or request, whoever let it through."""
        client = self.client(self.respond_with(ANSWER))
        call = FunctionCall("f", call_id="i")
        for bad in (
            replace(call, call_id="i\r\nX: 1"),
            replace(call, content_type="a/b\nX: 1"),
            replace(call, callback_url="http://h/\r"),
            replace(call, headers=(("A", "1\r\nX: 1"),)),
            replace(call, headers=(("A: 1\r\nX", "1"),)),
            replace(call, headers=(("A", "\ud800"),)),
            replace(call, headers=(("Transfer-Encoding", "chunked"),)),
            replace(call, headers=(("HOST", "other"),)),
            replace(call, function="../system/functions"),
            replace(call, function="f HTTP/1.1"),
            replace(call, function=""),
        ):
            outcome = await client.call(bad)
            self.assertEqual((outcome.status, outcome.not_executed, outcome.final), (400, True, True), bad)
        self.assertEqual(self.server.connections, [])

    async def test_addresses(self) -> None:
        """Whatever address the configuration accepts is called, with the host as it was written."""
        names = self.resolve_here()
        self.client(self.respond_with(ANSWER))
        port = self.server.port
        long = "x" * 64
        for url, name, host in (
            ("http://func_gateway", "func_gateway", "func_gateway"),
            ("http://a1--b", "a1--b", "a1--b"),
            ("http://-odd", "-odd", "-odd"),
            (f"http://{long}.example", f"{long}.example".encode(), f"{long}.example"),
            ("http://a..b", b"a..b", "a..b"),
            ("http://Gateway.example.", "gateway.example.", "gateway.example."),
            ("http://[::1]", "::1", "[::1]"),
            ("http://[fe80::1%eth0]", "fe80::1%eth0", "[fe80::1]"),
            ("gateway", "gateway", "gateway"),
        ):
            client = self.client_of(f"{url}:{port}")
            outcome = await client.call(FunctionCall("f", call_id="i"))
            self.assertTrue(await client.probe())
            await client.close()
            self.assertTrue(outcome.ok, (url, outcome))
            self.assertEqual(names[-1], name)
            for request in self.server.requests[-2:]:
                self.assertIn(f"\r\nHost: {host}:{port}\r\n".encode(), request)

    async def test_odd_prefix(self) -> None:
        """A path that no URL may have as it is goes encoded; what is encoded stays."""
        self.client(self.respond_with(ANSWER))
        client = self.client_of(f"{self.url}/a|b%20c/")
        await client.call(FunctionCall("f", call_id="i"))
        await client.probe()
        await client.close()
        lines = [request.split(b"\r\n")[0] for request in self.server.requests]
        self.assertEqual(lines, [b"POST /a%7Cb%20c/function/f HTTP/1.1", b"GET /a%7Cb%20c/healthz HTTP/1.1"])

    async def test_large_bodies(self) -> None:
        """Bodies that no single write takes pass both ways, and the connection stays."""
        body = b"x" * 5_000_000
        client = self.client(self.respond_with(answer(body)), max_response_bytes=len(body))
        for _ in range(2):
            outcome = await client.call(FunctionCall("f", body, call_id="i"))
            self.assertTrue(outcome.body == body, outcome.failure)
            self.assertTrue(self.server.requests[-1].endswith(b"\r\n\r\n" + body))
        self.assertEqual(len(self.server.connections), 1)

    async def test_refused_by_its_head(self) -> None:
        """An answer that comes before the request is all sent, and the close behind it, is the answer."""

        def refuse(connection: RawConnection, data: bytes) -> None:
            connection.write(answer(b"no", b"413 Too Large"))
            connection.lose()

        self.patch(RawConnection, "dataReceived", refuse)
        for _ in range(5):
            client = self.client(self.respond_with())
            outcome = await client.call(FunctionCall("f", b"x" * 5_000_000, call_id="i"))
            self.assertEqual((outcome.status, outcome.body), (413, b"no"), outcome.failure)

    async def test_silent_close(self) -> None:
        """A connection that was closed behind its answer is not used again, nor one on which more came than asked."""

        def respond(connection: Any) -> None:
            connection.write(ANSWER)
            connection.lose()

        client = self.client(respond)
        outcomes = []

        def again(outcome: Any) -> Any:
            outcomes.append(outcome)
            return client.call(FunctionCall("f", call_id="i")).addCallback(again) if len(outcomes) < 50 else None

        await client.call(FunctionCall("f", call_id="i")).addCallback(again)
        self.assertEqual({(outcome.status, outcome.body) for outcome in outcomes}, {(200, b"hi")})
        self.assertEqual(len(self.server.connections), 50)
