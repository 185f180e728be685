"""The client in memory: sessions with scripted servers."""

from __future__ import annotations

import contextlib
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import (
    AuthorizationError,
    BadHeader,
    BadServerUrl,
    BadSubject,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    FlushTimeout,
    HeadersNotSupported,
    MaxPayloadExceeded,
    Msg,
    NatsClient,
    NoResponders,
    OutboundBufferFull,
    PermissionsViolation,
    RequestTimeout,
    Status,
)
from tests.nats import profile  # noqa: F401
from tests.nats.fakes import Peer, World, info


class ConnectTests(SynchronousTestCase):
    """Getting there."""

    def test_ready(self) -> None:
        """Ready is told to all who wait for it, and at once to those who ask later."""
        world = World()
        early = world.client.when_ready()
        world.client.start()
        world.client.start()
        self.assertEqual(world.attempts, 1)
        self.assertFalse(world.client.ready)
        self.assertIsNone(world.client.server)
        self.assertNoResult(early)
        world.peer().log_in()
        self.successResultOf(early)
        self.successResultOf(world.client.when_ready())
        self.assertTrue(world.client.ready)
        self.assertEqual(world.client.server, "10.0.0.1:4222")
        self.assertEqual(world.client.server_info["version"], "2.15.1")
        self.assertEqual(world.statuses, [("connected", "10.0.0.1:4222")])

    def test_ready_in_time(self) -> None:
        """With a time-out the reason why there is no connection is the error."""
        world = World()
        self.assert_not_ready(world, "not started")
        world.client.start()
        self.assert_not_ready(world, "not ended yet")
        world.peer().refuse()
        self.assert_not_ready(world, "Connection was refused")
        world.clock.advance(5)
        waiting = world.client.when_ready(timeout_s=1)
        world.peer().log_in()
        self.successResultOf(waiting)

    def assert_not_ready(self, world: World, why: str) -> None:
        """There is no connection within a short while, because of this."""
        waiting = world.client.when_ready(timeout_s=0.01)
        world.clock.advance(0.01)
        self.assertIn(why, str(self.failureResultOf(waiting, ConnectFailed).value))

    def test_cancelled_wait(self) -> None:
        """Who no longer wants to wait for ready is forgotten."""
        world = World()
        waiting = world.client.when_ready()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        world.connected()

    def test_every_failure_is_next_server(self) -> None:
        """Refused, silent, closed, nonsense, refused login: each is followed by the next server."""
        world = World(*(f"nats://10.0.0.{n}" for n in range(1, 9)))
        world.client.start()

        def silent(peer: Peer) -> None:
            peer.accept()
            world.clock.advance(5)

        def stalled(peer: Peer) -> None:
            peer.accept()
            peer.say(info())
            world.clock.advance(5)

        def unreachable(peer: Peer) -> None:
            world.clock.advance(5)

        def closed(peer: Peer) -> None:
            peer.accept()
            peer.drop()

        def nonsense(peer: Peer) -> None:
            peer.accept()
            peer.say(b"SSH-2.0-OpenSSH\r\n")

        def bad_info(peer: Peer) -> None:
            peer.accept()
            peer.say(b"INFO nothing\r\n")

        def bad_login(peer: Peer) -> None:
            peer.accept()
            peer.say(info() + b"-ERR 'Authorization Violation'\r\n")
            peer.drop()

        faults = (Peer.refuse, silent, stalled, unreachable, closed, nonsense, bad_info, bad_login)
        with capturedLogs() as logs:
            for number, fault in enumerate(faults, start=1):
                self.assertEqual(world.attempts, number)
                peer = world.peer()
                self.assertEqual(peer.host, f"10.0.0.{number}")
                fault(peer)
                world.clock.advance(0)
            self.assertIsInstance(world.client.last_error, AuthorizationError)
            self.assertEqual(world.attempts, len(faults))
            world.clock.advance(0.1)
        self.assertEqual(world.attempts, len(faults) + 1)
        (warning,) = [event for event in logs if event["log_level"] is LogLevel.warn]
        for reason in (
            "10.0.0.1:4222: Connection was refused",
            "10.0.0.2:4222: timeout of 5 s while waiting for INFO",
            "10.0.0.3:4222: timeout of 5 s while waiting for the answer to CONNECT",
            "10.0.0.4:4222: timeout of 5 s while waiting for a connection",
            "10.0.0.5:4222: closed by the server while waiting for INFO",
            "SSH-2.0-OpenSSH",
            "INFO without readable JSON",
            "10.0.0.8:4222: Authorization Violation (we have no credentials)",
        ):
            self.assertIn(reason, warning["reasons"])

    def test_backoff(self) -> None:
        """S20: no pause between servers, one after each round, growing; a login resets it."""
        world = World("10.0.0.1", "10.0.0.2")
        world.client.start()
        for ceiling_s in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
            attempts = world.attempts
            world.peer().refuse()
            self.assertEqual(world.attempts, attempts + 1)
            world.peer().refuse()
            self.assertEqual(world.attempts, attempts + 1)
            world.clock.advance(ceiling_s / 2 - 0.001)
            self.assertEqual(world.attempts, attempts + 1)
            world.clock.advance(ceiling_s / 2 + 0.001)
            self.assertEqual(world.attempts, attempts + 2)
        peer = world.peer()
        peer.log_in()
        world.clock.advance(2)
        attempts = world.attempts
        peer.drop()
        self.assertEqual(world.attempts, attempts + 1)
        world.peer().refuse()
        world.peer().refuse()
        world.clock.advance(0.1)
        self.assertEqual(world.attempts, attempts + 3)

    def test_delays_grow_with_refused_logins(self) -> None:
        """A server that takes the connection but not the login is not hammered."""
        world = World()
        world.client.start()
        delays = []
        for attempt in range(1, 8):
            peer = world.peer()
            peer.accept()
            peer.say(info() + b"-ERR 'Authorization Violation'\r\n")
            world.clock.advance(0)
            begun = world.clock.seconds()
            while world.attempts == attempt:
                world.clock.advance(0.01)
            delays.append(world.clock.seconds() - begun)
        self.assertEqual(delays, sorted(delays))
        self.assertGreater(delays[-1], 2.0)

    def test_server_that_drops_us(self) -> None:
        """A server that lets us in and drops us at once is not hammered either."""
        world = World()
        world.client.start()
        for _ in range(6):
            peer = world.peer()
            peer.log_in()
            attempts = world.attempts
            peer.drop()
            self.assertEqual(world.attempts, attempts)
            world.clock.advance(5)
            self.assertEqual(world.attempts, attempts + 1)
        self.assertGreater(world.client._dialer._backoff.next_s(), 2.0)

    def test_outage_is_told_rarely(self) -> None:
        """An outage is told when it begins, when its reason changes, and each time it has doubled."""
        world = World()
        with capturedLogs() as logs:
            world.client.start()
            while world.clock.seconds() < 3600:
                world.peer().refuse()
                world.clock.advance(5)
        warnings = [event for event in logs if event["log_level"] is LogLevel.warn]
        self.assertTrue(3 < len(warnings) < 20, len(warnings))
        with capturedLogs() as logs:
            world.peer().accept()
            world.clock.advance(20)
        self.assertEqual(len([e for e in logs if e["log_level"] is LogLevel.warn]), 1)

    def test_no_secret_is_logged(self) -> None:
        """Neither logs nor states nor errors hold a password or a token."""
        world = World("nats://me:s3cret@10.0.0.1", "nats://s3cret@10.0.0.2")
        with capturedLogs() as logs:
            world.client.start()
            world.peer().refuse()
            peer = world.peer()
            peer.accept()
            peer.say(info() + b"-ERR 'Authorization Violation'\r\n")
            world.clock.advance(0)
            world.clock.advance(1)
            peer = world.peer()
            peer.log_in()
            peer.drop()
        shown = repr((logs, world.statuses, world.client.server, world.client.last_error))
        self.assertIn("10.0.0.1", shown)
        self.assertNotIn("s3cret", shown)

    def test_bad_arguments(self) -> None:
        """Mistakes in the arguments are told at once."""
        self.assertRaises(BadServerUrl, World, "http://x")
        self.assertRaises(BadSubject, World, "x", inbox_prefix="a b\r\n")


class PublishTests(SynchronousTestCase):
    """Messages out."""

    def test_frames(self) -> None:
        """S8: plain, with reply, with headers."""
        world = World()
        peer = world.connected()
        world.client.publish("a")
        world.client.publish("ü.x", b"hi", reply="r")
        world.client.publish("NOTIFY", headers={"Bar": "Baz"})
        self.assertEqual(
            peer.heard(),
            b"PUB a 0\r\n\r\nPUB \xc3\xbc.x r 2\r\nhi\r\nHPUB NOTIFY 22 22\r\nNATS/1.0\r\nBar: Baz\r\n\r\n\r\n",
        )
        self.assertEqual(world.client.statistics.out_msgs, 3)

    def test_refused(self) -> None:
        """S10: what must not go on the wire raises, and nothing is sent."""
        world = World()
        peer = world.connected()
        bad = "x 0\r\n\r\nPUB injected"
        publish, subscribe = world.client.publish, world.client.subscribe
        self.assertRaises(BadSubject, publish, bad)
        self.assertRaises(BadSubject, publish, "a", reply=bad)
        self.assertRaises(BadHeader, publish, "a", headers={bad: "x"})
        self.assertRaises(BadHeader, publish, "a", headers={"A": bad})
        self.assertRaises(TypeError, publish, "a", "text")
        self.assertRaises(BadSubject, subscribe, bad, print)
        self.assertRaises(BadSubject, subscribe, "a", print, queue=bad)
        self.assertEqual(peer.heard(), b"")
        self.assertEqual(world.client.statistics.out_msgs, 0)

    def test_max_payload(self) -> None:
        """S9: exactly the limit goes, one more does not; headers count; a later INFO changes it."""
        world = World()
        peer = world.connected(max_payload=22)
        self.assertEqual(world.client.max_payload, 22)
        world.client.publish("a", b"x" * 22)
        world.client.publish("a", headers={"Bar": "Baz"})
        peer.heard()
        error = self.assertRaises(MaxPayloadExceeded, world.client.publish, "a", b"x" * 23)
        self.assertEqual((error.size, error.limit), (23, 22))
        self.assertRaises(MaxPayloadExceeded, world.client.publish, "a", b"x", headers={"Bar": "Baz"})
        self.assertEqual(peer.heard(), b"")
        peer.say(info(max_payload=3))
        self.assertRaises(MaxPayloadExceeded, world.client.publish, "a", b"1234")
        world.client.publish("a", b"123")

    def test_no_headers_there(self) -> None:
        """A server without headers would close the connection at the first one."""
        world = World()
        peer = world.connected(headers=False)
        self.assertRaises(HeadersNotSupported, world.client.publish, "a", headers={"A": "1"})
        self.assertEqual(peer.heard(), b"")

    def test_while_away(self) -> None:
        """S19: up to the limit messages wait, in order; beyond, publish raises; control frames are not kept."""
        frame = b"PUB a 1\r\n1\r\n"
        world = World(max_buffered_bytes=2 * len(frame))
        world.client.publish("a", b"1")
        world.client.subscribe("b", print)
        world.client.publish("a", b"2")
        error = self.assertRaises(OutboundBufferFull, world.client.publish, "a", b"3")
        self.assertEqual(error.limit, 2 * len(frame))
        world.client.start()
        sent = world.peer().log_in()
        self.assertEqual(sent, b"SUB b 1\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nPING\r\n")
        self.assertEqual(world.client.statistics.out_msgs, 2)

    def test_no_buffer(self) -> None:
        """A limit of 0 means that nothing waits."""
        world = World(max_buffered_bytes=0)
        self.assertRaises(OutboundBufferFull, world.client.publish, "a")

    def test_recheck(self) -> None:
        """What a smaller server would not take is dropped with a word, as it would close the connection."""
        for fields in ({"max_payload": 2}, {"headers": False}):
            world = World()
            world.client.publish("a", b"12", headers={"A": "1"})
            world.client.publish("b", b"12")
            world.client.start()
            with capturedLogs() as logs:
                sent = world.peer().log_in(**fields)
            self.assertEqual(sent, b"PUB b 2\r\n12\r\nPING\r\n")
            self.assertEqual([e["dropped"] for e in logs if e["log_level"] is LogLevel.error], [1])

    def test_peer_that_does_not_read(self) -> None:
        """While the transport pauses us the same limit holds; what waits survives the end of the connection."""
        frame = b"PUB a 1\r\n1\r\n"
        world = World(max_buffered_bytes=2 * len(frame))
        peer = world.connected()
        peer.transport.producer.pauseProducing()
        world.client.publish("a", b"1")
        world.client.publish("a", b"2")
        self.assertRaises(OutboundBufferFull, world.client.publish, "a", b"3")
        world.client.subscribe("b", print)
        flushed = world.client.flush()
        peer.drop()
        self.failureResultOf(flushed, ConnectionLost)
        world.clock.advance(1)
        self.assertEqual(world.peer().log_in(), b"SUB b 1\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nPING\r\n")

    def test_paused_right_at_the_start(self) -> None:
        """A new connection that is paused by the subscriptions already loses nothing of what has waited."""
        frame = b"PUB a 1\r\n1\r\n"
        world = World(max_buffered_bytes=2 * len(frame))
        for subject in ("b", "c"):
            world.client.subscribe(subject, print)
        for payload in (b"1", b"2"):
            world.client.publish("a", payload)
        world.client.start()
        peer = world.peer()
        write = peer.transport.write

        def write_and_pause(data: bytes) -> None:
            write(data)
            if data.startswith(b"SUB"):
                peer.transport.producer.pauseProducing()

        self.patch(peer.transport, "write", write_and_pause)
        self.assertEqual(peer.log_in(), b"SUB b 1\r\n")
        self.assertTrue(world.client.ready)
        self.assertRaises(OutboundBufferFull, world.client.publish, "a", b"3")
        peer.transport.producer.resumeProducing()
        peer.transport.producer.resumeProducing()
        self.assertEqual(peer.heard(), b"SUB c 2\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nPING\r\n")

    def test_never_half_a_frame(self) -> None:
        """S18: what was given to a connection that broke is not sent again, whole or in part."""
        world = World()
        peer = world.connected()
        world.client.publish("lost", b"x")
        peer.drop()
        world.client.publish("kept", b"y")
        world.clock.advance(1)
        self.assertEqual(world.peer().log_in(), b"PUB kept 1\r\ny\r\nPING\r\n")

    def test_published_to_a_dying_connection(self) -> None:
        """Between giving a connection up and its end, messages wait for the next one."""
        world = World()
        peer = world.connected()
        peer.say(b"nonsense\r\n")
        world.client.publish("kept")
        world.clock.advance(1)
        self.assertEqual(world.peer().log_in(), b"PUB kept 0\r\n\r\nPING\r\n")


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


class RequestTests(SynchronousTestCase):
    """S14: requests and their ends."""

    def setUp(self) -> None:
        self.world = World()
        self.peer = self.world.connected()
        self.requests = self.world.client._session.requests

    def ask(self, subject: str = "svc", **options: Any) -> tuple[Any, str]:
        """A request and the reply subject it went out with."""
        self.peer.heard()
        asked = self.world.client.request(subject, b"?", **options)
        return asked, self.peer.heard().rsplit(b"PUB ", 1)[1].split(b" ")[1].decode()

    def reply(self, inbox: str, payload: bytes = b"!") -> None:
        """Answer there."""
        self.peer.say(b"MSG %b 1 %d\r\n%b\r\n" % (inbox.encode(), len(payload), payload))

    def test_reply(self) -> None:
        """One inbox subscription serves all requests; the first reply is the one."""
        first, inbox = self.ask()
        self.assertRegex(inbox, r"\A_INBOX\.[0-9a-f]{32}\.[0-9a-f]{16}\Z")
        second, other = self.ask()
        self.assertNotEqual(inbox, other)
        self.assertEqual(inbox.rsplit(".", 1)[0], other.rsplit(".", 1)[0])
        self.reply(other, b"2")
        self.assertNoResult(first)
        self.reply(inbox, b"1")
        self.reply(inbox, b"again")
        self.assertEqual(self.successResultOf(first).payload, b"1")
        self.assertEqual(self.successResultOf(second).payload, b"2")
        self.assertEqual(len(self.requests), 0)
        self.assertEqual(len(self.world.clock.getDelayedCalls()), 1)

    def test_wire(self) -> None:
        """The inbox is subscribed to before the first request goes out, headers and all."""
        self.world.client.request("svc", b"?", headers={"A": "1"}).addErrback(lambda _: None)
        sub, hpub = self.peer.heard().split(b"\r\n", 1)
        self.assertRegex(sub, rb"\ASUB _INBOX\.[0-9a-f]{32}\.\* 1\Z")
        self.assertRegex(hpub, rb"\AHPUB svc _INBOX\.\S+ 18 19\r\n")

    def test_prefix(self) -> None:
        """The inbox prefix can be chosen."""
        world = World(inbox_prefix="_INBOX_me")
        peer = world.connected()
        world.client.request("svc").addErrback(lambda _: None)
        self.assertTrue(peer.heard().startswith(b"SUB _INBOX_me."))

    def test_no_responders(self) -> None:
        """An inline status 503 without payload fails at once, as old and new servers send it."""
        for block in (b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 503\r\nNats-Subject: svc\r\n\r\n"):
            asked, inbox = self.ask()
            size = len(block)
            self.peer.say(b"HMSG %b 1 %d %d\r\n%b\r\n" % (inbox.encode(), size, size, block))
            self.assertEqual(self.failureResultOf(asked, NoResponders).value.subject, "svc")

    def test_header_named_status(self) -> None:
        """A responder's own header of that name is an answer, and so is a 503 with a payload."""
        for block, payload in ((b"NATS/1.0\r\nStatus: 503\r\n\r\n", b""), (b"NATS/1.0 503\r\n\r\n", b"x")):
            asked, inbox = self.ask()
            size = len(block)
            self.peer.say(b"HMSG %b 1 %d %d\r\n%b%b\r\n" % (inbox.encode(), size, size + len(payload), block, payload))
            self.assertEqual(self.successResultOf(asked).payload, payload)

    def test_timeout(self) -> None:
        """No reply in time; a late one is dropped."""
        asked, inbox = self.ask(timeout_s=3)
        self.world.clock.advance(2.9)
        self.assertNoResult(asked)
        self.world.clock.advance(0.1)
        error = self.failureResultOf(asked, RequestTimeout).value
        self.assertEqual(str(error), "no reply on 'svc' within 3 s")
        self.assertEqual(len(self.requests), 0)
        self.reply(inbox)

    def test_cancel(self) -> None:
        """A cancelled request is forgotten, and its timer with it."""
        asked, inbox = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(len(self.requests), 0)
        self.assertEqual(len(self.world.clock.getDelayedCalls()), 1)
        self.reply(inbox)

    def test_unknown_token(self) -> None:
        """A reply to anything but the very token completes nothing, also when one request is open."""
        asked, inbox = self.ask()
        self.reply(inbox[:-1])
        self.reply(inbox + ".x")
        self.reply("elsewhere")
        head, token = inbox.rsplit(".", 1)
        self.reply("x" * len(head) + "." + token)
        self.assertNoResult(asked)
        asked.addErrback(lambda _: None)

    def test_connection_lost(self) -> None:
        """The end of the connection fails requests at once: the reply could not come any more."""
        asked, _ = self.ask()
        self.peer.drop()
        self.failureResultOf(asked, ConnectionLost)
        self.assertEqual(len(self.requests), 0)

    def test_while_away(self) -> None:
        """A request made without a connection goes out with the next one."""
        self.peer.drop()
        asked = self.world.client.request("svc", timeout_s=50)
        self.world.clock.advance(1)
        self.peer = self.world.peer()
        inbox = self.peer.log_in().split(b"PUB svc ")[1].split(b" ")[0].decode()
        self.reply(inbox)
        self.successResultOf(asked)

    def test_permissions(self) -> None:
        """A request that may not be published, or answered, fails at once; others wait on."""
        refused, _ = self.ask("forbidden")
        other, _ = self.ask("svc")
        self.peer.say(b"-ERR 'Permissions Violation for Publish to \"forbidden\"'\r\n")
        self.failureResultOf(refused, PermissionsViolation)
        self.assertNoResult(other)
        inbox = self.requests._inbox.encode() + b"*"
        self.peer.say(b"-ERR 'Permissions Violation for Subscription to \"%b\"'\r\n" % inbox)
        self.failureResultOf(other, PermissionsViolation)
        self.assertTrue(self.world.client.ready)

    def test_bad_arguments(self) -> None:
        """Whatever publish would raise, the Deferred fails with."""
        self.failureResultOf(self.world.client.request("a b"), BadSubject)
        self.failureResultOf(self.world.client.request("a", headers={"": "x"}), BadHeader)
        self.failureResultOf(self.world.client.request("a", b"x" * (1 << 21)), MaxPayloadExceeded)
        self.assertEqual(len(self.requests), 0)

    def test_failing_all_at_once(self) -> None:
        """A request whose end cancels another one, or asks anew, disturbs nothing."""
        first, _ = self.ask()
        second, _ = self.ask()
        first.addErrback(lambda _: second.cancel())
        self.peer.drop()
        self.failureResultOf(second, CancelledError)


class InfoTests(SynchronousTestCase):
    """S16: what a server says about itself later on."""

    def test_learned_servers(self) -> None:
        """Servers named by INFO are tried when ours is gone, and no longer when they are no longer named."""
        world = World()
        peer = world.connected(connect_urls=["10.0.0.1:4222", "10.0.0.2:4222"])
        peer.say(info(connect_urls=["10.0.0.1:4222", "10.0.0.3:4222"]))
        world.clock.advance(2)
        peer.drop()
        self.assertEqual(world.peer().host, "10.0.0.3")
        world.peer().refuse()
        self.assertEqual(world.peer().host, "10.0.0.1")

    def test_senseless_info(self) -> None:
        """Fields that are null or of the wrong kind are as good as missing."""
        world = World()
        peer = world.connected(connect_urls=None, max_payload=None)
        peer.say(b'INFO {"connect_urls":7,"max_payload":"x"}\r\nINFO {}\r\n')
        self.assertTrue(world.client.ready)
        self.assertEqual(world.client.max_payload, 1 << 20)


class StatusTests(SynchronousTestCase):
    """What others are told."""

    def test_changes(self) -> None:
        """Each change is told once, with its reason."""
        world = World()
        peer = world.connected()
        peer.say(b"-ERR 'Stale Connection'\r\n")
        peer.drop()
        self.assertEqual(world.client.status, Status.DISCONNECTED)
        self.assertIsInstance(world.client.last_error, ConnectionLost)
        world.clock.advance(1)
        world.peer().log_in()
        world.client.close()
        world.client.close()
        lost = "connection to NATS 10.0.0.1:4222 lost: NATS server: Stale Connection"
        self.assertEqual(
            world.statuses,
            [
                ("connected", "10.0.0.1:4222"),
                ("disconnected", lost),
                ("connected", "10.0.0.1:4222"),
                ("closed", "closed by its user"),
            ],
        )

    def test_watchers(self) -> None:
        """All who watch hear every change in order, also one that the first of them brings about."""
        world = World()
        told: list[tuple[str, str, str]] = []

        def first(old: Status, new: Status, reason: str) -> None:
            told.append(("first", old.value, new.value))
            if new is Status.CONNECTED:
                world.client.close()

        world.client.watch_status(first)
        world.client.watch_status(lambda old, new, reason: told.append(("second", old.value, new.value)))
        world.connected()
        self.assertEqual(
            told,
            [
                ("first", "disconnected", "connected"),
                ("second", "disconnected", "connected"),
                ("first", "connected", "closed"),
                ("second", "connected", "closed"),
            ],
        )

    def test_no_longer_watched(self) -> None:
        """Who has ended watching hears nothing more, not even of the change being told; ending twice is harmless."""
        world = World()
        told: list[Status] = []
        world.client.watch_status(lambda old, new, reason: remove())
        remove = world.client.watch_status(lambda old, new, reason: told.append(new))
        world.connected()
        remove()
        self.assertEqual(told, [])

    def test_logs(self) -> None:
        """One line per connect and one per disconnect, fit to be read."""
        world = World()
        with capturedLogs() as logs:
            world.connected()
            world.clock.advance(5)
            assert world.client._session.connection is not None
            world.client._session.connection.abort("enough")
            world.clock.advance(0)
        texts = [event["log_format"].format(**event) for event in logs if "log_format" in event]
        self.assertEqual(
            texts,
            [
                "connected to NATS 10.0.0.1:4222 (nats-server 2.15.1, client id 5)",
                "connection to NATS 10.0.0.1:4222 lost: enough",
            ],
        )

    def test_callbacks_raise(self) -> None:
        """Exceptions of the callbacks of watch_status and of on_error are logged and harm nothing."""
        world = World()
        world.client.watch_status(mock.Mock(side_effect=ZeroDivisionError))
        world.client._session._on_error = mock.Mock(side_effect=ZeroDivisionError)
        peer = world.connected()
        peer.say(b"-ERR 'Something New'\r\n")
        self.assertTrue(world.client.ready)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


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


class PropertyTests(SynchronousTestCase):
    """What holds for any text in any argument."""

    @given(st.text(), st.none() | st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=2), st.binary())
    def test_publish(self, subject: str, reply: str | None, headers: list[tuple[str, str]], payload: bytes) -> None:
        """It raises with nothing sent, or what is sent is as long as it says."""
        world = World()
        peer = world.connected()
        peer.heard()
        try:
            world.client.publish(subject, payload, reply=reply, headers=headers)
        except ValueError:
            self.assertEqual(peer.heard(), b"")
            return
        line, rest = peer.heard().split(b"\r\n", 1)
        self.assertEqual(len(line.split(b" ")), 3 + (reply is not None) + bool(headers))
        self.assertEqual(len(rest), int(line.split(b" ")[-1]) + 2)

    @given(st.text())
    def test_request(self, subject: str) -> None:
        """A request with any subject fails or sends one message with that one subject."""
        world = World()
        peer = world.connected()
        asked = world.client.request(subject)
        if world.client.statistics.out_msgs:
            asked.addErrback(lambda _: None)
            self.assertEqual(len(peer.heard().split(b"PUB ", 1)[1].split(b" ")), 3)
        else:
            self.failureResultOf(asked, BadSubject)

    @given(st.text())
    def test_server_url(self, url: str) -> None:
        """Any text as URL is a server or a clear mistake."""
        with contextlib.suppress(BadServerUrl):
            NatsClient(World().clock, [url])

    @given(st.lists(st.binary(max_size=30), max_size=5))
    def test_any_bytes_from_a_server(self, chunks: list[bytes]) -> None:
        """No bytes of a server make the client raise, or stop trying."""
        world = World()
        peer = world.connected()
        for chunk in chunks:
            if not peer.transport.aborted:
                peer.say(chunk)
        peer.drop()
        world.clock.advance(5)
        self.assertEqual(world.attempts, 2)
        self.assertNotIsInstance(world.client.last_error, ConnectFailed)
