"""The commands beside the connector, as processes."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import TestCase

from natsconnector.__main__ import COMMANDS
from natsconnector.local.nats_server import NatsServer
from natsconnector.nats.jetstream import JetStream
from tests.integration.forks import run_tool
from tests.integration.support import ConnectorCase, Recorded, reactor


class CommandCase(ConnectorCase):
    """Runs ``python -m natsconnector``."""

    def make_server(self) -> NatsServer:
        return NatsServer(reactor, port=self.port, jetstream_dir=self.mktemp())

    async def command(self, *arguments: str, **environment: str) -> tuple[str, str, int]:
        """Output, errors and exit code."""
        connection = {"NATS_URL": self.server.url, "gateway_url": self.gateway.url}
        output, errors, code = await run_tool(reactor, *arguments, environment={**connection, **environment})
        return output.decode(), errors.decode(), code


class RunTests(TestCase):
    """``run``."""

    async def command(self, *arguments: str) -> tuple[str, str, int]:
        output, errors, code = await run_tool(reactor, *arguments, environment={})
        return output.decode(), errors.decode(), code

    async def test_run(self) -> None:
        """It is twistd with the connector: its help, and its faults."""
        output, _, code = await self.command("run", "--help")
        self.assertEqual(code, 0)
        self.assertIn("\n  --max-inflight N\n", output)
        _, errors, code = await self.command("run", "--timeout", "x")
        self.assertEqual(code, 1)
        self.assertIn("--timeout: 'x'", errors)

    async def test_listed(self) -> None:
        """The help lists it with the others."""
        output, _, code = await self.command("--help")
        self.assertEqual(
            (re.findall(r"^    (\w+)  ", output, re.MULTILINE), code),
            (["run", *(command.NAME for command in COMMANDS)], 0),
        )


class CallTests(CommandCase):
    """``call``."""

    async def test_answer(self) -> None:
        """The answer is printed, and nothing else."""
        await self.connector()
        self.assertEqual(await self.command("call", "figlet", "Hello"), ("done", "", 0))
        self.assertEqual(self.gateway.requests[0].body, b"Hello")

    async def test_through_a_stream(self) -> None:
        """When a stream holds the subject, the answer is the function's all the same, not the stream's."""
        js = JetStream(self.client)
        await js.create_stream({"name": "S", "subjects": ["function.*"]})
        await self.connector("--stream", "S")
        output, errors, code = await self.command("call", "figlet", "Hello")
        self.assertEqual((output, code), ("done", 0))
        self.assertIn("stored in a stream", errors)
        _, errors, code = await self.command("call", "../x", "Hello")
        self.assertEqual(code, 1)
        self.assertIn("failed with 400", errors)

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

    async def test_topics_of_functions(self) -> None:
        """Each topic that would be taken from the stream, and each that would not, with the reason."""
        js = JetStream(self.client)
        await js.create_stream({"name": "S", "subjects": ["t.*", "function.call"]})
        flags = ("check", "--stream", "S", "--topics-from-annotations")
        output, _, code = await self.command(*flags)
        self.assertEqual(code, 1)
        self.assertIn("FAIL  topics of functions: no function is annotated with a topic of stream S", output)
        self.gateway.deploy("figlet", topic="t.a,t.b,x,function.call")
        output, _, code = await self.command(*flags, "--subject", "function.call")
        self.assertEqual(code, 0, output)
        self.assertRegex(output, "ok    topic t.a: consumer natsconnector-t_a-[0-9a-f]{8}: missing; the connector will")
        self.assertIn("ok    topics of functions: 2 with a consumer of their own", output)
        self.assertIn("warn  topic x: is not taken from stream S: the stream does not listen there", output)
        self.assertIn("warn  topic function.call: is not taken, it overlaps with function.call", output)

    async def test_environment_of_others(self) -> None:
        """Credentials that are named as for the official connector count, and names that mean nothing are told."""
        self.gateway.credentials = ("admin", "secret")
        self.gateway.deploy("figlet", topic="orders")
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "basic-auth-user").write_text("admin")
        (folder / "basic-auth-password").write_text("secret")
        environment = {"basic_auth": "true", "secret_mount_path": str(folder), "topics": "orders", "print_sync": "1"}
        output, _, code = await self.command("check", **environment, NATSCONNECTOR_MAX_INFLIGT="3")
        self.assertEqual(code, 0, output)
        self.assertIn("ok    topic orders: goes to figlet.openfaas-fn", output)
        self.assertIn("warn  NATSCONNECTOR_MAX_INFLIGT is set, and has no effect", output)
        self.assertIn("warn  print_sync is set, and has no effect: print_response is the name", output)

    async def test_what_is_missing(self) -> None:
        """Each is told with its reason, the rest is tried all the same, and the exit code is 1."""
        self.gateway.credentials = ("admin", "x")
        output, _, code = await self.command("check", "--stream", "S", "--topics", "orders", async_invocation="1")
        self.assertEqual(code, 1)
        self.assertIn("FAIL  stream S: there is no stream S", output)
        self.assertIn("FAIL  functions: GET /system/namespaces: 401", output)
        self.assertIn("ok    gateway", output)

    async def test_permission_for_a_queue_group(self) -> None:
        """Whether a subject may be heard in the connector's queue group cannot be tried without hearing messages."""
        permissions = '{ subscribe: ["function.call functions"], publish: ["_INBOX.>"] }'
        user = f"{{ user: connector, password: pw, permissions: {permissions} }}"
        locked_down = NatsServer(reactor, config_text=f"authorization {{ users = [{user}] }}")
        await locked_down.start()
        self.addCleanup(locked_down.stop)
        output, _, code = await self.command("check", NATS_URL=locked_down.url.replace("//", "//connector:pw@"))
        self.assertEqual(code, 0, output)
        self.assertIn("warn  subject function.call: may not be subscribed to, unless the permission names the", output)

    async def test_configuration(self) -> None:
        """A configuration that cannot work is told fault by fault."""
        output, _, code = await self.command("check", "--timeout", "x", NATSCONNECTOR_MAX_INFLIGHT="0")
        self.assertEqual(code, 1)
        self.assertIn("FAIL  configuration: --timeout: 'x'", output)
        self.assertIn("FAIL  configuration: NATSCONNECTOR_MAX_INFLIGHT: '0'", output)
