"""Tests of what a reply is on NATS."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.messages.delivery import reply_headers
from natsconnector.model.reply import Reply


class ReplyHeadersTests(SynchronousTestCase):
    """Headers of a reply."""

    def test_response(self) -> None:
        """The function's status and headers, and the call's id; no sign of an error."""
        reply = Reply(200, b"hi", (("content-type", "text/html"),), None, "id-1", is_response=True)
        self.assertEqual(
            reply_headers(reply), [("X-Function-Status", "200"), ("content-type", "text/html"), ("X-Call-Id", "id-1")]
        )

    def test_failed_response(self) -> None:
        """Its own status, and the convention of NATS services."""
        headers = dict(reply_headers(Reply(500, b"boom", (), "f answered 500", "id-1", is_response=True)))
        self.assertEqual(headers["X-Function-Status"], "500")
        self.assertEqual((headers["Nats-Service-Error-Code"], headers["Nats-Service-Error"]), ("500", "f answered 500"))

    def test_no_response(self) -> None:
        """No status pretends to be the function's; what was no call has no id."""
        headers = dict(reply_headers(Reply(400, b"not JSON", (("Content-Type", "text/plain"),), "not JSON")))
        self.assertEqual(
            headers,
            {"Content-Type": "text/plain", "Nats-Service-Error-Code": "400", "Nats-Service-Error": "not JSON"},
        )
