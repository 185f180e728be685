"""The client against a real nats-server."""

from __future__ import annotations

from natsconnector.nats import (
    AuthorizationError,
    MaxPayloadExceeded,
    Msg,
    NoResponders,
    PermissionsViolation,
    Status,
)
from tests.integration.nats_case import Collector, NatsTestCase, StatusCollector, turn
from tests.integration.ports import free_port


class MessageTests(NatsTestCase):
    """Publish and subscribe."""

    async def test_publish_and_subscribe(self) -> None:
        """Messages of one client reach the other: subject, reply, payload to the byte, in order."""
        server = await self.server()
        ours, theirs = await self.client(server.url), await self.client(server.url)
        got = Collector()
        ours.subscribe("greet.*", got)
        await ours.flush()
        payloads = [b"", b"hi", bytes(range(256)), b"\r\nPUB x 0\r\n\r\n", b"x" * theirs.max_payload]
        for payload in payloads:
            theirs.publish("greet.joe", payload, reply="back")
        messages = await got.when(len(payloads))
        self.assertEqual([msg.payload for msg in messages], payloads)
        self.assertEqual({(msg.subject, msg.reply) for msg in messages}, {("greet.joe", "back")})

    async def test_strange_subjects(self) -> None:
        """Subjects in any script, and bytes that are no UTF-8, come through both ways."""
        server = await self.server()
        client = await self.client(server.url)
        got = Collector()
        client.subscribe(">", got)
        subjects = ["grüße.世界", "a.\udcff\udcfe", "x" * 1000]
        for subject in subjects:
            client.publish(subject)
        self.assertEqual([msg.subject for msg in await got.when(3)], subjects)

    async def test_headers(self) -> None:
        """Headers come through: order, case, repeated names, any text; beside a payload and without."""
        server = await self.server()
        client = await self.client(server.url)
        got = Collector()
        client.subscribe("h", got)
        pairs = [("A", "1"), ("a", "2"), ("A", "grüße: x"), ("Empty", "")]
        client.publish("h", b"body", headers=pairs)
        client.publish("h", headers={"Only": "me"})
        first, second = await got.when(2)
        self.assertEqual((list(first.headers), first.payload), (pairs, b"body"))
        self.assertEqual((list(second.headers), second.payload, second.status), ([("Only", "me")], b"", None))

    async def test_queue_group(self) -> None:
        """Each message goes to one member of a queue group, and to every plain subscription."""
        server = await self.server()
        members = [await self.client(server.url) for _ in range(3)]
        shared, plain = Collector(), Collector()
        for member in members:
            member.subscribe("work", shared, queue="q")
            await member.flush()
        members[0].subscribe("work", plain)
        for number in range(300):
            members[0].publish("work", b"%d" % number)
        await members[0].flush()
        await plain.when(300)
        messages = await shared.when(300)
        self.assertEqual(sorted(int(msg.payload) for msg in messages), list(range(300)))
        for member in members:
            self.assertGreater(member.statistics.in_msgs, 30)

    async def test_ten_thousand(self) -> None:
        """10,000 messages in one go arrive once each, in order."""
        server = await self.server()
        ours, theirs = await self.client(server.url), await self.client(server.url)
        got = Collector()
        ours.subscribe("n", got)
        await ours.flush()
        for number in range(10_000):
            theirs.publish("n", b"%d" % number)
        await theirs.flush()
        messages = await got.when(10_000)
        self.assertEqual([int(msg.payload) for msg in messages], list(range(10_000)))
        await ours.flush()
        self.assertEqual(ours.statistics.in_msgs, 10_000)

    async def test_unsubscribe_after(self) -> None:
        """The server stops at the maximum by itself."""
        server = await self.server()
        client = await self.client(server.url)
        got = Collector()
        client.subscribe("a", got).unsubscribe(2)
        for _ in range(5):
            client.publish("a")
        await client.flush()
        self.assertEqual(len(got.messages), 2)
        self.assertEqual(client.statistics.in_msgs, 2)

    async def test_drain(self) -> None:
        """Everything published before the drain is delivered, nothing after it."""
        server = await self.server()
        client = await self.client(server.url)
        got = Collector()
        subscription = client.subscribe("a", got)
        for _ in range(1000):
            client.publish("a")
        drained = subscription.drain()
        client.publish("a", b"late")
        await drained
        self.assertEqual(len(got.messages), 1000)

    async def test_too_large(self) -> None:
        """The server's own limit is known, and being over it costs no connection."""
        server = await self.server(config_text="max_payload: 1000")
        client = await self.client(server.url)
        self.assertEqual(client.max_payload, 1000)
        self.assertRaises(MaxPayloadExceeded, client.publish, "a", b"x" * 1001)
        client.publish("a", b"x" * 1000)
        await client.flush()
        self.assertEqual(client.statistics.reconnects, 0)

    async def test_large_while_pausing(self) -> None:
        """Far more than a socket holds goes out in order, the transport pausing us on the way."""
        server = await self.server()
        ours = await self.client(server.url, max_buffered_bytes=64 << 20)
        theirs = await self.client(server.url)
        got = Collector()
        theirs.subscribe("a", got)
        await theirs.flush()
        for number in range(40):
            ours.publish("a", b"%07d" % number * 100_000)
        ours.publish("a", b"end")
        await ours.flush()
        messages = await got.when(41)
        self.assertEqual([msg.payload[:7] for msg in messages[:-1]], [b"%07d" % number for number in range(40)])


class RequestTests(NatsTestCase):
    """Request and reply."""

    async def test_request(self) -> None:
        """Many requests at once each get their own answer, headers included."""
        server = await self.server()
        ours, theirs = await self.client(server.url), await self.client(server.url)

        def answer(msg: Msg) -> None:
            assert msg.reply is not None
            theirs.publish(msg.reply, msg.payload.upper(), headers={"Echo": msg.headers.get_all("Q")})

        theirs.subscribe("echo", answer, queue="q")
        await theirs.flush()
        requests = [ours.request("echo", b"m%d" % n, headers={"Q": str(n)}) for n in range(100)]
        for number, request in enumerate(requests):
            msg = await request
            self.assertEqual((msg.payload, msg.headers.get("Echo")), (b"M%d" % number, str(number)))

    async def test_no_responders(self) -> None:
        """Nobody there is known at once, not after the timeout."""
        server = await self.server()
        client = await self.client(server.url)
        await self.assertFailure(client.request("nobody", timeout_s=50), NoResponders)

    async def test_permissions(self) -> None:
        """A request that may not be published fails at once; the connection lives on."""
        server = await self.server(
            config_text="""
            authorization { users = [
                {user: me, password: pw, permissions: {publish: ["ok"], subscribe: ["_INBOX.>", "ok"]}}
            ] }"""
        )
        client = await self.client(server.url.replace("//", "//me:pw@"))
        refused = client.subscribe("forbidden", print)
        await self.assertFailure(client.request("forbidden", timeout_s=50), PermissionsViolation)
        self.assertIsInstance(refused.error, PermissionsViolation)
        got = Collector()
        client.subscribe("ok", got)
        client.publish("ok")
        await got.when(1)
        self.assertEqual(client.statistics.reconnects, 0)


class OutageTests(NatsTestCase):
    """Servers that come and go."""

    async def test_kill_and_restart(self) -> None:
        """Killed and started again: subscriptions are back, and what was published meanwhile arrives."""
        server = await self.server()
        client = await self.client(server.url)
        statuses = StatusCollector(client)
        got, shared = Collector(), Collector()
        client.subscribe("a", got)
        client.subscribe("b", shared, queue="q")
        await client.flush()
        for _ in range(3):
            lost = statuses.when(Status.DISCONNECTED)
            await server.kill()
            await lost
            for number in range(10):
                client.publish("a", b"%d" % number)
            await server.start()
            await client.flush()
            client.publish("b")
            await client.flush()
        self.assertEqual([int(msg.payload) for msg in got.messages], list(range(10)) * 3)
        self.assertEqual(len(shared.messages), 3)
        self.assertEqual(client.statistics.reconnects, 3)

    async def test_away_at_the_start(self) -> None:
        """A server that comes later is found."""
        server = await self.server()
        await server.stop()
        client = self.make_client(server.url)
        got = Collector()
        client.subscribe("a", got)
        client.publish("a", b"early")
        await server.start()
        await client.when_ready()
        await got.when(1)

    async def test_next_server(self) -> None:
        """With the server we are on gone, the other one has us, subscriptions and all."""
        servers = [await self.server(), await self.server()]
        client = await self.client(*(server.url for server in servers))
        statuses = StatusCollector(client)
        got = Collector()
        client.subscribe("a", got)
        await client.flush()
        first = next(server for server in servers if server.url.endswith(f"//{client.server}"))
        back = statuses.when(Status.CONNECTED)
        await first.stop()
        await back
        self.assertNotIn(str(client.server), first.url)
        client.publish("a")
        await got.when(1)

    async def test_learned_server(self) -> None:
        """A server of the cluster that was never named to us takes over."""
        port = await free_port()
        first = await self.server(config_text=f"cluster {{ name: K, listen: 127.0.0.1:{port} }}")
        routes = f"cluster {{ name: K, listen: 127.0.0.1:-1, routes: [nats://127.0.0.1:{port}] }}"
        client = await self.client(first.url)
        statuses = StatusCollector(client)
        second = await self.server(config_text=routes)
        while len(client._pool) < 2:
            # The news comes with an INFO, which nobody outside can wait for; every flush lets some in.
            await client.flush()
        back = statuses.when(Status.CONNECTED)
        await first.kill()
        await back
        self.assertIn(str(client.server), second.url)

    async def test_wrong_password(self) -> None:
        """A refused login is known by its reason and tried again; it works when the server's mind has changed."""
        server = await self.server(config_text="authorization { user: me, password: other }")
        port = server.port
        client = self.make_client(server.url.replace("//", "//me:s3cret@"), reconnect_wait_s=0.01)
        ready = client.when_ready()
        while client.last_error is None:
            await turn()
        self.assertIsInstance(client.last_error, AuthorizationError)
        self.assertNotIn("s3cret", str(client.last_error))
        await server.stop()
        await self.server(config_text="authorization { user: me, password: s3cret }", port=port)
        await ready

    async def test_host_name(self) -> None:
        """A name is looked up."""
        server = await self.server()
        await self.client(f"localhost:{server.port}")

    async def test_token(self) -> None:
        """A token in the URL logs in."""
        server = await self.server(config_text='authorization { token: "t/k:n" }')
        await self.client(server.url.replace("//", "//t%2Fk%3An@"))

    async def test_close(self) -> None:
        """What was published right before the close has arrived after it."""
        server = await self.server()
        ours, theirs = await self.client(server.url), await self.client(server.url)
        got = Collector()
        theirs.subscribe("a", got)
        await theirs.flush()
        for _ in range(1000):
            ours.publish("a")
        await ours.close()
        await got.when(1000)
