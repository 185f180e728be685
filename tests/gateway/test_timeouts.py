"""Tests of time-outs with one timer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.gateway.timeouts import Timeouts


class _Request:
    def __init__(self, timeouts: Timeouts, told: list[float], clock: Clock) -> None:
        self.told = told
        self.clock = clock
        self.ends: list[_Request] = []
        self.timeouts = timeouts
        timeouts.begin(self)

    def time_out(self) -> None:
        self.told.append(self.clock.seconds())
        for each in self.ends:
            self.timeouts.end(each)


class TimeoutsTests(SynchronousTestCase):
    """Many requests, one timer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.timeouts = Timeouts(self.clock, 10.0)
        self.told: list[float] = []

    def request(self) -> _Request:
        return _Request(self.timeouts, self.told, self.clock)

    def test_each_in_its_time(self) -> None:
        """Each request is told when its own time is over; there is one timer at the most, and none at the end."""
        for _ in range(3):
            self.request()
            self.clock.advance(1)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([0.5] * 40)
        self.assertEqual(self.told, [10.0, 11.0, 12.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ended(self) -> None:
        """A request that has ended is not told, and leaves no timer; ending it again is nothing."""
        first = self.request()
        self.clock.advance(4)
        second = self.request()
        self.timeouts.end(first)
        self.timeouts.end(first)
        self.clock.advance(6)
        self.assertEqual(self.told, [])
        self.clock.advance(4)
        self.assertEqual(self.told, [14.0])
        self.timeouts.end(second)
        self.timeouts.end(self.request())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_ends_another(self) -> None:
        """A request that another one's time-out has ended is not told."""
        first, second = self.request(), self.request()
        first.ends = [second]
        self.clock.advance(10)
        self.assertEqual(self.told, [10.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=30))
    def test_any(self, steps: list[tuple[float, bool]]) -> None:
        """However requests begin and end, those that did not end are told, ten seconds after they began."""
        clock, told = Clock(), list[float]()
        timeouts = Timeouts(clock, 10.0)
        expected: list[float] = []
        for wait_s, ends in steps:
            request = _Request(timeouts, told, clock)
            if ends:
                timeouts.end(request)
            else:
                expected.append(clock.seconds() + 10)
            clock.pump([0.5] * int(wait_s / 0.5))
        clock.pump([0.5] * 21)
        self.assertEqual(len(told), len(expected))
        for at, due in zip(told, expected, strict=True):
            self.assertTrue(due <= at <= due + 0.5, (at, due))
        self.assertEqual(clock.getDelayedCalls(), [])
