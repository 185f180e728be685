"""The client on connections that are cut, stall, drip, close by half, or are not read from."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats import ConnectionLost, NatsClient, OutboundBufferFull, Status, Tls
from tests.integration.nats_case import Collector, NatsTestCase, StatusCollector, reactor, turn
from tests.integration.nats_cluster import until
from tests.integration.nats_proxy import Damage, Proxy
from tests.nats.issuing import Authority

GOOD = Damage()


def first(damage: Damage) -> Callable[[int], Damage]:
    """The first connection is damaged, the others are good."""
    return lambda number: damage if number == 0 else GOOD


async def flushed(client: NatsClient) -> None:
    """Flush until a connection lasts so long."""
    while True:
        try:
            return await client.flush()
        except ConnectionLost:
            continue


class ProxyTests(NatsTestCase):
    """What a bad network does."""

    timeout = 120

    def proxy(self, server: NatsServer, damage: Callable[[int], Damage]) -> Proxy:
        """A proxy until the end of the test."""
        proxy = Proxy(server.port, damage)
        self.addCleanup(proxy.stop)
        return proxy

    async def through(self, server: NatsServer, damage: Damage, **options: Any) -> Proxy:
        """A client whose first connection is damaged gets through all the same, and is closed again."""
        proxy = Proxy(server.port, first(damage))
        client = NatsClient(reactor, [proxy.url], reconnect_wait_s=0.001, **options)
        client.start()
        try:
            await proxy.when_links(2)
            await flushed(client)
        finally:
            await client.close()
            await proxy.stop()
        return proxy

    async def all_through(self, server: NatsServer, damages: list[Damage], **options: Any) -> list[Proxy]:
        """The same for each of these, some side by side."""
        proxies: list[Proxy] = []
        for begin in range(0, len(damages), 25):
            some = damages[begin : begin + 25]
            proxies += await gatherResults(
                [Deferred.fromCoroutine(self.through(server, damage, **options)) for damage in some],
                consumeErrors=True,
            )
        return proxies

    async def whole_login(self, server: NatsServer, **options: Any) -> tuple[int, bytes]:
        """How many bytes the server sends until a login and a flush are done, and what the client sends."""
        proxy = self.proxy(server, lambda _: GOOD)
        client = await self.client(proxy.url, **options)
        await client.flush()
        sizes = proxy.down[0], bytes(proxy.up[0])
        await client.close()
        return sizes

    async def test_cut_at_every_byte(self) -> None:
        """Wherever in the login either direction is cut: the next connection is good."""
        server = await self.server()
        down, up = await self.whole_login(server)
        self.assertGreater(down, 300)
        damages = [Damage(cut_down=cut) for cut in range(down)] + [Damage(cut_up=cut) for cut in range(len(up))]
        await self.all_through(server, damages)

    async def test_cut_tls(self) -> None:
        """The same in TLS, at some bytes; and nothing but TLS is ever sent."""
        authority = Authority(Path(self.mktemp()))
        cert, key = authority.issue("server", "127.0.0.1")
        server = await self.server(config_text=f'tls {{ cert_file: "{cert}", key_file: "{key}" }}')
        tls = Tls(ca=authority.ca)
        down, up = await self.whole_login(server, tls=tls)
        self.assertGreater(down, 800)
        # Signatures differ in length from one to the next: not up to the very end.
        damages = [Damage(cut_down=cut) for cut in range(0, down - 50, 23)]
        damages += [Damage(cut_up=cut) for cut in range(0, len(up) - 50, 23)]
        for proxy in await self.all_through(server, damages, tls=tls):
            for sent in proxy.up:
                # A record of TLS begins with its type, 20 to 23, and its version, 3.x.
                self.assertIsNone(re.match(rb"[^\x14-\x17]|.[^\x03]", sent, re.DOTALL), bytes(sent[:20]))

    async def test_stall_in_the_login(self) -> None:
        """A server that falls silent in its login costs the timeout, no more."""
        server = await self.server()
        for stall in (0, 100):
            await self.through(server, Damage(stall_down=stall), connect_timeout_s=0.1)

    async def test_stall_when_connected(self) -> None:
        """A connection that falls silent is found by its PINGs; subscriptions are back on the next one."""
        server = await self.server()
        down, _ = await self.whole_login(server)
        proxy = self.proxy(server, first(Damage(stall_down=down)))
        client = await self.client(proxy.url, ping_interval_s=0.05, reconnect_wait_s=0.001)
        got = Collector()
        client.subscribe("a", got)
        reason = await StatusCollector(client).when(Status.DISCONNECTED)
        self.assertIn("stale connection: 2 PINGs without an answer", reason)
        await client.when_ready()
        client.publish("a")
        await got.when(1)

    async def test_half_close(self) -> None:
        """A server's end of file is the end of the connection, told once."""
        server = await self.server()
        down, _ = await self.whole_login(server)
        proxy = self.proxy(server, first(Damage(half_close_down=down)))
        client = self.make_client(proxy.url, reconnect_wait_s=0.001)
        statuses = StatusCollector(client)
        await statuses.when(Status.DISCONNECTED)
        await client.when_ready()
        await client.flush()
        changes = [status for status, _ in statuses.changes]
        self.assertEqual(changes, [Status.CONNECTED, Status.DISCONNECTED, Status.CONNECTED])

    async def test_drip_and_delay(self) -> None:
        """Byte by byte, and late, everything comes as it was sent."""
        server = await self.server()
        for damage in (Damage(drip=True), Damage(delay_s=0.05)):
            proxy = self.proxy(server, lambda _, damage=damage: damage)  # type: ignore[misc]
            client = await self.client(proxy.url)
            got = Collector()
            client.subscribe("a", got)
            payloads = [b"", b"\r\nPING\r\n", bytes(range(256)) * 4]
            for payload in payloads:
                client.publish("a", payload, headers={"A": "1"})
            self.assertEqual([msg.payload for msg in await got.when(3)], payloads)
            self.assertEqual(client.statistics.reconnects, 0)

    async def test_peer_that_stops_reading(self) -> None:
        """What waits for it is bounded, publish says when it is full, and only whole messages arrive afterwards."""
        server = await self.server()
        proxy = self.proxy(server, lambda _: GOOD)
        got: list[bytes] = []
        listener = await self.client(server.url)
        listener.subscribe("a", lambda msg: got.append(msg.payload))
        await listener.flush()
        limit = 1 << 20
        client = await self.client(proxy.url, max_buffered_bytes=limit, ping_interval_s=0.3, reconnect_wait_s=0.001)
        proxy.links[0].transport.pauseProducing()
        sent = refused = 0
        while refused < 20:  # the sockets' own buffers have to be full too
            try:
                client.publish("a", b"%06d" % sent * 5000)
            except OutboundBufferFull:
                refused += 1
                await turn()
            else:
                sent += 1
                refused = 0
        self.assertGreater(client._session.buffer.size, limit // 2)
        self.assertLessEqual(client._session.buffer.size, limit)
        statuses = StatusCollector(client)
        await statuses.when(Status.DISCONNECTED)
        await client.when_ready()
        client.publish("a", b"last")
        await until(lambda: bool(got) and got[-1] == b"last")
        numbers = [int(payload[:6]) for payload in got[:-1]]
        self.assertEqual(numbers, list(range(numbers[0], sent)))
        self.assertTrue(all(payload == payload[:6] * 5000 for payload in got[:-1]))
