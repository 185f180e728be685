"""The whole connector with rights that are missing, come, and go."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from natsconnector.nats import NatsClient
from natsconnector.nats.jetstream import JetStream
from tests.integration.nats_config import ReloadingServer
from tests.integration.ports import free_port
from tests.integration.support import WAIT_S, ConnectorProcess, RecordingGateway, envelope, reactor

API = [
    f"$JS.API.{what}"
    for what in (
        "STREAM.INFO.CALLS",
        "CONSUMER.INFO.CALLS.natsconnector",
        "CONSUMER.DURABLE.CREATE.CALLS.natsconnector",
        "CONSUMER.MSG.NEXT.CALLS.natsconnector",
    )
]


def config(subscribe: list[str], publish: list[str], more: str = "") -> str:
    """A user for the connector with these rights, and one with all."""
    subscribe_to, publish_to = (", ".join(f'"{subject}"' for subject in subjects) for subjects in (subscribe, publish))
    return f"""
    {more}
    authorization {{ users = [
        {{ user: connector, password: pw, permissions: {{ subscribe: [{subscribe_to}], publish: [{publish_to}] }} }}
        {{ user: all, password: pw }}
    ] }}"""


class RightsTests(TestCase):
    """Ready means that messages can come in, and a refusal has a way back."""

    async def start(self, config_text: str, *flags: str) -> ConnectorProcess:
        """A server with this configuration, a gateway, a client with all rights, and a connector."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.reloading = ReloadingServer(reactor, folder, await free_port(), config_text)
        await self.reloading.server.start()
        self.addCleanup(self.reloading.server.stop)
        self.gateway = RecordingGateway()
        await self.gateway.start()
        self.addCleanup(self.gateway.stop)
        url = self.reloading.server.url
        self.client = NatsClient(reactor, [url.replace("//", "//all:pw@")])
        self.client.start()
        self.addCleanup(self.client.close)
        await self.client.when_ready()
        if "--stream" in flags:
            await JetStream(self.client).create_stream({"name": "CALLS", "subjects": ["function.call"]})
        connector = ConnectorProcess(
            "--nats", url.replace("//", "//connector:pw@"), "--gateway", self.gateway.url, *flags
        )  # fmt: skip
        self.addCleanup(connector.stop)
        return connector

    async def test_subscription(self) -> None:
        """Without the right it is not ready; with it, granted while it runs, it is; revoked, it says so, and so on."""
        allowed, denied = config(["function.call functions"], ["_INBOX.>"]), config(["other"], ["_INBOX.>"])
        connector = await self.start(denied)
        await connector.when_line("refuses the subscription to function.call")
        self.assertFalse([line for line in connector.lines if "natsconnector ready" in line])
        for number in (1, 2):
            self.reloading.reload(allowed)
            await connector.when_line("takes the subscription to function.call again", after=len(connector.lines))
            reply = await self.client.request("function.call", envelope(), timeout_s=WAIT_S)
            self.assertEqual(reply.payload, b"done")
            await connector.when_ready()
            if number == 1:
                lines = len(connector.lines)
                self.reloading.reload(denied)
                await connector.when_line("refuses the subscription to function.call", after=lines)

    async def test_acknowledgements(self) -> None:
        """Acknowledgements that are refused are told, and call nothing again and again; allowed, all goes on."""
        jetstream = f"jetstream {{ store_dir: {self.mktemp()!r} }}"
        acks = "$JS.ACK.CALLS.natsconnector.>"
        connector = await self.start(
            config(["_INBOX.>"], API, jetstream), "--stream", "CALLS", "--dead-letter", "none", "--ack-wait", "1s"
        )  # fmt: skip
        await connector.when_ready()
        for number in range(5):
            await JetStream(self.client).publish("function.call", envelope(str(number)))
        await connector.when_line("the server refuses acknowledgements")
        self.reloading.reload(config(["_INBOX.>"], [*API, acks], jetstream))
        await connector.when_line("the server takes acknowledgements again")
        while (await JetStream(self.client).consumer("CALLS", "natsconnector"))["ack_floor"]["stream_seq"] < 5:
            pass
        self.assertEqual(set(self.gateway.count().values()), {1})

    async def test_stream_on_the_subject(self) -> None:
        """A stream that listens where core messages come is told of at the start."""
        jetstream = f"jetstream {{ store_dir: {self.mktemp()!r} }}"
        text = config(["function.call functions", "_INBOX.>"], [">"], jetstream)
        connector = await self.start(text)
        await connector.when_ready()
        await connector.stop()
        self.assertFalse([line for line in connector.lines if "listens on" in line])
        await JetStream(self.client).create_stream({"name": "CALLS", "subjects": ["function.*"]})
        url = self.reloading.server.url.replace("//", "//connector:pw@")
        again = ConnectorProcess("--nats", url, "--gateway", self.gateway.url)
        self.addCleanup(again.stop)
        await again.when_line("stream CALLS listens on function.call too: requesters get its acknowledgement")

    async def test_topics_of_functions(self) -> None:
        """The rights for consumers of topics are enough; without them it says so once, and is not ready."""
        jetstream = f"jetstream {{ store_dir: {self.mktemp()!r} }}"
        rights = [
            f"$JS.API.{what}"
            for what in (
                "STREAM.INFO.CALLS",
                "CONSUMER.INFO.CALLS.*",
                "CONSUMER.DURABLE.CREATE.CALLS.*",
                "CONSUMER.MSG.NEXT.CALLS.*",
                "CONSUMER.DELETE.CALLS.*",
            )
        ]
        flags = ("--topics-from-annotations", "--rebuild-interval", "100ms", "--missing-function-grace", "100ms")
        connector = await self.start(
            config(["_INBOX.>"], API, jetstream), "--stream", "CALLS", "--dead-letter", "none", *flags
        )
        self.gateway.deploy("figlet", topic="function.call")
        await connector.when_line("not ready: .*Permissions Violation")
        self.assertFalse([line for line in connector.lines if "natsconnector ready" in line])
        self.reloading.reload(config(["_INBOX.>"], [*rights, "$JS.ACK.CALLS.>"], jetstream))
        await connector.when_ready()
        await JetStream(self.client).publish("function.call", b"x")
        await self.gateway.when_requests(1)
        self.assertEqual(self.gateway.requests[0].body, b"x")
        self.assertEqual(len([line for line in connector.lines if "Violation" in line and "not ready" in line]), 1)
