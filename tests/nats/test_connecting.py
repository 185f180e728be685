"""Getting to a server, and what it says about itself."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import (
    AuthorizationError,
    BadServerUrl,
    BadSubject,
    ConnectFailed,
)
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
            self.assertIn(reason, warning["reason"])

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
