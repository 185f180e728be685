"""The commands beside the connector, as processes."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats.jetstream import JetStream
from tests.integration.support import ConnectorCase, Recorded, reactor


class CommandCase(ConnectorCase):
    """Runs ``python -m natsconnector``."""

    async def command(self, *arguments: str, **environment: str) -> tuple[str, str, int]:
        """Output, errors and exit code."""
        connection = {"NATS_URL": self.server.url, "gateway_url": self.gateway.url}
        run: Deferred[Any] = getProcessOutputAndValue(
            sys.executable, ["-m", "natsconnector", *arguments], {**connection, **environment}, reactor=reactor
        )
        output, errors, code = await run
        return output.decode(), errors.decode(), code


class CallTests(CommandCase):
    """``call``."""

    async def test_answer(self) -> None:
        """The answer is printed, and nothing else."""
        await self.connector()
        self.assertEqual(await self.command("call", "figlet", "Hello"), ("done", "", 0))
        self.assertEqual(self.gateway.requests[0].body, b"Hello")

    async def test_failure(self) -> None:
        """What went wrong is said, with what the function answered, and the exit code is not 0."""

        def respond(recorded: Recorded) -> None:
            self.gateway.answer(recorded, 500, b"boom")

        self.gateway.respond = respond
        await self.connector()
        output, errors, code = await self.command("call", "figlet", "Hello")
        self.assertEqual((output, code), ("", 1))
        self.assertIn("boom", errors)
        self.assertIn("failed with 500: figlet answered 500", errors)

    async def test_nobody_there(self) -> None:
        """Without a connector, or without NATS, it says so."""
        _, errors, code = await self.command("call", "figlet", "Hello")
        self.assertEqual(code, 1)
        self.assertIn("nobody listens on 'function.call'", errors)
        await self.server.stop()
        _, errors, code = await self.command("call", "--wait", "0.5", "figlet", "Hello")
        self.assertEqual(code, 1)
        self.assertIn("no connection to NATS within 0.5 s", errors)


class CheckTests(CommandCase):
    """``check``."""

    def make_server(self) -> NatsServer:
        return NatsServer(reactor, port=self.port, jetstream_dir=self.mktemp())

    async def test_all_is_well(self) -> None:
        """A line for each thing that is there, and 0; nothing is taken, made or called."""
        js = JetStream(self.client)
        await js.create_stream({"name": "S", "subjects": ["function.*", "orders"]})
        await js.create_stream({"name": "D", "subjects": ["dead"]})
        self.gateway.deploy("figlet", topic="orders")
        output, _, code = await self.command(
            "check", "--stream", "S", "--subject", "function.call", "--topics", "orders", "--dead-letter", "dead"
        )
        self.assertEqual(code, 0, output)
        for line in (
            "ok    NATS: connected to",
            "ok    stream S: there",
            "ok    consumer natsconnector: missing; the connector will make it",
            "ok    dead letters dead: go to stream D",
            "ok    functions: figlet.openfaas-fn",
            "ok    topic orders: goes to figlet.openfaas-fn",
        ):
            self.assertIn(line, output)
        self.assertEqual(self.gateway.requests, [])

    async def test_what_is_missing(self) -> None:
        """Each is told with its reason, the rest is tried all the same, and the exit code is 1."""
        self.gateway.credentials = ("admin", "x")
        output, _, code = await self.command("check", "--stream", "S", "--topics", "orders", async_invocation="1")
        self.assertEqual(code, 1)
        self.assertIn("FAIL  stream S: stream not found", output)
        self.assertIn("FAIL  functions: GET /system/namespaces: 401", output)
        self.assertIn("ok    gateway", output)

    async def test_configuration(self) -> None:
        """A configuration that cannot work is told fault by fault."""
        output, _, code = await self.command("check", "--timeout", "x", NATSCONNECTOR_MAX_INFLIGHT="0")
        self.assertEqual(code, 1)
        self.assertIn("FAIL  configuration: --timeout: 'x'", output)
        self.assertIn("FAIL  configuration: NATSCONNECTOR_MAX_INFLIGHT: '0'", output)
