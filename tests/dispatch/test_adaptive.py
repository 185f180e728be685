"""Tests of limits that find themselves, against functions of known capacity, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.dispatch.adaptive import AdaptiveLimits
from natsconnector.model.outcome import Outcome, failed, unfinished

OK, BUSY, TIMED_OUT = Outcome(200), Outcome(429), failed(504, "the call timed out")


@dataclass
class Connector:
    """One of those that call the function: as many calls as its limit allows, since there is always one that waits."""

    limits: AdaptiveLimits
    inflight: int = 0
    good: int = 0
    refused: int = 0


@dataclass
class World:
    """
    A function that bears so many calls at once and refuses all beyond at once, and those that call it.

    :param capacity: how many it bears, by the time in seconds.
    :param call_s: how long a call takes on average.
    :param refusal_s: likewise a refusal.
    :param faults: the share of calls that time out, however few there are.
    """

    capacity: Callable[[float], int]
    call_s: float
    refusal_s: float = 0.002
    faults: float = 0.0
    connectors: list[Connector] = field(default_factory=lambda: [Connector(AdaptiveLimits(100))])
    now: float = 0.0
    inside: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(2)
        self.ends: list[tuple[float, int, int, float, Outcome]] = []
        self.number = 0
        for number in range(len(self.connectors)):
            self.fill(number)

    def fill(self, number: int) -> None:
        connector = self.connectors[number]
        while connector.inflight < connector.limits.of("f"):
            outcome, takes_s = BUSY, self.refusal_s
            if self.inside < self.capacity(self.now):
                self.inside += 1
                outcome, takes_s = OK if self.random.random() >= self.faults else TIMED_OUT, self.call_s
            connector.inflight += 1
            self.number += 1
            ends_at = self.now + takes_s * self.random.uniform(0.5, 1.5)
            heappush(self.ends, (ends_at, self.number, number, self.now, outcome))

    def run(self, until: float) -> World:
        """Go on, and count from here."""
        for each in self.connectors:
            each.good = each.refused = 0
        while self.ends[0][0] <= until:
            self.now, _, number, begun_at, outcome = heappop(self.ends)
            connector = self.connectors[number]
            self.inside -= outcome is not BUSY
            connector.good += outcome is OK
            connector.refused += outcome is BUSY
            connector.limits.ended("f", outcome, begun_at, self.now, connector.inflight)
            connector.inflight -= 1
            self.fill(number)
        return self

    @property
    def good(self) -> int:
        return sum(each.good for each in self.connectors)

    @property
    def refused(self) -> float:
        """The share of calls that the function refused."""
        refused = sum(each.refused for each in self.connectors)
        return refused / (refused + self.good)


def always(capacity: int) -> Callable[[float], int]:
    return lambda now: capacity


class CapacityTests(SynchronousTestCase):
    """Simulations. Each is the same in every run."""

    def test_steady(self) -> None:
        """After 60 s within 10 % of the best fixed limit, the function's capacity, and at most 2 % are refused."""
        for capacity, call_s, refusal_s in (
            (1, 0.1, 0.002), (2, 1.0, 0.002), (3, 0.2, 0.2), (10, 0.5, 0.5), (20, 0.2, 0.002), (70, 1.0, 0.01),
            (60, 5.0, 0.002), (150, 2.0, 0.002),
        ):  # fmt: skip
            with self.subTest(capacity=capacity, call_s=call_s):
                world = World(always(capacity), call_s, refusal_s).run(60).run(240)
                best = min(capacity, 100) / call_s * 180
                self.assertGreater(world.good, 0.9 * best)
                self.assertLess(world.refused, 0.02)

    def test_capacity_changes(self) -> None:
        """Half a minute after a function was scaled in, or out, the limit is that of its new capacity."""
        for before, after in ((80, 8), (8, 80), (80, 1)):
            with self.subTest(before=before, after=after):
                world = World(lambda now, b=before, a=after: b if now < 60 else a, 0.2)  # type: ignore[misc]
                world.run(60).run(90)
                self.assertLess(sum(each.refused for each in world.connectors), 200)
                world.run(150)
                self.assertGreater(world.good, 0.9 * after / 0.2 * 60)
                self.assertLess(world.refused, 0.02)

    def test_outage(self) -> None:
        """A function that has refused everything for a while is called as before some seconds later."""
        world = World(lambda now: 0 if 60 < now < 65 else 80, 0.2, refusal_s=0.1).run(60).run(70).run(130)
        self.assertGreater(world.good, 0.9 * 80 / 0.2 * 60)

    def test_shared(self) -> None:
        """Connectors that share a function get equal shares of it, also one that comes later."""
        world = World(always(60), 0.2, connectors=[Connector(AdaptiveLimits(100))]).run(60)
        world.connectors.append(Connector(AdaptiveLimits(100)))
        world.fill(1)
        world.run(300).run(500)
        shares = [each.good / world.good for each in world.connectors]
        self.assertGreater(min(shares), 0.35)
        self.assertGreater(world.good, 0.9 * 60 / 0.2 * 200)
        self.assertLess(world.refused, 0.02)

    def test_faults_of_other_kinds(self) -> None:
        """A function of which some calls time out for reasons of their own is not brought down to one call."""
        world = World(always(50), 0.1, faults=0.002).run(60).run(120)
        self.assertGreater(world.good, 0.9 * 50 / 0.1 * 60)


class LimitTests(SynchronousTestCase):
    """What an outcome does to a limit."""

    def setUp(self) -> None:
        self.limits = AdaptiveLimits(10)

    def test_first(self) -> None:
        """A function that nothing is known of has a few, never more than the limit of all."""
        self.assertEqual((self.limits.of("f"), AdaptiveLimits(2).of("f")), (4, 2))

    def test_only_at_the_limit(self) -> None:
        """Calls that succeed side by side in smaller numbers show nothing, and leave nothing behind."""
        for _ in range(100):
            self.assertFalse(self.limits.ended("f", OK, 0.0, 1.0, 3))
        self.assertEqual([*self.limits], [])
        self.assertTrue(self.limits.ended("f", OK, 0.0, 1.0, 4))
        self.assertEqual([*self.limits], [("f", 5)])

    def test_most(self) -> None:
        """It grows up to the limit of all calls."""
        for _ in range(100):
            self.limits.ended("f", OK, 0.0, 1.0, self.limits.of("f"))
        self.assertEqual(self.limits.of("f"), 10)

    def test_what_is_an_overload(self) -> None:
        """429, 503 and 504, of the function or of ours; not what says nothing about how much the function bears."""
        for outcome, limit in (
            (BUSY, 9),
            (Outcome(503), 9),
            (TIMED_OUT, 9),
            (Outcome(404), 10),
            (Outcome(500), 10),
            (failed(502, "broken"), 10),
            (unfinished("stopping"), 10),
            (Outcome(503, gateway_down=True), 10),
        ):
            self.setUp()
            self.test_most()
            self.limits.ended("f", outcome, 2.0, 2.0, 11)
            self.assertEqual(self.limits.of("f"), limit, outcome)

    def test_one_cut(self) -> None:
        """Calls refused together cut once, by as many as were refused; a later one that began before, no more."""
        self.test_most()
        for limit in (9, 8, 7, 6):
            self.limits.ended("f", BUSY, 1.0, 2.0, 10)
            self.assertEqual(self.limits.of("f"), limit)
        self.limits.ended("f", OK, 3.0, 4.0, 6)
        self.limits.ended("f", BUSY, 1.0, 5.0, 6)
        self.assertEqual(self.limits.of("f"), 6)

    def test_steep(self) -> None:
        """Where nothing succeeds after a cut, the next one is deeper; one call is always allowed."""
        self.test_most()
        found = []
        for now in range(2, 9):
            self.limits.ended("f", TIMED_OUT, now, now, self.limits.of("f"))
            found.append(self.limits.of("f"))
        self.assertEqual(found, [9, 6, 4, 2, 1, 1, 1])

    def test_forgotten(self) -> None:
        """Of a thousand functions, and of one that is not called for ten minutes, nothing is kept."""
        for number in range(1100):
            self.limits.ended(f"f{number}", BUSY, 1.0, 1.0, 1)
        self.assertEqual((len([*self.limits]), self.limits.of("f0"), self.limits.of("f1099")), (1000, 4, 1))
        self.limits.ended("f100", OK, 500.0, 500.0, 1)
        for _ in range(1000):
            self.limits.ended("g", BUSY, 700.0, 700.0, 1)
        self.assertEqual({name for name, _ in self.limits}, {"f100", "g"})

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.lists(st.tuples(st.sampled_from([OK, BUSY, TIMED_OUT]), st.floats(0, 9), st.integers(1, 20))))
    def test_bounds(self, ends: list[tuple[Outcome, float, int]]) -> None:
        """Whatever comes, the limit is from one to the limit of all, and it is told when it is another one."""
        limits, now = AdaptiveLimits(10), 0.0
        for outcome, took_s, inflight in ends:
            before = limits.of("f")
            now += 1
            changed = limits.ended("f", outcome, now - took_s, now, inflight)
            self.assertIs(changed, limits.of("f") != before)
            self.assertIn(limits.of("f"), range(1, 11))
