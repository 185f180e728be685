"""Tests of publishing dead letters."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from natsconnector.messages.dead_letters import CoreDeadLetters, StoredDeadLetters
from natsconnector.model.seams import IDeadLetters, ReplyNotSent, ReplyTooLarge
from tests.nats.jetstream.support import JetStreamPeer, error


class DeadLettersTests(SynchronousTestCase):
    """Places for dead letters."""

    def setUp(self) -> None:
        self.server = JetStreamPeer()
        self.stored = StoredDeadLetters(self.server.js, "dead")
        self.core = CoreDeadLetters(self.server.client, "dead")

    def answered(self, answer: object) -> Deferred[None]:
        """A letter for the stream, whose publishing was answered so."""
        published = self.stored.publish(b"x", [("A", "b")])
        (heard,) = self.server.heard()
        self.server.answer(heard, answer)
        return published

    def test_interfaces(self) -> None:
        """Both are what they say."""
        verifyObject(IDeadLetters, self.stored)
        verifyObject(IDeadLetters, self.core)

    def test_core(self) -> None:
        """On core NATS it is published, and that is all there is to know."""
        self.successResultOf(self.core.publish(b"x", [("A", "b")]))
        (heard,) = self.server.heard()
        self.assertEqual((heard.subject, heard.reply, heard.payload), ("dead", None, b"x"))
        self.failureResultOf(self.core.publish(b"x" * (1 << 21), []), ReplyTooLarge)
        self.assertEqual(self.core.description, "its dead letter was published on dead")
        self.assertEqual(self.stored.description, "its dead letter is stored, on dead")

    def test_stored(self) -> None:
        """It is safe when the stream says so, a duplicate included."""
        published = self.stored.publish(b"x", [])
        self.assertNoResult(published)
        published.addErrback(lambda _: None)
        self.server.heard()
        self.successResultOf(self.answered({"stream": "DEAD", "seq": 1}))
        self.successResultOf(self.answered({"stream": "DEAD", "seq": 1, "duplicate": True}))

    def test_not_stored(self) -> None:
        """What the stream says otherwise, and silence."""
        for answer in (error(10077, 503, "maximum messages exceeded"), error(10008, 503), b"thanks"):
            self.assertNotIsInstance(self.failureResultOf(self.answered(answer), ReplyNotSent).value, ReplyTooLarge)
        silent = self.stored.publish(b"x", [])
        self.server.clock.advance(5)
        self.failureResultOf(silent, ReplyNotSent)

    def test_too_large(self) -> None:
        """Larger than the server takes, or than the stream does: a smaller one could be."""
        self.failureResultOf(self.stored.publish(b"x" * (1 << 20), [("A", "b")]), ReplyTooLarge)
        self.failureResultOf(self.answered(error(10054, 400, "message size exceeds maximum allowed")), ReplyTooLarge)
        answer = error(10097, 400, "header size exceeds maximum allowed of 64k")
        self.failureResultOf(self.answered(answer), ReplyTooLarge)
