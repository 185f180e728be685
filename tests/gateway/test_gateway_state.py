"""Tests of what outcomes say of the gateway itself."""

from __future__ import annotations

from dataclasses import replace

from natsconnector.gateway import GatewayClient
from natsconnector.model.call import FunctionCall
from natsconnector.model.outcome import Outcome
from tests.gateway.servers import answer
from tests.gateway.test_client import ClientCase

MARK = b"X-Start-Time: 1"
CALL = FunctionCall("f.ns", call_id="i")
QUEUED = replace(CALL, queued=True)


class GatewayStateTests(ClientCase):
    """What is said of the gateway itself, and of a function that it does not have."""

    async def outcome(self, client: GatewayClient, call: FunctionCall, answered: bytes) -> Outcome:
        self.server.respond = self.respond_with(answered)
        return await client.call(call)

    async def facts(self, call: FunctionCall, *answered: bytes) -> list[tuple[int, bool, bool, bool]]:
        """Status, not executed, gateway down and not deployed, of one call after the other."""
        client = self.client(self.respond_with())
        outcomes = [await self.outcome(client, call, each) for each in answered]
        return [(each.status, each.not_executed, each.gateway_down, each.not_deployed) for each in outcomes]

    async def test_unreachable(self) -> None:
        """A gateway that nothing can be sent to is down; one that breaks off is not for sure."""
        for url in ("http://127.0.0.1:1", "https://under_score.invalid:1"):
            outcome = await self.client_of(url).call(CALL)
            self.assertEqual((outcome.not_executed, outcome.gateway_down), (True, True), outcome)
        outcome = await self.client(self.respond_with(close=True)).call(CALL)
        self.assertFalse(outcome.gateway_down)

    async def test_empty_answers(self) -> None:
        """An empty 200 is an answer, whatever another function's answers have in them."""
        facts = await self.facts(CALL, answer(b"x", b"200 OK", MARK), answer())
        self.assertEqual(facts, [(200, False, False, False)] * 2)

    async def test_not_found(self) -> None:
        """The gateway's own 404: its provider is away, unless the provider has said that there is no such function."""
        status = b"404 Not Found"
        away = b"error finding function f.ns: Get http://provider: dial tcp: connection refused"
        absent = b"error finding function f.ns: server returned non-200 status code (404) for function"
        for body, more, fact in (
            (away, (), (404, True, True, False)),
            (away.replace(b"f.ns", b"f.ns.openfaas-fn"), (), (404, True, True, False)),
            (absent, (), (404, False, False, True)),
            # Those of a function.
            (away, (MARK,), (404, False, False, False)),
            (b"x" + away, (), (404, False, False, False)),
            (away.replace(b"f.ns", b"other"), (), (404, False, False, False)),
            (away.replace(b"f.ns", b"f.nsx"), (), (404, False, False, False)),
            (b"not here", (), (404, False, False, False)),
        ):
            self.assertEqual(await self.facts(CALL, answer(body, status, *more)), [fact], body)
        self.assertEqual(await self.facts(QUEUED, answer(away, status)), [(404, False, False, False)])

    async def test_proxy(self) -> None:
        """502, 503 and 504 without the mark are a proxy's, once an answer that no function can make had the mark."""
        proxies = [answer(b"", status) for status in (b"502 Bad", b"503 Not now", b"504 Late", b"500 Oh", b"429 Slow")]
        marked = [answer(b"", b"503 Not now", MARK)]
        for teacher, downs in (
            (CALL, [False] * 6),  # a function could have set it
            (QUEUED, [True, True, True, False, False, False]),
        ):
            client = self.client(self.respond_with())
            await self.outcome(client, teacher, answer(b"", b"202 Accepted", MARK))
            outcomes = [await self.outcome(client, CALL, each) for each in proxies + marked]
            self.assertEqual([each.gateway_down for each in outcomes], downs)
            self.assertEqual([each.not_executed for each in outcomes], [False] * 6)

    async def test_queue(self) -> None:
        """What could not be queued surely, perhaps, and never; of a function's own answer nothing is read."""
        for text, not_executed, final in (
            (b"nats: outbound buffer limit exceeded", True, False),
            (b"nats: connection closed", True, False),
            (b"nats: no servers available for connection", True, False),
            (b"nats: timeout", False, False),
            (b"stan: publish ack timeout", False, False),
            (b"stan: connection lost due to PING failure", False, False),
            (b"request body too large for OpenFaaS CE", False, True),
            (b"maximum payload exceeded", False, True),
            (b"nats: maximum payload exceeded", False, True),
        ):
            failing = answer(b"Error queuing request: " + text, b"500 Oh")
            outcome = await self.client(self.respond_with(failing)).call(QUEUED)
            self.assertEqual((outcome.not_executed, outcome.final), (not_executed, final), text)
            outcome = await self.client(self.respond_with(failing)).call(CALL)
            self.assertEqual((outcome.not_executed, outcome.final), (False, False), text)

    async def test_probe(self) -> None:
        """Whether any response comes to a question that needs no credentials, and no function hears."""
        client = self.client(self.respond_with(answer(b"", b"503 Oh", MARK)))
        self.assertIs(await client.probe(), True)
        self.assertTrue(self.server.requests[0].startswith(b"GET /healthz HTTP/1.1\r\n"))
        self.assertIs((await self.outcome(client, CALL, answer(b"", b"502 Bad"))).gateway_down, True)
        self.server.respond = self.respond_with(close=True)
        self.assertIs(await client.probe(), False)
        self.assertIs(await self.client_of("http://127.0.0.1:1").probe(), False)
        probing = self.client(self.respond_with()).probe()
        probing.cancel()
        self.assertIs(await probing, False)
