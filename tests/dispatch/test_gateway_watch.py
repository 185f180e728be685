"""Tests of what is known of the gateway."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.dispatch.gateway_watch import GatewayWatch, State
from natsconnector.journal.journal import Journal
from natsconnector.model.outcome import Outcome

UNREACHABLE = Outcome(502, failure="connection refused", not_executed=True, gateway_down=True)
NO_PROVIDER = Outcome(404, b"error finding function f", not_executed=True, gateway_down=True)
OK = Outcome(200)


class GatewayWatchTests(SynchronousTestCase):
    """Up, away, on trial."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.probes: list[Deferred[bool]] = []
        self.changes: list[tuple[State, bool]] = []
        self.watch = GatewayWatch(self.clock, Journal(self.clock), self.probe, self.changed, lambda: 1.0)
        self.events = self.enterContext(capturedLogs())

    def enterContext(self, context: object) -> list[dict[str, object]]:
        events: list[dict[str, object]] = context.__enter__()  # type: ignore[attr-defined]
        self.addCleanup(context.__exit__, None, None, None)  # type: ignore[attr-defined]
        return events

    def probe(self) -> Deferred[bool]:
        self.probes.append(Deferred())
        return self.probes[-1]

    def changed(self) -> None:
        self.changes.append((self.watch.state, self.watch.allows_call))

    def told(self) -> list[object]:
        return [event["event"] for event in self.events]

    def call(self, outcome: Outcome, function: str = "f") -> bool:
        """Make a call that ends so."""
        self.assertTrue(self.watch.allows_call)
        self.watch.call_begins()
        return self.watch.call_ended(function, outcome)

    def test_up(self) -> None:
        """What a function answers says nothing of the gateway."""
        for outcome in (OK, Outcome(500), Outcome(404), Outcome(503), Outcome(504, failure="late")):
            self.assertFalse(self.call(outcome))
        self.assertEqual((self.changes, self.told(), self.clock.getDelayedCalls()), ([], [], []))

    def test_unreachable(self) -> None:
        """No calls, one probe at a time with back-off, a line when it is sure and one when it is over."""
        self.assertTrue(self.call(UNREACHABLE))
        self.assertTrue(self.watch.call_ended("g", UNREACHABLE), "a call that was under way")
        self.assertFalse(self.watch.allows_call)
        self.clock.advance(0)
        self.assertEqual((len(self.probes), self.told()), (1, []))
        self.probes[0].callback(False)
        self.assertEqual(self.told(), ["gateway_away"])
        for number, wait_s in enumerate((0.1, 0.2, 0.4, 0.8, 1.0, 1.0), start=1):
            self.clock.advance(wait_s - 0.01)
            self.assertEqual(len(self.probes), number)
            self.clock.advance(0.02)
            self.assertEqual(len(self.probes), number + 1)
            self.clock.advance(100)
            self.assertEqual(len(self.probes), number + 1, "one at a time")
            if number < 6:
                self.probes[-1].callback(False)
        self.probes[-1].callback(True)
        self.assertEqual(self.changes, [(State.AWAY, False), (State.UP, True)])
        self.assertEqual(self.told(), ["gateway_away", "gateway_back"])
        self.assertEqual(self.events[-1]["count"], 2)
        self.assertEqual(self.events[-1]["away_s"], round(self.clock.seconds(), 3))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_jitter(self) -> None:
        """Connectors that lost the gateway together do not probe together: pauses are up to a quarter shorter."""
        self.watch = GatewayWatch(self.clock, Journal(self.clock), self.probe, self.changed, lambda: 0.0)
        self.call(UNREACHABLE)
        for number, wait_s in enumerate((0, 0.075, 0.15)):
            self.clock.advance(wait_s - 0.01 if wait_s else 0)
            self.assertEqual(len(self.probes), number + (not wait_s))
            self.clock.advance(0.011)
            self.assertEqual(len(self.probes), number + 1)
            self.probes[-1].callback(False)

    def test_second_outage(self) -> None:
        """It is told, counted and probed for itself, not as the end of the one before."""
        for _ in range(2):
            begun = self.clock.seconds()
            self.call(UNREACHABLE)
            self.clock.advance(0)
            self.probes[-1].callback(False)
            for wait_s in (0.1, 0.2, 0.4):
                self.clock.advance(wait_s + 0.01)
                self.probes[-1].callback(wait_s == 0.4)
            self.assertEqual((self.events[-1]["count"], self.events[-1]["away_s"]), (1, 0.73))
            self.assertAlmostEqual(self.clock.seconds() - begun, 0.73)
            self.clock.advance(100)
        self.assertEqual(self.told(), ["gateway_away", "gateway_back"] * 2)

    def test_a_single_failure(self) -> None:
        """A connection that failed once, to a gateway that answers a probe, makes no line."""
        self.call(UNREACHABLE)
        self.clock.advance(0)
        self.probes[0].callback(True)
        self.assertEqual((self.watch.state, self.told()), (State.UP, []))

    def test_provider_is_away(self) -> None:
        """The gateway answers probes, but not for its provider: one call at a time tries, until one gets through."""
        self.assertTrue(self.call(NO_PROVIDER))
        self.clock.advance(0)
        self.probes[0].callback(True)
        self.assertEqual(self.changes, [(State.AWAY, False), (State.TRIAL, True)], "which lets a call begin")
        self.watch.call_begins()
        self.assertFalse(self.watch.allows_call, "one at a time")
        self.assertTrue(self.watch.call_ended("f", NO_PROVIDER))
        self.assertEqual((self.watch.state, self.told()), (State.AWAY, ["gateway_away"]))
        self.clock.advance(0.1)
        self.probes[1].callback(True)
        self.assertFalse(self.call(OK))
        self.assertEqual((self.watch.state, self.told()), (State.UP, ["gateway_away", "gateway_back"]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_call_from_before(self) -> None:
        """A call that began before the provider went away, and ends well after, shows nothing."""
        self.watch.call_begins()
        self.call(NO_PROVIDER)
        self.assertFalse(self.watch.call_ended("g", OK))
        self.assertEqual(self.watch.state, State.AWAY)

    def test_slow_trial(self) -> None:
        """A trial that takes long has reached a function: the others do not wait for its end."""
        self.call(NO_PROVIDER)
        self.clock.advance(0)
        self.probes[0].callback(True)
        self.watch.call_begins()
        self.clock.advance(1)
        self.assertEqual(self.watch.state, State.UP)

    def test_one_function_alone(self) -> None:
        """A function that alone fails so is at fault itself, once a call of another one has got through."""
        self.call(NO_PROVIDER, "odd")
        self.clock.advance(0)
        self.probes[0].callback(True)
        self.call(OK, "other")
        self.assertFalse(self.call(NO_PROVIDER, "odd"))
        self.assertEqual(self.watch.state, State.UP)
        self.assertTrue(self.call(NO_PROVIDER, "other"), "another function shows it anew")
        self.clock.advance(0)
        self.probes[1].callback(True)
        self.clock.advance(61)
        self.watch.call_begins()
        self.assertTrue(self.watch.call_ended("odd", NO_PROVIDER), "a minute later it counts again")
        self.clock.advance(0.1)
        self.probes[2].callback(True)
        self.call(OK, "third")
        self.assertEqual(sorted(self.watch._excused), ["odd", "other"])
        self.clock.advance(61)
        self.call(NO_PROVIDER, "late")
        self.clock.advance(0)
        self.probes[3].callback(True)
        self.call(OK, "third")
        self.assertEqual(list(self.watch._excused), ["late"], "names are kept no longer than they count")

    def test_suspects_of_another_outage(self) -> None:
        """Only what failed in this outage is at fault by itself, not what met one that is long over."""
        self.call(UNREACHABLE, "early")
        self.clock.advance(0)
        self.probes[0].callback(True)
        self.call(NO_PROVIDER, "odd")
        self.clock.advance(0)
        self.probes[1].callback(True)
        self.call(OK, "other")
        self.assertTrue(self.call(NO_PROVIDER, "early"))

    def test_stop(self) -> None:
        """At the end nothing is left to wait for, and the end of an open probe is harmless."""
        self.call(UNREACHABLE)
        self.clock.advance(0)
        self.watch.stop()
        self.probes[0].callback(False)
        self.assertEqual((self.watch.allows_call, self.clock.getDelayedCalls()), (True, []))
