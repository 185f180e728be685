"""Tests of outcomes, retries and answers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.outcome import BAD_GATEWAY, TIMED_OUT, TOO_LARGE, Outcome, failed, unfinished
from natsconnector.model.retries import RetryPolicy


class RetryPolicyTests(SynchronousTestCase):
    """When another attempt follows."""

    def delay(self, outcome: Outcome, attempt: int = 1, policy: RetryPolicy | None = None) -> float | None:
        return (policy or RetryPolicy(backoff="exponential")).delay_s(outcome, attempt, lambda: 0.5)

    def test_success_stands(self) -> None:
        """What succeeded is not done again, whatever the codes say."""
        self.assertIsNone(self.delay(Outcome(200), policy=RetryPolicy(codes=frozenset({200}))))
        self.assertIsNone(self.delay(Outcome(202)))

    def test_not_executed_is_tried_again(self) -> None:
        """No connection, 429 and 503: the function did not run."""
        self.assertEqual(self.delay(failed(BAD_GATEWAY, "refused", not_executed=True)), 0.5)
        self.assertEqual(self.delay(Outcome(429)), 0.5)
        self.assertEqual(self.delay(Outcome(503)), 0.5)

    def test_maybe_executed_stands(self) -> None:
        """A broken connection, a time-out and a function's own failure are not repeated unasked."""
        for outcome in (failed(BAD_GATEWAY, "broke"), failed(TIMED_OUT, "late"), Outcome(500), Outcome(404)):
            self.assertIsNone(self.delay(outcome))

    def test_wider_codes(self) -> None:
        """Who names the codes accepts that a call may run twice."""
        policy = RetryPolicy(codes=frozenset({500, 502, 504}), backoff="exponential")
        for outcome in (failed(BAD_GATEWAY, "broke"), failed(TIMED_OUT, "late"), Outcome(500)):
            self.assertEqual(self.delay(outcome, policy=policy), 0.5)

    def test_final(self) -> None:
        """What cannot succeed is never tried again."""
        policy = RetryPolicy(codes=frozenset({413, 500, 503}))
        for outcome in (failed(TOO_LARGE, "big", final=True), unfinished("full"), Outcome(500, final=True)):
            self.assertIsNone(self.delay(outcome, policy=policy))

    def test_attempts_count_the_first(self) -> None:
        """Three attempts are one and two more."""
        self.assertIsNotNone(self.delay(Outcome(503), attempt=2))
        self.assertIsNone(self.delay(Outcome(503), attempt=3))
        self.assertIsNone(self.delay(Outcome(503), policy=RetryPolicy(attempts=1)))

    def test_backoff(self) -> None:
        """Waits double up to the longest; jitter takes off all of it, or half."""
        policy = RetryPolicy(attempts=10_000, wait_s=1, max_wait_s=10, backoff="exponential")
        self.assertEqual([policy.delay_s(Outcome(503), n, lambda: 0.5) for n in (1, 2, 3, 4, 5)], [1, 2, 4, 8, 10])
        self.assertEqual(policy.delay_s(Outcome(503), 9_999, lambda: 0.5), 10)
        for backoff, low, high in (("full", 0, 4), ("equal", 2, 4)):
            policy = RetryPolicy(attempts=5, wait_s=1, backoff=backoff)
            self.assertEqual(policy.delay_s(Outcome(503), 3, lambda: 0.0), low)
            self.assertEqual(policy.delay_s(Outcome(503), 3, lambda: 1.0), high)

    def test_retry_after(self) -> None:
        """The answer's own wish counts, within the shortest and the longest wait."""
        policy = RetryPolicy(wait_s=1, max_wait_s=60)
        for wish, delay in ((5, 5), (0, 1), (1000, 60)):
            self.assertEqual(policy.delay_s(Outcome(429, retry_after_s=wish), 1, lambda: 0.5), delay)
