"""Tests of core NATS subscriptions."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from natsconnector.messages.core import CoreSource, shared_with_streams
from natsconnector.messages.replies import Replies
from natsconnector.model.mapping import SubjectMapping
from natsconnector.model.reply import Reply
from natsconnector.model.seams import IDelivery, ISource
from tests.nats.fakes import World


class CoreSourceTests(SynchronousTestCase):
    """Listening, and ceasing to."""

    def setUp(self) -> None:
        self.world = World()
        self.peer = self.world.connected()
        self.deliveries: list[IDelivery] = []
        self.source = CoreSource(self.world.client, ["a"], "group")
        self.source.start(self.deliveries.append)
        self.peer.say(b"PONG\r\n")

    def test_interface(self) -> None:
        """It is a source."""
        verifyObject(ISource, self.source)

    def test_listen_on(self) -> None:
        """It follows a list of subjects; those that stay keep their subscription."""
        self.assertEqual(self.peer.heard(), b"SUB a group 1\r\n")
        self.source.listen_on(["a", "b"])
        self.assertEqual(self.peer.heard(), b"SUB b group 2\r\n")
        self.source.listen_on(["b"])
        self.assertIn(b"UNSUB 1\r\n", self.peer.heard())

    def test_ready(self) -> None:
        """Ready means that the server has confirmed every subscription; a refusal is seen, and its end."""
        self.assertIsNone(self.source.not_ready)
        told: list[str | None] = []
        self.source.watch(lambda: told.append(self.source.not_ready))
        self.source.listen_on(["a", "b"])
        self.assertEqual(self.source.not_ready, "subject b: not subscribed yet")
        self.assertEqual(told, [self.source.not_ready])
        self.peer.say(b'-ERR \'Permissions Violation for Subscription to "b" using queue "group"\'\r\nPONG\r\n')
        self.assertIn("subject b: NATS server: Permissions Violation", self.source.not_ready or "")
        self.peer.heard()
        self.world.clock.advance(60)
        self.assertIn(b"SUB b group", self.peer.heard())
        self.peer.say(b"PONG\r\n" * 3)
        self.assertIsNone(self.source.not_ready)
        self.assertIsNone(told[-1])

    def test_reply_subject(self) -> None:
        """The message's own counts; one that has none is answered where the operator sends it."""
        replies = Replies(self.world.client, [], [SubjectMapping("b.*", "to.$1")])
        CoreSource(self.world.client, ["b.*"], "group", replies).start(self.deliveries.append)
        self.peer.say(b"PONG\r\nMSG b.x 2 _INBOX.a 0\r\n\r\nMSG b.x 2 0\r\n\r\nMSG a 1 0\r\n\r\n")
        for delivery in self.deliveries:
            delivery.answer(Reply(200))
        self.assertEqual([delivery.wants_answer for delivery in self.deliveries], [True, True, False])
        self.world.clock.advance(0)
        heard = self.peer.heard()
        self.assertIn(b"PUB _INBOX.a 0", heard)
        self.assertIn(b"HPUB to.x ", heard)

    def test_stopped(self) -> None:
        """What becomes a topic while it stops is not listened on any more; what is on its way is delivered."""
        self.peer.heard()
        stopped = self.source.stop()
        self.source.listen_on(["a", "b"])
        self.assertNotIn(b"SUB b", self.peer.heard())
        self.assertNoResult(stopped)
        self.peer.say(b"MSG a 1 2\r\nhi\r\nPONG\r\n")
        self.successResultOf(stopped)
        self.assertEqual([delivery.payload for delivery in self.deliveries], [b"hi"])

    def test_answers(self) -> None:
        """An answer goes to the reply subject, but never to one of the server's own."""
        for reply in (b"_INBOX.x", b"$JS.ACK.S.C.1.1.1.1.0", b"$JS.API.STREAM.DELETE.S", b"$SYS.REQ.SERVER.PING"):
            self.peer.say(b"MSG a 1 " + reply + b" 2\r\nhi\r\n")
        self.peer.heard()
        self.assertEqual([delivery.wants_answer for delivery in self.deliveries], [True, False, False, False])
        for delivery in self.deliveries:
            delivery.answer(Reply(200, b"ok"))
        self.assertEqual(self.peer.heard(), b"PUB _INBOX.x 2\r\nok\r\n")

    def test_delivery(self) -> None:
        """What is known of a message, and of headers that cannot be read; a settlement says nothing to the server."""
        block = b"NATS/1.0\r\nA: b\r\nno header\r\n\r\n"
        self.peer.say(b"HMSG a 1 %d %d\r\n%bhi\r\n" % (len(block), len(block) + 2, block))
        (delivery,) = self.deliveries
        self.assertEqual((delivery.subject, delivery.payload, list(delivery.headers)), ("a", b"hi", [("A", "b")]))
        self.assertEqual((delivery.skipped_headers, delivery.header_error), (("line 3 has no colon",), None))
        self.assertEqual(delivery.size_bytes, len(block) + 2)
        self.assertEqual((delivery.durable, delivery.comes_again, delivery.attempt), (False, False, 1))
        self.assertEqual((delivery.identity, delivery.published_at_s, delivery.most_attempts), (None, None, None))
        self.peer.heard()
        delivery.hold_back(True)
        delivery.ack()
        delivery.nak(1.0)
        delivery.term("bad")
        self.assertEqual((delivery.wants_answer, self.peer.heard()), (False, b""))

    def test_header_block_that_cannot_be_read(self) -> None:
        """The message comes all the same, to be answered with the reason."""
        self.peer.say(b"HMSG a 1 _INBOX.x 12 14\r\nNOTS/1.0\r\n\r\nhi\r\n")
        (delivery,) = self.deliveries
        self.assertTrue(delivery.wants_answer and delivery.header_error)

    def test_push_consumer(self) -> None:
        """Messages that want an acknowledgement, which nobody here gives, are told of once."""
        with capturedLogs() as events:
            for _ in range(2):
                self.peer.say(b"MSG a 1 $JS.ACK.ORDERS.C.1.1.1.1.0 2\r\nhi\r\n")
            self.peer.say(b"MSG a 1 _INBOX.x 2\r\nhi\r\n")
        (line,) = [formatEvent(event) for event in events if event.get("event") == "push_consumer"]
        self.assertIn("take them with --stream ORDERS instead", line)

    def test_texts(self) -> None:
        """What it listens on, and what is said where a stream does so too."""
        self.assertEqual(self.source.description, "subjects a in queue group group")
        self.source.listen_on([])
        self.assertEqual(self.source.description, "subjects none yet in queue group group")
        self.assertIn("stream A, B listens on a.* too", shared_with_streams("a.*", ["A", "B"]))

    def test_server_does_not_answer(self) -> None:
        """The end waits for it only so long, and says what it could not wait for."""
        stopped = self.source.stop()
        with capturedLogs() as events:
            self.world.clock.advance(10)
        self.successResultOf(stopped)
        (line,) = [formatEvent(event) for event in events if "drain" in str(event.get("log_format"))]
        self.assertIn("could not drain a: the NATS server did not confirm a flush", line or "")
