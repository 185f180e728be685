"""Tests of functions that are not there."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.dispatch.missing import Missing


class MissingTests(SynchronousTestCase):
    """How long a message waits for a function that is missing."""

    def test_grace(self) -> None:
        """For a while, with growing waits; the time counts from when the function was first found missing."""
        missing = Missing(300)
        self.assertEqual([missing.delay_s("f", attempt, 100) for attempt in (1, 2, 3, 9)], [1, 2, 4, 30])
        self.assertEqual(missing.delay_s("f", 1, 399), 1)
        self.assertIsNone(missing.delay_s("f", 1, 400))
        self.assertEqual(missing.delay_s("g", 1, 400), 1)

    def test_found(self) -> None:
        """A function that was there in between begins anew."""
        missing = Missing(10)
        missing.delay_s("f", 1, 0)
        missing.found("f")
        missing.found("unknown")
        self.assertEqual(missing.delay_s("f", 1, 11), 1)

    def test_names_are_bounded(self) -> None:
        """A publisher may invent names: beyond a thousand a message's own attempts count."""
        missing = Missing(10)
        for number in range(5000):
            self.assertEqual(missing.delay_s(f"f{number}", 1, 0), 1)
        self.assertEqual(len(missing._since), 1000)
        found = [missing.delay_s("another", attempt, 5) for attempt in range(1, 7)]
        self.assertEqual(found, [1, 2, 4, 8, None, None])
        self.assertEqual(missing.delay_s("another", 5, 21), 16, "names that were missing for long have given place")
