"""Tests of outcomes, retries and answers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.calls import FunctionCall
from natsconnector.outcome import BAD_GATEWAY, TIMED_OUT, TOO_LARGE, Outcome, RetryPolicy, answer, failed, unfinished

CALL = FunctionCall("figlet", call_id="id-1")
ASYNC_CALL = FunctionCall("figlet", call_id="id-1", callback_url="http://h/")


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


class AnswerTests(SynchronousTestCase):
    """The reply to whoever asked."""

    def test_success(self) -> None:
        """Body, status, type and call id; no sign of an error."""
        outcome = Outcome(200, b"hi", (("content-type", "text/html"), ("Date", "today")))
        payload, headers = answer(outcome, CALL)
        self.assertEqual(payload, b"hi")
        self.assertEqual(headers, [("X-Function-Status", "200"), ("content-type", "text/html"), ("X-Call-Id", "id-1")])

    def test_accepted(self) -> None:
        """An accepted asynchronous call is a success."""
        self.assertEqual(dict(answer(Outcome(202), ASYNC_CALL)[1])["X-Function-Status"], "202")

    def test_own_failure_of_the_function(self) -> None:
        """Status and body are the function's; NATS's own tools see an error."""
        payload, headers = answer(Outcome(500, b"boom"), CALL)
        self.assertEqual(payload, b"boom")
        self.assertEqual(dict(headers)["X-Function-Status"], "500")
        self.assertEqual(dict(headers)["Nats-Service-Error-Code"], "500")
        self.assertEqual(dict(headers)["Nats-Service-Error"], "figlet answered 500")

    def test_no_answer(self) -> None:
        """The reason is the body, and no status pretends to be the function's."""
        payload, headers = answer(failed(BAD_GATEWAY, "the gateway is unreachable"), CALL)
        self.assertEqual(payload, b"the gateway is unreachable")
        self.assertNotIn("X-Function-Status", dict(headers))
        self.assertEqual(dict(headers)["Nats-Service-Error-Code"], "502")
        self.assertEqual(dict(headers)["Nats-Service-Error"], "the gateway is unreachable")

    def test_no_call(self) -> None:
        """A message that is no call has no call id."""
        self.assertNotIn("X-Call-Id", dict(answer(failed(400, "not JSON"), None)[1]))

    def test_asynchronous_404(self) -> None:
        """The gateway's missing route is told from a missing function."""
        self.assertIn("asynchronous queue", dict(answer(Outcome(404), ASYNC_CALL)[1])["Nats-Service-Error"])
