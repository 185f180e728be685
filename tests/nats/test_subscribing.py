"""Messages in, and knowing that the server has taken what was sent."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import (
    ClientClosed,
    ConnectionLost,
    FlushTimeout,
    Msg,
)
from tests.nats.fakes import World


class SubscribeTests(SynchronousTestCase):
    """Messages in."""

    def setUp(self) -> None:
        self.world = World()
        self.got: list[Msg] = []

    def test_messages(self) -> None:
        """A subscription with its queue group; its messages in order; an unknown sid is ignored (S13)."""
        peer = self.world.connected()
        subscription = self.world.client.subscribe("a.>", self.got.append, queue="q")
        self.assertEqual(peer.heard(), b"SUB a.> q 1\r\n")
        peer.say(b"MSG a.b 1 r 1\r\nx\r\nMSG z 99 1\r\n-\r\nMSG a.c 1 1\r\ny\r\n")
        self.assertEqual(self.got, [Msg("a.b", 1, "r", b"x"), Msg("a.c", 1, None, b"y")])
        self.assertEqual((subscription.subject, subscription.queue, subscription.delivered), ("a.>", "q", 2))
        self.assertEqual(self.world.client.statistics.in_msgs, 3)

    def test_unsubscribe(self) -> None:
        """After unsubscribe nothing is delivered, and a second one says nothing."""
        peer = self.world.connected()
        subscription = self.world.client.subscribe("a", self.got.append)
        subscription.unsubscribe()
        subscription.unsubscribe()
        subscription.unsubscribe(5)
        self.assertEqual(peer.heard(), b"SUB a 1\r\nUNSUB 1\r\n")
        peer.say(b"MSG a 1 0\r\n\r\n")
        self.assertEqual(self.got, [])

    def test_unsubscribe_after(self) -> None:
        """S11: two of three messages are delivered, then it is over."""
        peer = self.world.connected()
        subscription = self.world.client.subscribe("a", self.got.append, queue="q")
        subscription.unsubscribe(2)
        self.assertEqual(peer.heard(), b"SUB a q 1\r\nUNSUB 1 2\r\n")
        peer.say(b"MSG a 1 0\r\n\r\n" * 3)
        self.assertEqual((len(self.got), subscription.delivered), (2, 2))
        peer.drop()
        self.world.clock.advance(1)
        self.assertEqual(self.world.peer().log_in(), b"PING\r\n")

    def test_unsubscribe_after_what_came_already(self) -> None:
        """A maximum that is reached already ends it now."""
        peer = self.world.connected()
        subscription = self.world.client.subscribe("a", self.got.append)
        peer.say(b"MSG a 1 0\r\n\r\n" * 2)
        peer.heard()
        subscription.unsubscribe(2)
        self.assertEqual(peer.heard(), b"UNSUB 1\r\n")

    def test_remaining_after_reconnect(self) -> None:
        """The next server is told how many are left; it counts from its own SUB, also for a later maximum."""
        peer = self.world.connected()
        first = self.world.client.subscribe("a", self.got.append)
        second = self.world.client.subscribe("b", self.got.append)
        first.unsubscribe(5)
        peer.say(b"MSG a 1 0\r\n\r\n" * 2 + b"MSG b 2 0\r\n\r\n" * 3)
        peer.drop()
        self.world.clock.advance(1)
        peer = self.world.peer()
        self.assertEqual(peer.log_in(), b"SUB a 1\r\nUNSUB 1 3\r\nSUB b 2\r\nPING\r\n")
        peer.say(b"MSG b 2 0\r\n\r\n")
        second.unsubscribe(10)
        self.assertEqual(peer.heard(), b"UNSUB 2 7\r\n")

    def test_reconnect_order(self) -> None:
        """S18: subscriptions, then messages, then a PING; sids stay; what was ended while away is not asked for."""
        peer = self.world.connected()
        self.world.client.subscribe("a", self.got.append)
        gone = self.world.client.subscribe("b", self.got.append)
        peer.say(b"MSG a 1 5\r\nab")
        peer.drop()
        gone.unsubscribe()
        self.world.client.publish("x")
        self.world.client.subscribe("c", self.got.append, queue="q")
        self.world.clock.advance(1)
        peer = self.world.peer()
        self.assertEqual(peer.log_in(), b"SUB a 1\r\nSUB c q 3\r\nPUB x 0\r\n\r\nPING\r\n")
        peer.say(b"MSG a 1 2\r\nhi\r\n")
        self.assertEqual([msg.payload for msg in self.got], [b"hi"])
        self.assertEqual(self.world.client.statistics.reconnects, 1)

    def test_late_events(self) -> None:
        """S27: bytes and the end of an old connection do not touch the new one."""
        old = self.world.connected()
        self.world.client.subscribe("a", self.got.append)
        old_protocol = old.transport.protocol
        old.drop()
        self.world.clock.advance(1)
        self.world.peer().log_in()
        old_protocol.dataReceived(b"MSG a 1 0\r\n\r\n")
        old_protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.got, [])
        self.assertTrue(self.world.client.ready)

    def test_callback_raises(self) -> None:
        """S12: an exception of a callback is logged and harms no other message."""

        def fail(msg: Msg) -> None:
            raise ZeroDivisionError

        peer = self.world.connected()
        self.world.client.subscribe("a", fail)
        self.world.client.subscribe("b", self.got.append)
        peer.say(b"MSG a 1 0\r\n\r\nMSG b 2 0\r\n\r\n")
        self.assertEqual(len(self.got), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.world.client.ready)

    def test_callback_acts(self) -> None:
        """S12: a callback may publish, subscribe, unsubscribe and close in the middle of a chunk."""
        peer = self.world.connected()
        client = self.world.client

        def act(msg: Msg) -> None:
            self.got.append(msg)
            if len(self.got) == 1:
                client.publish("out")
                client.subscribe("late", self.got.append)
            elif len(self.got) == 2:
                subscription.unsubscribe()

        subscription = client.subscribe("a", act)
        client.subscribe("b", lambda msg: closed.append(client.close()))
        closed: list[Any] = []
        peer.heard()
        peer.say(b"MSG a 1 0\r\n\r\n" * 4 + b"MSG b 2 0\r\n\r\n" * 2)
        self.assertEqual(len(self.got), 2)
        self.assertEqual(len(closed), 1)
        self.assertEqual(peer.heard(), b"PUB out 0\r\n\r\nSUB late 3\r\nUNSUB 1\r\n")
        self.assertTrue(peer.transport.disconnecting)

    def test_drain(self) -> None:
        """S22: UNSUB, PING; what comes until the PONG is delivered, nothing after."""
        peer = self.world.connected()
        subscription = self.world.client.subscribe("a", self.got.append)
        peer.heard()
        drained = subscription.drain()
        self.assertEqual(peer.heard(), b"UNSUB 1\r\nPING\r\n")
        peer.say(b"MSG a 1 0\r\n\r\n")
        self.assertNoResult(drained)
        peer.say(b"PONG\r\nMSG a 1 0\r\n\r\n")
        self.successResultOf(drained)
        self.assertEqual(len(self.got), 1)
        self.successResultOf(subscription.drain())

    def test_drain_when_the_connection_ends(self) -> None:
        """With the connection everything has ended that could come; it is not asked for again."""
        peer = self.world.connected()
        drained = self.world.client.subscribe("a", self.got.append).drain()
        peer.drop()
        self.successResultOf(drained)
        self.successResultOf(self.world.client.subscribe("b", self.got.append).drain())
        self.world.clock.advance(1)
        self.assertEqual(self.world.peer().log_in(), b"PING\r\n")

    def test_drain_without_answer(self) -> None:
        """A server that does not answer is told, and the subscription is over."""
        peer = self.world.connected()
        drained = self.world.client.subscribe("a", self.got.append).drain()
        self.world.clock.advance(10)
        self.failureResultOf(drained, FlushTimeout)
        peer.say(b"MSG a 1 0\r\n\r\n")
        self.assertEqual(self.got, [])


class FlushTests(SynchronousTestCase):
    """Knowing that the server has it."""

    def setUp(self) -> None:
        self.world = World()

    def test_order(self) -> None:
        """S7: the PING comes after what was published; overlapping flushes are answered in order."""
        peer = self.world.connected()
        self.world.client.publish("a")
        flushes = [self.world.client.flush() for _ in range(3)]
        self.assertEqual(peer.heard(), b"PUB a 0\r\n\r\n" + b"PING\r\n" * 3)
        for flush in flushes:
            self.assertNoResult(flush)
            peer.say(b"PONG\r\n")
            self.successResultOf(flush)
        self.assertEqual(len(self.world.clock.getDelayedCalls()), 1)

    def test_waits_for_a_connection(self) -> None:
        """A flush without a connection is one of what waits to be sent."""
        self.world.client.publish("a")
        flush = self.world.client.flush()
        self.world.client.start()
        peer = self.world.peer()
        self.assertEqual(peer.log_in(), b"PUB a 0\r\n\r\nPING\r\nPING\r\n")
        peer.say(b"PONG\r\n")
        self.assertNoResult(flush)
        peer.say(b"PONG\r\n")
        self.successResultOf(flush)

    def test_failures(self) -> None:
        """No answer in time, the end of the connection, close: each has its error."""
        peer = self.world.connected()
        late = self.world.client.flush(timeout_s=2)
        self.world.clock.advance(2)
        self.assertEqual(self.failureResultOf(late, FlushTimeout).value.timeout_s, 2)
        lost = self.world.client.flush()
        peer.drop()
        self.failureResultOf(lost, ConnectionLost)
        away = self.world.client.flush()
        closed = self.world.client.close()
        self.failureResultOf(away, ClientClosed)
        self.failureResultOf(self.world.client.flush(), ClientClosed)
        self.successResultOf(closed)

    def test_cancel(self) -> None:
        """A cancelled flush leaves the others alone."""
        peer = self.world.connected()
        first, second = self.world.client.flush(), self.world.client.flush()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        peer.say(b"PONG\r\n")
        self.assertNoResult(second)
        peer.say(b"PONG\r\n")
        self.successResultOf(second)
