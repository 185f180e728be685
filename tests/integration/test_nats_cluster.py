"""A client in a cluster that loses nodes."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs

from natsconnector.nats import Status
from tests.integration.nats_case import NatsTestCase, StatusCollector
from tests.integration.nats_cluster import Cluster, Traffic, start_cluster, until

KILLS = 3


class ClusterTests(NatsTestCase):
    """Three nodes, under load."""

    async def cluster(self, more: str = "") -> Cluster:
        """A cluster until the end of the test."""
        cluster = await start_cluster(more=more)
        self.addCleanup(cluster.stop)
        return cluster

    async def test_kills(self) -> None:
        """Each kill of the asker's node: every request is answered, every subscription lives, one line tells it."""
        cluster = await self.cluster()
        traffic = Traffic(cluster, rate=200)
        self.addCleanup(traffic.stop)
        await traffic.start()
        # Servers must be able to name each other before one of them goes.
        await until(lambda: len(traffic.asker.servers) == 3)
        for _ in range(KILLS):
            killed = cluster.node(traffic.asker.server)
            affected = traffic.on(str(traffic.asker.server))
            traffic.away_s.clear()
            answered = traffic.answered
            with capturedLogs() as logs:
                await killed.kill()
                await until(lambda n=affected: len(traffic.away_s) == n)  # type: ignore[misc]
            await traffic.check_subscriptions()
            await until(lambda before=answered: traffic.answered > before + 100)  # type: ignore[misc]
            # Back with the first round: nobody had to wait for a back-off.
            self.assertEqual([event for event in logs if "no NATS server for" in event.get("log_format", "")], [])
            told = [event for event in logs if event.get("log_format", "").startswith("reconnected to NATS")]
            self.assertEqual(len(told), affected)
            self.assertTrue(all(event["lost_server"] == killed.url.removeprefix("nats://") for event in told))
            failures = [event for event in logs if event["log_level"] >= LogLevel.error]
            self.assertEqual([event for event in failures if "nats-server has ended" not in str(event)], [])
            await killed.start()
        await traffic.stop()
        self.assertEqual(traffic.answered, traffic.asked)

    async def test_lame_duck(self) -> None:
        """A node in lame duck mode is left at once, in good order: nothing that was on its way is lost."""
        cluster = await self.cluster('lame_duck_duration: "30s", lame_duck_grace_period: "10s"')
        client = await self.client(*cluster.urls)
        sender = await self.client(*cluster.urls)
        node = cluster.node(client.server)
        while sender.server == client.server:
            sender.force_reconnect()
            await until(lambda: sender.ready and sender._session._leaving is None)
        got: list[bytes] = []
        client.subscribe("a", lambda msg: got.append(msg.payload))
        await client.flush()
        await until(lambda: len(client._pool) == 3)
        statuses = StatusCollector(client)
        lost, back = statuses.when(Status.DISCONNECTED), statuses.when(Status.CONNECTED)
        node.lame_duck()
        self.assertIn("about to shut down", await lost)
        await back
        self.assertNotEqual(cluster.node(client.server), node)
        await client.flush()
        before = len(got)

        def heard() -> bool:
            sender.publish("a", b"x")
            return len(got) > before

        await until(heard)
        await node.kill()

    async def test_leaving_loses_nothing_on_its_way(self) -> None:
        """A client that changes servers gets all that was sent to it before it stopped listening."""
        cluster = await self.cluster()
        client, sender = await self.client(cluster.urls[0]), await self.client(cluster.urls[0])
        await until(lambda: len(client._pool) == 3)
        got: list[bytes] = []
        client.subscribe("a", lambda msg: got.append(msg.payload))
        await client.flush()
        statuses = StatusCollector(client)
        back = statuses.when(Status.CONNECTED)
        for number in range(1000):
            sender.publish("a", b"%d" % number)
        await sender.flush()
        client.force_reconnect()
        await back
        self.assertNotEqual(client.server, sender.server)
        self.assertEqual(got, [b"%d" % number for number in range(1000)])
