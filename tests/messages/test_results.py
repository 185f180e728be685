"""Tests of publishing results of asynchronous calls."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.messages.replies import Replies
from natsconnector.messages.results import Results
from natsconnector.model.reply import Reply
from natsconnector.model.seams import ReplyNotSent, ReplyTooLarge
from natsconnector.nats.jetstream import JetStream
from tests.nats.jetstream.support import Heard, JetStreamPeer, error

REPLY = Reply(200, b"hi", (("A", "b"),), None, "id-1", is_response=True)
NAMES = "$JS.API.STREAM.NAMES"


class ResultsTests(SynchronousTestCase):
    """With and without a stream."""

    def setUp(self) -> None:
        self.server = JetStreamPeer()
        replies = Replies(self.server.client, ["results.>", "ours"])
        replies.never(["ours"])
        jetstream = JetStream(self.server.client, must_be_allowed=False)
        self.results = Results(self.server.clock, self.server.client, replies, jetstream)

    def publish(self, subject: str = "results.f", reply: Reply = REPLY) -> Deferred[None]:
        return self.results.publish(subject, reply, 2, "mid-1")

    def asked(self, *streams: str, answer: object = None) -> Deferred[None]:
        """A result whose streams the server was asked for, and named."""
        published = self.publish()
        (heard,) = self.server.heard()
        self.assertEqual((heard.subject, heard.fields), (NAMES, {"subject": "results.f"}))
        self.server.answer(heard, answer or {"streams": [*streams]})
        return published

    def one(self) -> Heard:
        (heard,) = self.server.heard()
        return heard

    def pong(self) -> None:
        self.server.peer.say(b"PONG\r\n")

    def heard_with_ping(self) -> Heard:
        """What was published, and a PING behind it."""
        data = self.server.peer.heard()
        self.assertTrue(data.endswith(b"PING\r\n"), data)
        self.server._unread += data.removesuffix(b"PING\r\n")
        return self.one()

    def test_stored(self) -> None:
        """Where a stream listens it has to have stored the result."""
        published = self.asked("RESULTS")
        heard = self.one()
        self.assertEqual((heard.subject, heard.payload), ("results.f", b"hi"))
        for line in (b"X-Function-Status: 200", b"A: b", b"X-Call-Id: id-1", b"Natsconnector-Hops: 3"):
            self.assertIn(line, heard.headers)
        self.assertIn(b"Nats-Msg-Id: mid-1", heard.headers)
        self.assertNoResult(published)
        self.server.answer(heard, {"stream": "RESULTS", "seq": 1})
        self.successResultOf(published)
        again = self.publish()
        self.server.answer(self.one(), {"stream": "RESULTS", "seq": 1, "duplicate": True})
        self.successResultOf(again)

    def test_not_stored(self) -> None:
        """What the stream says otherwise; it is asked for anew then."""
        for answer in (error(10077, 503, "maximum bytes exceeded"), b"thanks"):
            published = self.asked("RESULTS")
            self.server.answer(self.one(), answer)
            self.failureResultOf(published, ReplyNotSent)
        published = self.asked("RESULTS")
        self.server.answer(self.one(), error(10054, 400, "message size exceeds maximum allowed"))
        self.failureResultOf(published, ReplyTooLarge)

    def test_silent_stream(self) -> None:
        """A stream that does not answer may have stored it or not: it is not known to."""
        published = self.asked("RESULTS")
        self.one()
        self.server.clock.advance(5)
        self.failureResultOf(published, ReplyNotSent)

    def test_no_stream(self) -> None:
        """Without a stream the server has to have it; the server is not asked again for a while."""
        published = self.asked()
        heard = self.heard_with_ping()
        self.assertEqual((heard.subject, heard.reply, heard.payload), ("results.f", None, b"hi"))
        self.assertNoResult(published)
        self.pong()
        self.successResultOf(published)
        published = self.publish()
        self.assertEqual(self.heard_with_ping().subject, "results.f")
        self.pong()
        self.successResultOf(published)
        self.server.clock.advance(30)
        self.pong()
        self.asked().addErrback(lambda _: None)

    def test_without_jetstream(self) -> None:
        """Where JetStream is off, for the server or the account, there is no stream."""
        for answer in (error(10076, 503), error(10039, 503)):
            published = self.asked(answer=answer)
            self.heard_with_ping()
            self.pong()
            self.successResultOf(published)
            self.server.clock.advance(30)
            self.pong()

    def test_not_known(self) -> None:
        """While it is not known whether a stream listens nothing is published."""
        self.failureResultOf(self.asked(answer=error(10008, 503, "temporarily unavailable")), ReplyNotSent)
        silent = self.publish()
        self.one()
        self.server.clock.advance(5)
        self.failureResultOf(silent, ReplyNotSent)
        self.assertEqual(self.server.heard(), [])

    def test_may_not_ask(self) -> None:
        """Without the right to ask it is published, and said once that nothing is known of streams."""
        with capturedLogs() as logged:
            for _ in range(2):
                published = self.publish()
                self.one()
                self.server.peer.say(b"-ERR 'Permissions Violation for Publish to \"$JS.API.STREAM.NAMES\"'\r\n")
                self.heard_with_ping()
                self.pong()
                self.successResultOf(published)
                self.server.clock.advance(30)
                self.pong()
        self.assertEqual([event["event"] for event in logged if "event" in event], ["results_unconfirmed"])

    def test_refused(self) -> None:
        """A publish that the server does not allow is no success."""
        published = self.asked()
        self.heard_with_ping()
        self.server.peer.say(b"-ERR 'Permissions Violation for Publish to \"results.f\"'\r\nPONG\r\n")
        self.failureResultOf(published, ReplyNotSent)

    def test_inbox(self) -> None:
        """No stream listens on an inbox: the server is not asked."""
        published = self.publish("_INBOX.a.b")
        heard = self.heard_with_ping()
        self.assertEqual(heard.subject, "_INBOX.a.b")
        self.assertNotIn(b"Natsconnector-Hops", heard.headers)
        self.pong()
        self.successResultOf(published)

    def test_too_large(self) -> None:
        """Larger than the server takes."""
        self.assertEqual(self.results.max_bytes, 1 << 20)
        reply: Any = Reply(200, b"x" * (1 << 20), (("A", "b"),), is_response=True)
        self.failureResultOf(self.publish("_INBOX.a", reply), ReplyTooLarge)

    def test_away(self) -> None:
        """Without a connection nothing is published, also not later; a lost one leaves it unknown."""
        published = self.publish("_INBOX.a")
        self.server.peer.drop()
        self.failureResultOf(published, ReplyNotSent)
        self.assertIn("no connection", str(self.failureResultOf(self.publish(), ReplyNotSent).value))
        self.server.reconnect()
        self.assertEqual(self.server.heard(), [])

    def test_subjects(self) -> None:
        """A subject that a message names has to be allowed; none may be the connector's own or the server's."""
        for subject, named, reply in (
            ("results.a", True, True),
            ("other", False, True),
            ("ours", False, False),
            ("$JS.API.X", False, False),
        ):
            self.assertIs(self.results.may_go_to(subject, is_named=True), named, subject)
            self.assertIs(self.results.may_go_to(subject, is_named=False), reply, subject)

    def test_bounded(self) -> None:
        """What is known of subjects is bounded."""
        for number in range(1100):
            published = self.publish(f"results.{number}")
            self.server.answer(self.one(), {"streams": []})
            self.server.peer.heard()
            self.pong()
            self.successResultOf(published)
        self.assertEqual(len(self.results._listens), 1024)
