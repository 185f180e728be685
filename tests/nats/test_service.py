"""Connecting, and the client as a service of an application."""

from __future__ import annotations

from random import Random
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import BadServerUrl, ConnectFailed, NatsService, Status, connect
from tests.nats.fakes import Peer, World


class ConnectTests(SynchronousTestCase):
    """``connect()``."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()

    def connect(self, servers: Any = "nats://10.0.0.1", **options: Any) -> Any:
        return connect(cast(Any, self.clock), servers, random=Random(7), **options)

    def test_connected(self) -> None:
        """It fires with a client that is connected, with one URL or several."""
        for number, servers in enumerate(("nats://10.0.0.1", ["nats://10.0.0.1", "nats://10.0.0.2"])):
            connecting = self.connect(servers, name="me")
            self.assertNoResult(connecting)
            peer = Peer(self.clock, number)
            peer.log_in()
            client = self.successResultOf(connecting)
            self.assertIs(client.status, Status.CONNECTED)
            client.close()

    def test_not_connected(self) -> None:
        """It fails with the reason, and tries no more."""
        connecting = self.connect(timeout_s=1)
        Peer(self.clock, 0).refuse()
        self.clock.advance(1)
        self.assertIn("Connection was refused", str(self.failureResultOf(connecting, ConnectFailed).value))
        attempts = len(self.clock.tcpClients)
        self.clock.pump([1] * 10)
        self.assertEqual((len(self.clock.tcpClients), self.clock.getDelayedCalls()), (attempts, []))

    def test_cancelled(self) -> None:
        """Who cancels closes."""
        connecting = self.connect(timeout_s=None)
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bad_url(self) -> None:
        """What cannot be understood is told by the Deferred, too."""
        self.failureResultOf(self.connect("http://x"), BadServerUrl)
        self.failureResultOf(self.connect([]), BadServerUrl)


class NatsServiceTests(SynchronousTestCase):
    """In a MultiService."""

    def setUp(self) -> None:
        self.world = World()
        self.application = MultiService()
        self.service = NatsService(self.world.client, drain_timeout_s=3)
        self.service.setServiceParent(self.application)

    def test_life(self) -> None:
        """It connects at the start, and drains at the end."""
        self.assertEqual(self.world.attempts, 0)
        self.application.startService()
        peer = self.world.peer()
        peer.log_in()
        peer.say(b"PONG\r\n")
        self.service.client.publish("a", b"last")
        stopped: Any = self.application.stopService()
        self.assertNoResult(stopped)
        self.assertIn(b"PUB a 4\r\nlast\r\n", peer.heard())
        peer.say(b"PONG\r\n" * 2)
        peer.heard()
        self.world.clock.advance(3)
        peer.drop()
        self.successResultOf(stopped)
        self.assertIs(self.service.client.status, Status.CLOSED)

    def test_never_connected(self) -> None:
        """The end is bounded, and told; the application stops all the same."""
        self.application.startService()
        self.world.client.publish("a", b"never")
        with capturedLogs() as logs:
            stopped: Any = self.application.stopService()
            self.world.clock.advance(3)
            self.successResultOf(stopped)
        (line,) = (event for event in logs if event.get("event") == "drain_failed")
        self.assertIn("not drained within 3 s", str(line["reason"]))
