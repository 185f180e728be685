"""Tests of how repeated failures are told."""

from __future__ import annotations

from collections.abc import Hashable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.journal.repetitions import Repetitions


class RepetitionsTests(SynchronousTestCase):
    """The first is told, the others are counted."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.more: list[tuple[Hashable, int, float]] = []
        self.repetitions = Repetitions(self.clock)

    def is_first(self, kind: Hashable) -> bool:
        def say_more(count: int, window_s: float) -> None:
            self.more.append((kind, count, window_s))

        def others(count: int, window_s: float) -> None:
            self.more.append(("others", count, window_s))

        return self.repetitions.is_first(kind, say_more, others)

    def test_counted(self) -> None:
        """Each kind for itself; one that has not come for an interval is new again."""
        self.assertEqual([self.is_first(kind) for kind in "aab"], [True, False, True])
        self.clock.advance(10)
        self.assertEqual(self.more, [("a", 1, 10)])
        self.assertTrue(self.is_first("b"))
        self.assertFalse(self.is_first("a"), "it came within the last interval")

    def test_interval_grows(self) -> None:
        """A steady failure makes a line after 10 s, a minute, and then every ten minutes; the first is told once."""
        self.assertTrue(self.is_first("a"))
        for _ in range(3600):
            self.clock.advance(1)
            self.assertFalse(self.is_first("a"))
        self.assertEqual([window for _, _, window in self.more], [10, 60, 600, 600, 600, 600, 600])
        self.clock.advance(600)
        self.clock.advance(600)
        self.assertTrue(self.is_first("a"))

    def test_kinds_are_bounded(self) -> None:
        """Kinds may be made of what a publisher wrote: beyond a bound they share one count, and one first line."""
        firsts = [self.is_first(number) for number in range(1000)]
        self.assertEqual(sum(firsts), 201)
        self.clock.advance(10)
        self.assertEqual(self.more, [("others", 799, 10)])

    def test_finish(self) -> None:
        """What is counted is told at the end, and nothing is left behind."""
        for _ in range(3):
            self.is_first("a")
        self.is_first("b")
        self.repetitions.finish()
        self.assertEqual(self.more, [("a", 2, 10)])
        self.assertEqual(self.clock.getDelayedCalls(), [])
