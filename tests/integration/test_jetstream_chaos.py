"""A small run of what ``make chaos`` does at length."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.chaos.jetstream_losses import LossRun, Plan


class LossTests(TestCase):
    """Connectors that are killed, a server that is restarted and a gateway that goes away and fails now and then."""

    timeout = 90

    async def test_nothing_is_lost(self) -> None:
        """Every message is executed or in the dead letters, and no more ran twice than may have."""
        plan = Plan(
            messages=800, kills=3, restarts=1, outages=1, outage_s=(1.0, 2.0), seed=7, ack_wait_s=1.0, attempts=3,
            limit_s=80,
        )  # fmt: skip
        result = await LossRun(plan, self.mktemp()).run()
        self.assertEqual((result.missing, result.restarts, result.outages), (0, 1, 1))
        self.assertTrue(result.buried, "some use up their attempts")
        self.assertTrue(result.is_good, result.table())
