"""Tests of how repeated failures are told."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.journal.repetitions import Repetitions


class RepetitionsTests(SynchronousTestCase):
    """What repeats itself."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.said: list[tuple[object, int]] = []
        self.repetitions = Repetitions(self.clock, lambda kind, again: self.said.append((kind, again)), 10)

    def test_first_then_counted(self) -> None:
        """The first is said at once, the others as a number; then it is new again."""
        self.assertEqual([self.repetitions.is_first("a") for _ in range(3)], [True, False, False])
        self.assertTrue(self.repetitions.is_first("b"))
        self.clock.advance(10)
        self.assertEqual(self.said, [("a", 2)])
        self.assertTrue(self.repetitions.is_first("a"))

    def test_bounded(self) -> None:
        """Any number of kinds takes bounded room, and none is lost."""
        first = sum(self.repetitions.is_first(n) for n in range(1000))
        self.repetitions.finish()
        self.assertLess(first, 300)
        self.assertEqual(first + sum(again for _, again in self.said), 1000)

    def test_finish(self) -> None:
        """At the end the counts are said and nothing keeps running."""
        self.repetitions.is_first("a")
        self.repetitions.is_first("a")
        self.repetitions.finish()
        self.assertEqual(self.said, [("a", 1)])
        self.assertEqual(self.clock.getDelayedCalls(), [])
