"""What a client says about itself, to those who watch."""

from __future__ import annotations

from unittest import mock

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import (
    ConnectionLost,
    Status,
)
from tests.nats.fakes import World


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
