"""Topics of functions, taken from a stream as they come and go."""

from __future__ import annotations

from twisted.internet.defer import DeferredList

from natsconnector.local.nats_server import NatsServer
from natsconnector.messages.topics import consumer_name
from natsconnector.nats.jetstream import JetStream
from tests.integration.support import WAIT_S, ConnectorCase, ConnectorProcess, reactor

QUICK = ("--rebuild-interval", "100ms", "--retry-wait", "10ms", "--retry-max-wait", "50ms")


class AnnotationsCase(ConnectorCase):
    """A stream with topics, and connectors that follow the functions."""

    retention = "limits"

    def make_server(self) -> NatsServer:
        return NatsServer(reactor, port=self.port, jetstream_dir=self.mktemp())

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.gateway.functions = []
        self.js = JetStream(self.client, timeout_s=WAIT_S)
        await self.js.create_stream({"name": "S", "subjects": ["t.>"], "retention": self.retention})

    async def following(self, *flags: str) -> ConnectorProcess:
        return await self.connector("--stream", "S", "--topics-from-annotations", *QUICK, *flags)

    def remove(self, name: str) -> None:
        self.gateway.functions = [each for each in self.gateway.functions if each["name"] != name]

    async def when_settled(self, *topics: str) -> None:
        """Wait until all messages of topics that are taken have been acknowledged."""
        for topic in topics:
            while True:
                fields = await self.js.consumer("S", consumer_name("natsconnector", topic))
                if fields["num_pending"] + fields["num_ack_pending"] == 0:
                    break


class AnnotationFlowTests(AnnotationsCase):
    """Annotations are changed while messages flow."""

    async def test_nothing_is_missing(self) -> None:
        """
        Three connectors; functions are added and removed while messages come: each message that was published while a
        function had its topic is called, and each once.
        """
        self.gateway.deploy("always", topic="t.always")
        for _ in range(3):
            await self.following("--missing-function-grace", "1s", "--deliver", "new")
        called: list[bytes] = []
        published = []

        def publish(subject: str, number: int) -> None:
            body = f"{subject} {number}".encode()
            called.append(body)
            published.append(self.js.publish(subject, body))

        for number in range(60):
            publish("t.always", number)
            if number == 10:
                self.gateway.deploy("one", topic="t.one.*")
            if number >= 10:
                publish("t.one.a", number)
            if number == 20:
                self.gateway.deploy("two", topic="t.two")
            if number >= 20:
                publish("t.two", number)
            if number % 10 == 9:
                await self.gateway.when_listed_again()
        await DeferredList(published, fireOnOneErrback=True)
        await self.gateway.when_requests(len(called))
        await self.when_settled("t.always", "t.one.*", "t.two")
        self.assertEqual(sorted(self.gateway.count().elements()), sorted(called))


class WorkQueueTests(AnnotationsCase):
    """What a work queue holds that nobody takes waits in it."""

    retention = "workqueue"

    async def test_leaves_and_comes_back(self) -> None:
        """Messages of a topic that lost its function are called when it has one again; the consumer went meanwhile."""
        self.gateway.deploy("one", topic="t.one")
        self.gateway.deploy("two", topic="t.two")
        connector = await self.following("--missing-function-grace", "200ms")
        await self.js.publish("t.one", b"first")
        await self.gateway.when_requests(1)
        self.remove("one")
        await connector.when_line("removed consumer .* topic t.one")
        await self.js.publish("t.one", b"second")
        self.gateway.deploy("one", topic="t.one")
        await self.gateway.when_requests(2)
        await self.when_settled("t.one")
        self.assertEqual(self.gateway.count(), {b"first": 1, b"second": 1})

    async def test_wider_topic(self) -> None:
        """A topic that covers one that was there takes its place: each message comes once, to both functions."""
        self.gateway.deploy("one", topic="t.one")
        connectors = [await self.following() for _ in range(2)]
        await self.js.publish("t.one", b"first")
        await self.gateway.when_requests(1)
        await self.js.publish("t.two", b"early")
        self.gateway.deploy("all", topic="t.*")
        await self.gateway.when_requests(2)
        await self.js.publish("t.one", b"last")
        await self.gateway.when_requests(4)
        await self.when_settled("t.*")
        self.assertEqual(self.gateway.count(), {b"first": 1, b"early": 1, b"last": 2})
        removed = sum("removed consumer" in line for each in connectors for line in each.lines)
        self.assertEqual(removed, 1)

    async def test_no_function_at_first(self) -> None:
        """Without a topic there is no consumer, which would take everything; a topic of another place is told."""
        connector = ConnectorProcess(
            "--nats", self.server.url, "--gateway", self.gateway.url, "--stream", "S", "--topics-from-annotations",
            *QUICK,
        )  # fmt: skip
        self.addCleanup(connector.stop)
        await connector.when_line("functions: 0, topics: none")
        await self.js.publish("t.one", b"x")
        await self.gateway.when_listed_again()
        self.assertEqual((await self.js.stream("S"))["state"]["consumer_count"], 0)
        self.gateway.deploy("one", topic="t.one, elsewhere")
        await self.gateway.when_requests(1)
        await connector.when_ready()
        await connector.when_line("topic elsewhere gets nothing from stream S: the stream does not listen there")
