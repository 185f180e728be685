"""Results of asynchronous calls, with a real nats-server, the local gateway and its queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent

from natsconnector.local.gateway import LocalGateway
from natsconnector.local.nats_server import NatsServer
from natsconnector.local.processes import Function
from natsconnector.nats import Msg
from natsconnector.nats.jetstream import JetStream
from tests.chaos.async_results import KEY, Run
from tests.integration.ports import free_port
from tests.integration.support import ConnectorCase, ConnectorProcess, Waits, envelope, reactor


class AsyncResultTests(ConnectorCase):
    """One connector."""

    def make_server(self) -> NatsServer:
        return NatsServer(reactor, port=self.port, jetstream_dir=self.mktemp())

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        functions = {"cat": Function("cat", "cat"), "fail": Function("fail", "sh -c 'cat; exit 1'")}
        self.local = LocalGateway(reactor, functions)
        await self.local.start()
        self.addCleanup(self.local.stop)
        self.heard: list[Msg] = []
        self.waits = Waits()

    async def start(self, gateway: str) -> ConnectorProcess:
        keys = Path(self.mktemp())
        keys.write_text(f"{KEY}\n")
        self.callback_port = await free_port()
        endpoint = f"tcp:{self.callback_port}:interface=127.0.0.1"
        connector = ConnectorProcess(
            "--nats", self.server.url, "--gateway", gateway, "--reply-allow", "_INBOX.>,results.>",
            "--callback-listen", endpoint, "--callback-address", f"http://127.0.0.1:{self.callback_port}",
            "--callback-key-file", str(keys),
        )  # fmt: skip
        self.addCleanup(connector.stop)
        await connector.when_ready()
        return connector

    def hear(self, subject: str) -> None:
        def heard(msg: Msg) -> None:
            self.heard.append(msg)
            self.waits.changed()

        self.client.subscribe(subject, heard)

    def when_heard(self, count: int) -> Deferred[None]:
        return self.waits.when(lambda: len(self.heard) >= count)

    async def test_on_the_reply_subject(self) -> None:
        """``nats request`` with an envelope that is asynchronous gets the function's answer, failures included."""
        connector = await self.start(self.local.url)
        answer = await self.request(envelope("hello", "cat", **{"async": True}), headers={"X-Call-Id": "mine"})
        self.assertEqual(answer.payload, b"hello")
        headers = answer.headers
        self.assertEqual((headers.get("X-Function-Status"), headers.get("X-Call-Id")), ("200", "mine"))
        self.assertEqual(headers.get("X-Function-Name"), "cat")
        self.assertGreater(float(headers.get("X-Duration-Seconds") or 0), 0)
        answer = await self.request(envelope("oh", "fail"), headers={"Function-Async": "true"})
        self.assertEqual(answer.payload, b"oh")
        self.assertError(answer, 500, "fail answered 500")
        answer = await self.request(envelope("x", "cat", callback_url="nats:elsewhere"))
        self.assertError(answer, 403, "--reply-allow")
        await connector.stop()
        self.assertIn("results of asynchronous calls come in on", "\n".join(connector.lines))

    async def test_on_a_subject(self) -> None:
        """Where a stream listens the result is stored when the queue-worker gets its 200, and once only."""
        jetstream = JetStream(self.client)
        await jetstream.create_stream({"name": "RESULTS", "subjects": ["results.stored"]})
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 202)
        await self.start(self.gateway.url)
        self.hear("results.plain")
        for subject in ("results.stored", "results.plain"):
            accepted = await self.request(envelope("x", "cat", callback_url=f"nats:{subject}"))
            self.assertEqual(accepted.headers.get("X-Function-Status"), "202")
        stored, plain = (recorded.headers["x-callback-url"] for recorded in self.gateway.requests)
        self.assertEqual(await self.post(stored, b"one"), 200)
        found = [message async for message in jetstream.messages("RESULTS")]
        self.assertEqual([(message.subject, message.payload) for message in found], [("results.stored", b"one")])
        self.assertEqual(found[0].headers.get("Nats-Msg-Id"), found[0].headers.get("X-Call-Id"))
        self.assertEqual(await self.post(plain, b"two"), 200)
        await self.when_heard(1)
        self.assertEqual([(msg.subject, msg.payload) for msg in self.heard], [("results.plain", b"two")])
        self.assertEqual(await self.post(stored, b"again"), 410)
        self.assertEqual(await self.post(stored[:-1], b"x"), 404)

    async def test_nats_away(self) -> None:
        """A result that comes while NATS is away is published when it is back."""
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 202)
        connector = await self.start(self.gateway.url)
        self.hear("results.a")
        await self.request(envelope("x", "cat", callback_url="nats:results.a"))
        (recorded,) = self.gateway.requests
        await self.server.stop()
        await connector.when_line("connection to NATS .* lost")
        posted = Deferred.fromCoroutine(self.post(recorded.headers["x-callback-url"], b"late"))
        await self.server.start()
        await self.when_heard(1)
        self.assertEqual(await posted, 200)
        self.assertEqual(self.heard[0].payload, b"late")

    async def post(self, url: str, body: bytes) -> int:
        """The status of a callback's answer."""
        http: Any = HTTPClient(Agent(reactor))
        response = await http.post(url, data=body, headers={"X-Function-Status": "200"}, reactor=reactor)
        await response.content()
        return int(response.code)


class KilledTests(TestCase):
    """Two connectors, one of which is killed."""

    timeout = 120

    async def test_all_arrive(self) -> None:
        """Each result arrives at its subject, once in its stream."""
        results = await Run(60, self.mktemp(), 110).run()
        self.assertTrue(results.is_good, f"{results.table()}\n{results.wrong}")
        self.assertLess(results.killed_after, 60)
