"""Tests of what a requester is told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.call import FunctionCall
from natsconnector.model.outcome import BAD_GATEWAY, Outcome, failed
from natsconnector.model.reply import Reply, reply_to

CALL = FunctionCall("figlet", call_id="id-1")
ASYNC_CALL = FunctionCall("figlet", call_id="id-1", callback_url="http://h/")


class ReplyTests(SynchronousTestCase):
    """The reply to whoever asked."""

    def test_success(self) -> None:
        """Status, body and headers of the response, and the call id; no sign of an error."""
        outcome = Outcome(200, b"hi", (("content-type", "text/html"), ("Date", "today")))
        reply = reply_to(outcome, CALL)
        self.assertEqual(reply, Reply(200, b"hi", (("content-type", "text/html"),), None, "id-1", is_response=True))

    def test_accepted(self) -> None:
        """An accepted asynchronous call is a success."""
        self.assertEqual(reply_to(Outcome(202), ASYNC_CALL), Reply(202, call_id="id-1", is_response=True))

    def test_own_failure_of_the_function(self) -> None:
        """Status and body are the function's, and the error says which function."""
        reply = reply_to(Outcome(500, b"boom"), CALL)
        self.assertEqual(reply, Reply(500, b"boom", (), "figlet answered 500", "id-1", is_response=True))

    def test_no_response(self) -> None:
        """The reason is the body, and no status pretends to be the function's."""
        reply = reply_to(failed(BAD_GATEWAY, "the gateway is unreachable"), CALL)
        self.assertEqual((reply.status, reply.body, reply.is_response), (502, b"the gateway is unreachable", False))
        self.assertEqual(
            (reply.error, reply.headers), ("the gateway is unreachable", (("Content-Type", "text/plain"),))
        )

    def test_no_call(self) -> None:
        """A message that is no call has no call id."""
        self.assertIsNone(reply_to(failed(400, "not JSON"), None).call_id)

    def test_asynchronous_404(self) -> None:
        """The gateway's missing route is told from a missing function."""
        self.assertIn("asynchronous queue", reply_to(Outcome(404), ASYNC_CALL).error or "")
