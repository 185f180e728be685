"""Tests of what a requester is told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.call import FunctionCall
from natsconnector.model.outcome import BAD_GATEWAY, Outcome, failed
from natsconnector.model.reply import answer

CALL = FunctionCall("figlet", call_id="id-1")
ASYNC_CALL = FunctionCall("figlet", call_id="id-1", callback_url="http://h/")


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
