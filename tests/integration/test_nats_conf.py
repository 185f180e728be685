"""The connector with no more rights than deployment/nats/nats-server.conf gives it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from twisted.internet.defer import DeferredQueue
from twisted.trial.unittest import TestCase

from natsconnector.local.gateway import LocalGateway
from natsconnector.local.nats_server import NatsServer, find_nats_server
from natsconnector.local.processes import Function
from natsconnector.nats import Msg, NatsClient, PermissionsViolation
from natsconnector.nats.jetstream import JetStream
from tests.integration.forks import ROOT, run_tool
from tests.integration.ports import free_port
from tests.integration.support import WAIT_S, ConnectorProcess, RecordingGateway, envelope, reactor

CONFIG = Path(ROOT) / "deployment" / "nats" / "nats-server.conf"
USERS = re.findall(r"user: (\w+), password: \$(\w+)", CONFIG.read_text())


def password(user: str) -> str:
    return f"secret-of-{user}"


class ConfigurationTests(TestCase):
    """The file as it stands, but for the address."""

    async def setUp(self) -> None:  # type: ignore[override]
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        # Passwords and folder come by the environment, as the file says; only this server has them there.
        given = {name: password(user) for user, name in USERS} | {"JETSTREAM_DIR": f'"{folder / "js"}"'}
        launcher = folder / "nats-server"
        launcher.write_text(
            f"#!{sys.executable} -IS\n"
            f"import os, sys\n"
            f"binary = {os.fspath(find_nats_server())!r}\n"
            f"given = {given!r}\n"
            f"os.execve(binary, [binary, *sys.argv[1:], '-c', {os.fspath(CONFIG)!r}], {{**os.environ, **given}})\n"
        )
        launcher.chmod(0o755)
        self.server = NatsServer(reactor, port=await free_port(), binary=os.fspath(launcher))
        await self.server.start()
        self.addCleanup(self.server.stop)
        self.gateway = RecordingGateway()
        await self.gateway.start()
        self.addCleanup(self.gateway.stop)
        self.publisher = await self.client("publisher")

    def url(self, user: str) -> str:
        return self.server.url.replace("//", f"//{user}:{password(user)}@")

    async def client(self, user: str, inbox_prefix: str | None = None) -> NatsClient:
        client = NatsClient(reactor, [self.url(user)], inbox_prefix=inbox_prefix or f"_INBOX_{user}")
        self.addCleanup(client.close)
        client.start()
        await client.when_ready(WAIT_S)
        return client

    async def connector(self, user: str, *flags: str) -> ConnectorProcess:
        connector = ConnectorProcess(
            "--nats", self.url(user), "--gateway", self.gateway.url, "--inbox-prefix", f"_INBOX_{user}", *flags
        )  # fmt: skip
        self.addCleanup(connector.stop)
        await connector.when_ready()
        return connector

    async def stream_connector(self) -> ConnectorProcess:
        """The connector on a stream, after the admin has made the streams."""
        self.js = JetStream(await self.client("admin"), timeout_s=WAIT_S)
        await self.js.create_stream({"name": "CALLS", "subjects": ["function.call"], "retention": "workqueue"})
        await self.js.create_stream({"name": "DEAD", "subjects": ["dead"]})
        return await self.connector(
            "stream", "--stream", "CALLS", "--dead-letter", "dead", "--reply-allow", "_INBOX_publisher.>"
        )

    async def command(self, name: str, user: str, *flags: str) -> tuple[int, list[str]]:
        """Run a command as its users do; exit code and lines."""
        argv = [name, "--nats", self.url(user), "--inbox-prefix", f"_INBOX_{user}", *flags]
        output, errors, code = await run_tool(reactor, *argv, environment={})
        return code, (output + errors).decode().splitlines()

    def assertNothingRefused(self, connector: ConnectorProcess) -> None:
        self.assertEqual([line for line in connector.lines if re.search("server refuses|Violation", line)], [])

    async def test_core(self) -> None:
        """On core NATS a request of the publisher is called and answered, and so is one that is refused."""
        connector = await self.connector("calls", "--subject", "function.call", "--function-subject", "fn.*")
        answer = await self.publisher.request("function.call", envelope("x"), timeout_s=WAIT_S)
        self.assertEqual((answer.payload, self.gateway.requests[0].body), (b"done", b"x"))
        answer = await self.publisher.request("function.call", b"not JSON", timeout_s=WAIT_S)
        self.assertEqual(answer.headers.get("Nats-Service-Error-Code"), "400")
        await self.figlet_only()
        await self.shown(await self.client("admin"))
        self.assertNothingRefused(connector)

    async def shown(self, admin: NatsClient) -> None:
        """The connector is there for ``nats micro``."""
        answer = await admin.request("$SRV.PING.natsconnector", timeout_s=WAIT_S)
        self.assertIn(b"io.nats.micro.v1.ping_response", answer.payload)

    async def figlet_only(self) -> None:
        """The right to publish on the subject of a function is the right to call it, and nothing else."""
        caller, called = await self.client("figlet"), len(self.gateway.requests)
        answer = await caller.request("fn.figlet", b"Hello", timeout_s=WAIT_S)
        recorded = self.gateway.requests[-1]
        self.assertEqual((answer.payload, recorded.path, recorded.body), (b"done", "/function/figlet", b"Hello"))
        for subject in ("fn.nodeinfo", "fn.figlet.team", "fn", "function.call", "dead", "fn.*", "fn.>"):
            with self.assertRaises(PermissionsViolation):
                await caller.request(subject, envelope("x"))
        for subject in ("fn.figlet", "fn.*", "_INBOX_publisher.>"):
            heard = caller.subscribe(subject, lambda msg: None)
            await caller.flush()
            self.assertIsInstance(heard.error, PermissionsViolation)
        self.assertEqual(len(self.gateway.requests), called + 1)

    async def test_results(self) -> None:
        """Results come to the publisher's inbox, to a subject, and into a stream; and to nobody else's inbox."""
        js = JetStream(await self.client("admin"), timeout_s=WAIT_S)
        await js.create_stream({"name": "RESULTS", "subjects": ["results.stored"]})
        functions = {"cat": Function("cat", "cat")}
        local = LocalGateway(reactor, functions)
        await local.start()
        self.addCleanup(local.stop)
        keys = Path(self.mktemp())
        keys.write_text("k" * 32)
        port = await free_port()
        connector = await self.connector(
            "results", "--no-service", "--gateway", local.url, "--reply-allow", "results.>",
            "--callback-listen", f"tcp:{port}:interface=127.0.0.1", "--callback-address", f"http://127.0.0.1:{port}",
            "--callback-key-file", str(keys),
        )  # fmt: skip
        asked = {"Function-Async": "true"}
        answer = await self.publisher.request("function.call", envelope("x", "cat"), headers=asked, timeout_s=WAIT_S)
        self.assertEqual((answer.payload, answer.headers.get("X-Function-Name")), (b"x", "cat"))
        admin = await self.client("admin")
        heard: DeferredQueue[Msg] = DeferredQueue()
        admin.subscribe("results.>", heard.put)
        await admin.flush()
        for subject in ("results.stored", "results.plain"):
            call = envelope(subject, "cat", callback_url=f"nats:{subject}")
            await self.publisher.request("function.call", call, timeout_s=WAIT_S)
            result = await heard.get()
            self.assertEqual((result.subject, result.payload), (subject, subject.encode()))
        self.assertEqual([each.subject async for each in js.messages("RESULTS")], ["results.stored"])
        self.assertNothingRefused(connector)
        admin.publish("function.call", envelope("x", "cat"), reply="_INBOX_stream.x", headers=asked)
        await connector.when_line("server refuses|Violation")

    async def test_stream(self) -> None:
        """From a stream: called, acknowledged, answered, and what cannot succeed is stored as a dead letter."""
        connector = await self.stream_connector()
        inbox = self.publisher.new_inbox()
        answered = self.publisher.request("function.call", envelope("x"), headers={"X-Reply-Subject": inbox})
        replies: list[Msg] = []
        self.publisher.subscribe(inbox, replies.append)
        self.assertIn(b'"stream":"CALLS"', (await answered).payload)
        await self.publisher.request("function.call", b"not JSON")
        while not (await self.js.stream("DEAD"))["state"]["messages"]:
            pass
        while (await self.js.consumer("CALLS", "natsconnector"))["ack_floor"]["stream_seq"] < 2:
            pass
        await self.publisher.flush()
        self.assertEqual([reply.payload for reply in replies], [b"done"])
        self.assertEqual((await self.js.stream("CALLS"))["state"]["messages"], 0)
        await self.shown(await self.client("admin"))
        self.assertNothingRefused(connector)

    async def test_redrive(self) -> None:
        """A dead letter is put back, called, and removed."""
        connector = await self.stream_connector()
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 400)
        await self.publisher.request("function.call", envelope("x"))
        while not (await self.js.stream("DEAD"))["state"]["messages"]:
            pass
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 200)
        code, lines = await self.command("redrive", "redrive", "--stream", "DEAD")
        self.assertEqual((code, lines[-1:]), (0, ["1 dead letters: 1 put back"]))
        await self.gateway.when_requests(2)
        self.assertEqual((await self.js.stream("DEAD"))["state"]["messages"], 0)
        self.assertNothingRefused(connector)

    async def test_check(self) -> None:
        """The command ``check`` finds all in order with the rights of the connector on a stream."""
        await self.stream_connector()
        flags = ("--gateway", self.gateway.url, "--stream", "CALLS", "--dead-letter", "dead")
        code, lines = await self.command("check", "stream", *flags)
        self.assertEqual((code, {line.split()[0] for line in lines}), (0, {"ok"}))

    async def test_publisher(self) -> None:
        """The publisher may do nothing else: not call the API, forge dead letters, or hear the others."""
        for subject in ("dead", "other", "$JS.API.STREAM.NAMES", "_INBOX_calls.x", "$JS.ACK.CALLS.natsconnector.1"):
            with self.assertRaises(PermissionsViolation):
                await self.publisher.request(subject)
        for subject in ("function.call", "_INBOX.>", "_INBOX_calls.>", "$JS.API.>", ">"):
            heard = self.publisher.subscribe(subject, lambda msg: None)
            await self.publisher.flush()
            self.assertIsInstance(heard.error, PermissionsViolation)
            heard.unsubscribe()
