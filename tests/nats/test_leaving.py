"""Ends in good order: of a server in lame duck mode, and of our own."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import (
    ClientClosed,
    ClientDraining,
    DrainTimeout,
    Msg,
    Status,
)
from tests.nats.fakes import World, info


class LameDuckTests(SynchronousTestCase):
    """S16: a server that is about to shut down."""

    def test_goes_elsewhere(self) -> None:
        """It is told once; nothing more is taken, what is on its way is, then another server has us at once."""
        world = World("10.0.0.1", "10.0.0.2")
        peer = world.connected()
        got: list[bytes] = []
        world.client.subscribe("a", lambda msg: got.append(msg.payload))
        peer.heard()
        with capturedLogs() as logs:
            peer.say(info(ldm=True))
            peer.say(info(ldm=True))
            self.assertEqual(peer.heard(), b"UNSUB 1\r\nPING\r\n")
            peer.say(b"MSG a 1 1\r\nx\r\n")
            world.client.publish("b")
            self.assertFalse(peer.transport.disconnecting)
            peer.say(b"PONG\r\n")
            self.assertTrue(peer.transport.disconnecting)
            self.assertEqual(peer.heard(), b"PUB b 0\r\n\r\n")
            world.client.publish("c")
            peer.drop()
        self.assertEqual(got, [b"x"])
        self.assertEqual(world.peer().host, "10.0.0.2")
        self.assertEqual(world.peer().log_in(), b"SUB a 1\r\nPUB c 0\r\n\r\nPING\r\n")
        self.assertEqual(len([event for event in logs if "lame duck" in event.get("log_format", "")]), 1)
        self.assertIn(
            ("disconnected", "connection to NATS 10.0.0.1:4222 lost: it is about to shut down"), world.statuses
        )

    def test_server_that_does_not_answer(self) -> None:
        """One that no longer answers is left all the same."""
        world = World("10.0.0.1", "10.0.0.2")
        peer = world.connected()
        peer.say(info(ldm=True))
        world.clock.advance(2)
        self.assertTrue(peer.transport.disconnecting)

    def test_nobody_else(self) -> None:
        """With no other server known we stay to the end; when one becomes known we go there."""
        world = World()
        peer = world.connected()
        world.clock.advance(2)
        peer.heard()
        with capturedLogs() as logs:
            peer.say(info(ldm=True))
            self.assertEqual(peer.heard(), b"")
            peer.say(info(ldm=True, connect_urls=["10.0.0.2:4222"]))
            self.assertEqual(peer.heard(), b"PING\r\n")
            peer.say(b"PONG\r\n")
            peer.drop()
        self.assertEqual(world.peer().host, "10.0.0.2")
        self.assertEqual(len([event for event in logs if "lame duck" in event.get("log_format", "")]), 1)

    def test_at_the_login(self) -> None:
        """A server that is lame already is left for the next one, with a pause when all of them are."""
        world = World("10.0.0.1", "10.0.0.2")
        world.client.subscribe("a", print)
        world.client.start()
        for attempt in (1, 2):
            self.assertEqual(world.attempts, attempt)
            peer = world.peer()
            self.assertEqual(peer.log_in(ldm=True), b"SUB a 1\r\nPING\r\nUNSUB 1\r\nPING\r\n")
            peer.say(b"PONG\r\nPONG\r\n")
            peer.drop()
        self.assertEqual(world.attempts, 2)
        world.clock.advance(0.1)
        self.assertEqual(world.attempts, 3)

    def test_close_meanwhile(self) -> None:
        """The client may be closed while it leaves a server."""
        world = World("10.0.0.1", "10.0.0.2")
        peer = world.connected()
        peer.say(info(ldm=True))
        closed = world.client.close()
        peer.drop()
        self.successResultOf(closed)
        self.assertEqual(world.clock.getDelayedCalls(), [])
        self.assertEqual(world.attempts, 1)

    def test_force_reconnect(self) -> None:
        """The same at our own wish, once per connection; without a connection there is nothing to leave."""
        world = World("10.0.0.1", "10.0.0.2")
        world.client.force_reconnect()
        peer = world.connected()
        world.client.force_reconnect()
        world.client.force_reconnect()
        peer.heard()
        peer.say(b"PONG\r\nPONG\r\n")
        peer.drop()
        self.assertEqual(world.peer().host, "10.0.0.2")
        world.peer().log_in()
        self.assertTrue(world.client.ready)


class DrainTests(SynchronousTestCase):
    """S22: the gentle end."""

    def test_order(self) -> None:
        """Subscriptions end first, then running work does, then replies, then publishing, then the connection."""
        world = World()
        peer = world.connected()
        work: Deferred[None] = Deferred()

        def answer(msg: Msg) -> Deferred[None]:
            return work.addCallback(lambda _: world.client.publish("answer"))

        world.client.subscribe("a", answer)
        world.client.subscribe("b", print)
        asked = world.client.request("svc", timeout_s=50)
        inbox = peer.heard().split(b"PUB svc ")[1].split(b" ")[0]
        drained = world.client.drain()
        self.assertEqual(peer.heard(), b"UNSUB 1\r\nPING\r\nUNSUB 2\r\nPING\r\n")
        self.assertRaises(ClientDraining, world.client.subscribe, "c", print)
        peer.say(b"MSG a 1 1\r\nx\r\nPONG\r\nPONG\r\n")
        self.assertEqual(peer.heard(), b"")
        work.callback(None)
        self.assertEqual(peer.heard(), b"PUB answer 0\r\n\r\n")
        world.client.publish("still")
        self.assertEqual(peer.heard(), b"PUB still 0\r\n\r\n")
        peer.say(b"MSG %b 3 2\r\nhi\r\n" % inbox)
        self.assertEqual(self.successResultOf(asked).payload, b"hi")
        self.assertEqual(peer.heard(), b"UNSUB 3\r\nPING\r\n")
        self.assertRaises(ClientDraining, world.client.publish, "late")
        self.failureResultOf(world.client.request("late"), ClientDraining)
        self.assertFalse(peer.transport.disconnecting)
        peer.say(b"PONG\r\n")
        self.assertTrue(peer.transport.disconnecting)
        self.assertNoResult(drained)
        again = world.client.drain()
        peer.drop()
        self.successResultOf(drained)
        self.successResultOf(again)
        self.successResultOf(world.client.drain())
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_twice(self) -> None:
        """A second drain waits for the end of the first, and does nothing itself."""
        world = World()
        peer = world.connected()
        world.client.subscribe("a", print)
        peer.heard()
        first = world.client.drain()
        self.assertEqual(peer.heard(), b"UNSUB 1\r\nPING\r\n")
        second = world.client.drain(timeout_s=1)
        self.assertEqual(peer.heard(), b"")
        world.clock.advance(2)
        self.assertFalse(peer.transport.disconnecting)
        peer.say(b"PONG\r\n")
        self.assertEqual(peer.heard(), b"PING\r\n")
        self.assertNoResult(second)
        peer.say(b"PONG\r\n")
        peer.drop()
        self.successResultOf(first)
        self.successResultOf(second)

    def test_request_in_a_callback(self) -> None:
        """Work that is being finished may ask others, also as the first request of all."""
        world = World()
        peer = world.connected()
        world.client.subscribe("a", lambda msg: world.client.request("svc").addErrback(lambda _: None))
        drained = world.client.drain()
        peer.heard()
        peer.say(b"MSG a 1 1\r\nx\r\nPONG\r\n")
        inbox = peer.heard().split(b"PUB svc ")[1].split(b" ")[0]
        peer.say(b"MSG %b 2 2\r\nhi\r\n" % inbox)
        self.assertEqual(peer.heard(), b"UNSUB 2\r\nPING\r\n")
        peer.say(b"PONG\r\n")
        peer.drop()
        self.successResultOf(drained)

    def test_failing_work(self) -> None:
        """A Deferred that fails is logged, and is done with."""
        world = World()
        peer = world.connected()
        world.client.subscribe("a", lambda msg: fail(ZeroDivisionError()))
        drained = world.client.drain()
        peer.say(b"MSG a 1 1\r\nx\r\nPONG\r\nPONG\r\nPONG\r\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        peer.drop()
        self.successResultOf(drained)

    def test_timeout(self) -> None:
        """Work that does not end is waited for so long; then it is closed, and said."""
        world = World()
        peer = world.connected()
        world.client.subscribe("a", lambda msg: Deferred())
        drained = world.client.drain(timeout_s=3)
        peer.say(b"MSG a 1 1\r\nx\r\nPONG\r\n")
        world.clock.advance(2.9)
        self.assertFalse(peer.transport.disconnecting)
        world.clock.advance(0.1)
        self.assertTrue(peer.transport.disconnecting)
        peer.drop()
        self.assertEqual(self.failureResultOf(drained, DrainTimeout).value.timeout_s, 3)
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_without_a_connection(self) -> None:
        """What was published waits for a connection, so long; subscriptions have nothing to wait for."""
        world = World()
        world.client.subscribe("a", print)
        world.client.publish("b")
        world.client.start()
        world.peer().refuse()
        drained = world.client.drain()
        world.clock.advance(0.1)
        peer = world.peer()
        self.assertEqual(peer.log_in(), b"PUB b 0\r\n\r\nPING\r\nPING\r\n")
        peer.say(b"PONG\r\nPONG\r\n")
        peer.drop()
        self.successResultOf(drained)

    def test_connection_lost_meanwhile(self) -> None:
        """When the connection ends in the midst of it, running work is finished and its answers go out on the next."""
        world = World("10.0.0.1", "10.0.0.2")
        peer = world.connected()
        work: Deferred[None] = Deferred()
        world.client.subscribe("a", lambda msg: work)
        drained = world.client.drain()
        peer.say(b"MSG a 1 1\r\nx\r\n")
        peer.drop()
        peer = world.peer()
        self.assertEqual(peer.log_in(), b"PING\r\n")
        world.client.publish("answer")
        work.callback(None)
        self.assertEqual(peer.heard(), b"PUB answer 0\r\n\r\nPING\r\n")
        peer.drop()
        world.clock.advance(1)
        peer = world.peer()
        peer.log_in()
        peer.say(b"PONG\r\nPONG\r\n")
        peer.drop()
        self.successResultOf(drained)

    def test_not_begun(self) -> None:
        """A client that was never started, or is closed, has nothing to drain."""
        world = World()
        self.successResultOf(world.client.drain())
        self.successResultOf(world.client.drain())
        self.assertEqual(world.client.status, Status.CLOSED)

    def test_close_meanwhile(self) -> None:
        """A close ends the drain, which says so."""
        for say in (b"", b"MSG a 1 1\r\nx\r\nPONG\r\n"):
            world = World()
            peer = world.connected()
            world.client.subscribe("a", lambda msg: Deferred())
            drained = world.client.drain()
            peer.say(say)
            closed = world.client.close()
            peer.drop()
            self.successResultOf(closed)
            self.failureResultOf(drained, ClientClosed)
            self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """Who no longer wants to wait closes at once."""
        world = World()
        peer = world.connected()
        world.client.subscribe("a", lambda msg: Deferred())
        drained = world.client.drain()
        peer.say(b"MSG a 1 1\r\nx\r\nPONG\r\n")
        drained.cancel()
        self.assertTrue(peer.transport.disconnecting)
        peer.drop()
        self.failureResultOf(drained, CancelledError)
