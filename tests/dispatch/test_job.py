"""Tests of what one call holds in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.dispatch.adaptive import AdaptiveLimits
from natsconnector.dispatch.job import job_of
from natsconnector.model.call import FunctionCall
from natsconnector.model.outcome import Outcome
from natsconnector.planning.annotations import Terms
from natsconnector.planning.planner import PlannedCall
from natsconnector.testing import FakeDelivery


class JobTests(SynchronousTestCase):
    """A planned call of a message."""

    def test_size(self) -> None:
        """The message, its headers once more, and the body where that is another one than the payload."""
        delivery = FakeDelivery(b"payload", headers=[("A", "b")])
        for body, size_bytes in ((delivery.payload, 11), (b"decoded", 18), (b"", 11)):
            planned = PlannedCall(FunctionCall("f", body), Terms(), "f")
            self.assertEqual(job_of(delivery, planned, 5.0, AdaptiveLimits(9)).size_bytes, size_bytes)

    def test_beginning(self) -> None:
        """It waits since it came, and the deliveries before this one count as attempts."""
        planned = PlannedCall(FunctionCall("f"), Terms(max_inflight=3), "f.ns")
        job = job_of(FakeDelivery(attempt=4, durable=True), planned, 5.0, AdaptiveLimits(9))
        self.assertEqual((job.received_at, job.queued_at, job.attempt), (5.0, 5.0, 3))
        self.assertEqual((job.function, job.max_inflight, job.is_over, job.is_held_back), ("f.ns", 3, False, False))

    def test_limit_that_finds_itself(self) -> None:
        """With auto it is that of its function, as it is now."""
        limits = AdaptiveLimits(9)
        planned = PlannedCall(FunctionCall("f"), Terms(max_inflight="auto"), "f.ns")
        job = job_of(FakeDelivery(), planned, 5.0, limits)
        self.assertEqual(job.max_inflight, 4)
        limits.ended("f.ns", Outcome(429), 0.0, 0.0, 3)
        self.assertEqual(job.max_inflight, 2)
