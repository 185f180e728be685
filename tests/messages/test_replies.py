"""Tests of where replies go, and what they are on NATS."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.messages.replies import Replies, reply_headers
from natsconnector.model.mapping import SubjectMapping
from natsconnector.model.reply import Reply
from natsconnector.model.seams import ReplyNotSent, ReplyTooLarge
from natsconnector.nats import Msg, PermissionsViolation
from tests.nats.fakes import World


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


class ReplySubjectTests(SynchronousTestCase):
    """A publisher cannot use the connector's rights for itself."""

    def setUp(self) -> None:
        self.world = World()
        self.peer = self.world.connected()
        self.reasons: list[str] = []
        self.replies = Replies(self.world.client, ["_INBOX.>", "results.*"], not_sent=self.reasons.append)
        self.replies.never(["function.*", "dead"])

    def test_of_a_message(self) -> None:
        """NATS lets a requester choose, but not what is the server's, nor where the connector itself listens."""
        for subject in ("_INBOX.a.b", "anything", "results.a"):
            self.assertEqual(self.replies.reply_subject(subject), subject)
        for bad in (None, "$JS.ACK.S.C.1.1.1.1.0", "$SYS.REQ.SERVER.PING", "function.call", "dead"):
            self.assertIsNone(self.replies.reply_subject(bad), bad)

    def test_of_a_header(self) -> None:
        """What a header names has to be allowed as well, and to be a subject."""
        for subject in ("_INBOX.a.b", "results.a"):
            self.assertEqual(self.replies.subject_of_header(subject), subject)
        for bad in (
            None,
            "",
            "admin.exec",
            "results.a.b",
            "$JS.API.INFO",
            "_INBOX.two words",
            "results." + "a" * 9999,
        ):
            self.assertIsNone(self.replies.subject_of_header(bad), bad)
        self.assertEqual(self.reasons, ["not_allowed"] * 5)
        replies = Replies(self.world.client, [">"])
        replies.never(["t"])
        self.assertEqual((replies.subject_of_header("t"), replies.subject_of_header("u")), (None, "u"))

    def test_unasked(self) -> None:
        """Where the operator sends it, as the first that matches says; within bounds, whatever a publisher's tokens."""
        pairs = (("mq.call", "first"), ("mq.*", "to.$1"), ("x.*", "$1"))
        replies = Replies(self.world.client, [], [SubjectMapping(*pair) for pair in pairs])
        replies.never(["to.no"])
        for subject, answer in [
            ("mq.call", "first"),
            ("mq.a", "to.a"),
            ("other", None),
            ("mq.no", None),
            ("x.$JS", None),
            ("mq." + "a" * 2000, None),
            ("mq.a\tb", None),
            ("mq.*", None),
        ]:
            self.assertEqual(replies.subject_unasked(subject), answer, subject)
        self.assertIsNone(self.replies.subject_unasked("mq.call"))

    def test_hops(self) -> None:
        """A reply to a subject where somebody may listen for good says how many connectors' replies led to it."""
        for subject, hops, header in (("_INBOX.a", 3, None), ("results.a", 3, b"Natsconnector-Hops: 4")):
            block = b"NATS/1.0\r\nNatsconnector-Hops: %d\r\n\r\n" % hops
            self.replies.publish(subject, Reply(200, b"x", call_id="id"), Msg("t", 1, header_block=block))
            heard = self.peer.heard()
            self.assertEqual(b"Natsconnector-Hops" in heard, header is not None)
            self.assertIn(header or b"X-Call-Id: id", heard)

    def test_refused(self) -> None:
        """A reply that the server refuses is counted; an acknowledgement or a dead letter is none."""
        for subject in ("_INBOX.a", "$JS.ACK.S.C.1.1.1.1.0", "dead"):
            self.replies.refused(PermissionsViolation("no", "publish", subject, None))
        self.assertEqual(self.reasons, ["refused"])

    def test_not_sent(self) -> None:
        """Why a reply could not be published, and whether a smaller one could be."""
        self.assertRaises(ReplyTooLarge, self.replies.publish, "a", Reply(200, b"x" * (1 << 21)), Msg("t", 1))
        self.world.client.close()
        fault = self.assertRaises(ReplyNotSent, self.replies.publish, "a", Reply(200, b"x"), Msg("t", 1))
        self.assertNotIsInstance(fault, ReplyTooLarge)
        self.assertIn("closed", str(fault))
