"""Tests of what signals mean."""

from __future__ import annotations

from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.assembly.signals import Signals


class FakeReactor:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.stops = 0
        self.whenRunning: list[Any] = []

    def callWhenRunning(self, call: Any) -> None:
        self.whenRunning.append(call)

    def stop(self) -> None:
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


class Slow(Service):
    """A service whose end takes a while."""

    def __init__(self) -> None:
        self.stopped: Deferred[None] = Deferred()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self.stopped


class SignalsTests(SynchronousTestCase):
    """One, and another one."""

    def setUp(self) -> None:
        self.reactor = cast(Any, FakeReactor())
        self.service = Slow()
        self.hurried: list[bool] = []
        self.signals = Signals(self.reactor, self.service, lambda: self.hurried.append(True), lambda: None)
        self.signals.startService()

    def test_life(self) -> None:
        """It is the service it holds; handlers come when the reactor has put up its own."""
        self.assertTrue(self.service.running)
        self.assertEqual(len(self.reactor.whenRunning), 1)
        stopped = self.signals.stopService()
        self.assertNoResult(stopped)
        self.service.stopped.callback(None)
        self.successResultOf(stopped)

    def test_twice(self) -> None:
        """The first stops the reactor, the second hurries, with a line that says so and without a traceback."""
        with capturedLogs() as events:
            self.signals.stop_on("SIGHUP")
            self.assertEqual((self.reactor.stops, self.hurried), (1, []))
            self.signals.stop_on("SIGTERM")
        self.assertEqual((self.reactor.stops, self.hurried), (1, [True]))
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["SIGHUP: stopping", "SIGTERM again: calls in progress are given up"],
        )

    def test_stopped_by_others(self) -> None:
        """A signal while the reactor stops for another reason hurries, too."""
        self.signals.stopService()
        self.signals.stop_on("SIGTERM")
        self.assertEqual((self.reactor.stops, self.hurried), (0, [True]))
