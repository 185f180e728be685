"""Deferreds that are fired together."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats.waiters import Waiters


class WaitersTests(SynchronousTestCase):
    """All who wait, once."""

    def test_together(self) -> None:
        """Everybody who waits gets the outcome, or the error; who comes later waits on."""
        waiters: Waiters[int] = Waiters()
        first, second = waiters.wait(), waiters.wait()
        waiters.fire(5)
        third = waiters.wait()
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (5, 5))
        self.assertNoResult(third)
        waiters.fail(ZeroDivisionError())
        self.failureResultOf(third, ZeroDivisionError)

    def test_cancel(self) -> None:
        """Who is cancelled, before or by another one's outcome, is left out."""
        for failing in (False, True):
            waiters: Waiters[int] = Waiters()
            before, first, second = waiters.wait(), waiters.wait(), waiters.wait()
            before.cancel()
            self.failureResultOf(before, CancelledError)
            first.addBoth(self.cancel, second)
            if failing:
                waiters.fail(ZeroDivisionError())
            else:
                waiters.fire(5)
            self.failureResultOf(second, CancelledError)

    def cancel(self, _: object, other: Deferred[int]) -> None:
        """As a callback: cancel another one."""
        other.cancel()
