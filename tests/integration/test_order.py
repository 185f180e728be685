"""Order: a small version of tests/chaos/order.py."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.chaos.order import OrderRun, Plan


class OrderTests(TestCase):
    """Messages of a few keys, of which calls fail."""

    async def test_stream(self) -> None:
        """Each key in order, from a stream whose consumer is pinned to one of two connectors."""
        plan = Plan(messages=300, keys=10, connectors=2, failures=0.1, limit_s=80)
        run = await OrderRun(plan, self.mktemp()).run()
        self.assertTrue(run.is_good, run.table())
