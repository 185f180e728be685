"""The connector on locked-down servers: its user has what the documentation names, and nothing else."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats import NatsClient, Tls
from natsconnector.nats.jetstream import ACK, JetStream, PullConsumer
from tests.integration.nats_case import Collector, NatsTestCase
from tests.integration.support import ConnectorProcess, RecordingGateway, reactor
from tests.nats.issuing import Authority

ENVELOPE = b'{"function": "figlet", "params": {"body": "hi"}}'


class PermissionsTests(TestCase):
    """One user for the connector, one who asks."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        self.gateway = RecordingGateway()
        await self.gateway.start()
        self.addCleanup(self.gateway.stop)

    async def ask(self, config_text: str, *flags: str, scheme: str = "nats", tls: Tls | None = None) -> list[str]:
        """Start both, ask until there is an answer, stop the connector; its log."""
        server = NatsServer(reactor, config_text=config_text)
        await server.start()
        self.addCleanup(server.stop)
        password = Path(self.mktemp())
        password.write_text("pw")
        url = server.url.replace("nats:", f"{scheme}:")
        connector = ConnectorProcess(
            "--nats", url, "--nats-user", "connector", "--nats-password-file", str(password),
            "--gateway", self.gateway.url, "--no-service", *flags,
        )  # fmt: skip
        self.addCleanup(connector.stop)
        await connector.when_ready()
        client = NatsClient(reactor, [url.replace("//", "//asker:pw@")], tls=tls)
        client.start()
        self.addCleanup(client.close)
        answer = await client.request("function.call", ENVELOPE, timeout_s=30)
        self.assertEqual((answer.payload, answer.headers.get("X-Function-Status")), (b"done", "200"))
        await connector.stop()
        self.assertTrue(connector.ended_cleanly, connector.lines)
        self.assertFalse([line for line in connector.lines if "Permissions Violation" in line])
        return connector.lines

    async def test_core(self) -> None:
        """Hearing the one subject in the one queue group, and answering: that is all it takes."""
        await self.ask(
            """
            authorization { users = [
                { user: connector, password: pw, permissions: {
                    subscribe: { allow: ["function.call functions"] }
                    publish: { deny: [">"] }
                    allow_responses: { max: 1, expires: "5m" } } }
                { user: asker, password: pw }
            ] }"""
        )

    async def test_answers_by_subject(self) -> None:
        """Instead of allow_responses the askers' inboxes can be allowed by name."""
        await self.ask(
            """
            authorization { users = [
                { user: connector, password: pw, permissions: {
                    subscribe: ["function.call functions"], publish: ["_INBOX.>"] } }
                { user: asker, password: pw }
            ] }"""
        )

    async def test_tls(self) -> None:
        """The same over TLS with certificates of both sides, by the connector's flags."""
        folder = Path(self.mktemp())
        authority = Authority(folder)
        cert, key = authority.issue("server", "127.0.0.1")
        ours, our_key = authority.issue("connector")
        await self.ask(
            f"""
            tls {{ cert_file: "{cert}", key_file: "{key}", ca_file: "{authority.ca}", verify: true }}
            authorization {{ users = [
                {{ user: connector, password: pw, permissions: {{
                    subscribe: ["function.call functions"], publish: ["_INBOX.>"] }} }}
                {{ user: asker, password: pw }}
            ] }}""",
            "--nats-ca", authority.ca, "--nats-cert", ours, "--nats-key", our_key,
            scheme="tls",
            tls=Tls(authority.ca, ours, our_key),
        )  # fmt: skip

    async def test_stream(self) -> None:
        """Messages of a stream take its consumer's API, its acks and an inbox prefix of one's own."""
        await self.check_stream("$JS.ACK.CALLS.natsconnector.>")

    async def test_stream_with_other_ack_subjects(self) -> None:
        """Where a server's feature flag asks for them, ack subjects name domain and account first."""
        await self.check_stream(
            "$JS.ACK.*.*.CALLS.natsconnector.>", "jetstream { domain: hub }\nfeature_flags { js_ack_fc_v2: true }"
        )

    async def check_stream(self, acks: str, more: str = "") -> None:
        """With the right to publish these acks, and no others, a message is worked off."""
        server = NatsServer(
            reactor,
            jetstream_dir=self.mktemp(),
            config_text=f"""
            {more}
            authorization {{ users = [
                {{ user: connector, password: pw, permissions: {{
                    subscribe: ["_INBOX_connector.>"]
                    publish: [
                        "$JS.API.STREAM.INFO.CALLS"
                        "$JS.API.CONSUMER.INFO.CALLS.natsconnector"
                        "$JS.API.CONSUMER.DURABLE.CREATE.CALLS.natsconnector"
                        "$JS.API.CONSUMER.MSG.NEXT.CALLS.natsconnector"
                        "{acks}"
                    ] }} }}
                {{ user: asker, password: pw }}
            ] }}""",
        )
        await server.start()
        self.addCleanup(server.stop)
        client = NatsClient(reactor, [server.url.replace("//", "//asker:pw@")])
        client.start()
        self.addCleanup(client.close)
        jetstream = JetStream(client)
        await jetstream.create_stream({"name": "CALLS", "subjects": ["function.call"]})
        password = Path(self.mktemp())
        password.write_text("pw")
        connector = ConnectorProcess(
            "--nats", server.url, "--nats-user", "connector", "--nats-password-file", str(password),
            "--gateway", self.gateway.url, "--stream", "CALLS", "--inbox-prefix", "_INBOX_connector", "--no-service",
        )  # fmt: skip
        self.addCleanup(connector.stop)
        await connector.when_ready()
        await jetstream.publish("function.call", ENVELOPE)
        await self.gateway.when_requests(1)
        await connector.stop()
        self.assertTrue(connector.ended_cleanly, connector.lines)
        self.assertFalse([line for line in connector.lines if "Permissions Violation" in line])
        state = await jetstream.consumer("CALLS", "natsconnector")
        self.assertEqual((state["ack_floor"]["stream_seq"], state["num_ack_pending"]), (1, 0))


class OtherAccountTests(NatsTestCase):
    """A stream of another account, whose API is imported under a prefix."""

    async def test_prefix(self) -> None:
        """With the prefix it is used like one of one's own: consumer, pulls, acknowledgements."""
        server = await self.server(
            jetstream_dir=self.mktemp(),
            config_text="""
            accounts {
                ACME {
                    jetstream: enabled
                    users: [{ user: acme, password: pw }]
                    exports: [{ service: "$JS.API.>", response_type: stream }, { service: "$JS.ACK.>" }]
                }
                ME {
                    users: [{ user: me, password: pw }]
                    imports: [
                        { service: { account: ACME, subject: "$JS.API.>" }, to: "$JS.acme.API.>" }
                        { service: { account: ACME, subject: "$JS.ACK.>" } }
                    ]
                }
            }""",
        )
        acme = JetStream(await self.client(server.url.replace("//", "//acme:pw@")))
        await acme.create_stream({"name": "CALLS", "subjects": ["calls"]})
        for number in range(3):
            await acme.publish("calls", b"%d" % number)
        me = await self.client(server.url.replace("//", "//me:pw@"))
        jetstream = JetStream(me, prefix="$JS.acme.API")
        await jetstream.create_consumer("CALLS", {"durable_name": "c", "ack_policy": "explicit"})
        collector, lost = Collector(), list[str]()
        consumer = PullConsumer(
            reactor,
            jetstream,
            "CALLS",
            "c",
            room=lambda: 3 - len(collector.messages),
            deliver=lambda msg, where: collector(msg),
            lost=lost.append,
        )
        consumer.start()
        messages = await collector.when(3)
        self.assertEqual([msg.payload for msg in messages], [b"0", b"1", b"2"])
        for msg in messages:
            await me.request(str(msg.reply), ACK)
        state = await acme.consumer("CALLS", "c")
        self.assertEqual((state["ack_floor"]["stream_seq"], state["num_ack_pending"]), (3, 0))
        await consumer.drain()
        self.assertEqual(lost, [])
