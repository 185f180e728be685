"""Deferreds that are fired together."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
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
        for end in (lambda w: w.fire(5), lambda w: w.fail(ZeroDivisionError())):
            waiters: Waiters[int] = Waiters()
            before, first, second = waiters.wait(), waiters.wait(), waiters.wait()
            before.cancel()
            first.addBoth(lambda _, other=second: other.cancel())
            end(waiters)
            self.failureResultOf(before, CancelledError)
            self.failureResultOf(second, CancelledError)
