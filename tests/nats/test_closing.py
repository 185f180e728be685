"""The end of a client, wherever it stands."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import (
    ClientClosed,
    Status,
)
from tests.nats.fakes import Peer, World, info


class CloseTests(SynchronousTestCase):
    """S21: close in every state ends everything."""

    def close(self, world: World, peer: Peer | None = None) -> None:
        """Close, twice; let the peer's socket end; nothing may be left."""
        ready = world.client.when_ready() if not world.client.ready else None
        closed, again = world.client.close(), world.client.close()
        if ready is not None:
            self.failureResultOf(ready, ClientClosed)
        if peer is not None and not peer.transport.lost:
            self.assertTrue(peer.transport.disconnecting or peer.transport.aborted)
            self.assertNoResult(closed)
            if peer.transport.disconnecting:
                peer.drop()
            world.clock.advance(0)
        self.successResultOf(closed)
        self.successResultOf(again)
        self.successResultOf(world.client.close())
        self.assertEqual(world.clock.getDelayedCalls(), [])
        attempts = world.attempts
        world.clock.advance(60)
        self.assertEqual(world.attempts, attempts)
        self.assertEqual(world.statuses[-1][0], "closed")
        self.assertRaises(ClientClosed, world.client.publish, "a")
        self.assertRaises(ClientClosed, world.client.subscribe, "a", print)
        self.assertRaises(ClientClosed, world.client.start)
        self.failureResultOf(world.client.request("a"), ClientClosed)
        self.failureResultOf(world.client.when_ready(), ClientClosed)

    def test_before_start(self) -> None:
        """Nothing has begun."""
        self.close(World())

    def test_connecting(self) -> None:
        """The attempt is given up, and no other server is tried."""
        for urls in (["10.0.0.1"], ["10.0.0.1", "10.0.0.2"]):
            world = World(*urls)
            world.client.start()
            connector = world.peer().connector
            self.close(world)
            self.assertTrue(connector.stoppedConnecting)
            self.assertEqual(world.attempts, 1)

    def test_in_the_login(self) -> None:
        """Before INFO and after it the socket is closed."""
        for data in (b"", info()):
            world = World()
            world.client.start()
            peer = world.peer()
            peer.accept()
            if data:
                peer.say(data)
            self.close(world, peer)

    def test_connected(self) -> None:
        """Open requests and flushes fail, the socket is closed."""
        world = World()
        peer = world.connected()
        request, flush = world.client.request("a"), world.client.flush()
        self.close(world, peer)
        self.failureResultOf(request, ClientClosed)
        self.failureResultOf(flush, ClientClosed)

    def test_connected_to_a_peer_that_does_not_read(self) -> None:
        """After a second the socket is closed by force."""
        world = World()
        peer = world.connected()
        closed = world.client.close()
        world.clock.advance(0.9)
        self.assertNoResult(closed)
        world.clock.advance(0.1)
        world.clock.advance(0)
        self.assertTrue(peer.transport.aborted)
        self.successResultOf(closed)
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_pausing(self) -> None:
        """The pause between rounds is cut short."""
        world = World()
        world.client.start()
        world.peer().refuse()
        self.close(world)

    def test_given_up(self) -> None:
        """While a stale connection is being aborted."""
        world = World()
        peer = world.connected()
        peer.say(b"nonsense\r\n")
        self.close(world, peer)

    def test_draining(self) -> None:
        """A drain is over with the close."""
        world = World()
        peer = world.connected()
        drained = world.client.subscribe("a", print).drain()
        self.close(world, peer)
        self.successResultOf(drained)

    def test_from_status(self) -> None:
        """The close may be asked for by who hears of a change, in the midst of it."""
        for word in ("connected", "disconnected"):
            world = World()
            closed: list[Any] = []

            def close_at(
                old: Status, new: Status, reason: str, at: str = word, w: World = world, c: list[Any] = closed
            ) -> None:
                if new.value == at:
                    c.append(w.client.close())

            world.client.watch_status(close_at)
            world.client.start()
            peer = world.peer()
            peer.log_in()
            if word == "disconnected":
                peer.drop()
            else:
                self.assertNoResult(closed[0])
            self.close(world, peer)
            self.successResultOf(closed[0])

    def test_from_ready(self) -> None:
        """The same for who waited for ready."""
        world = World()
        closed = world.client.when_ready().addCallback(lambda _: world.client.close())
        world.client.start()
        peer = world.peer()
        peer.log_in()
        self.close(world, peer)
        self.successResultOf(closed)

    def test_what_was_published_is_sent(self) -> None:
        """Messages published before the close go out before the socket is closed."""
        world = World()
        peer = world.connected()
        world.client.publish("a")
        closed = world.client.close()
        self.assertEqual(peer.heard(), b"PUB a 0\r\n\r\n")
        peer.drop()
        self.successResultOf(closed)
