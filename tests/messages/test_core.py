"""Tests of core NATS subscriptions."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from natsconnector.messages.core import CoreSource
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
        self.peer.say(b'-ERR \'Permissions Violation for Subscription to "b" using queue "group"\'\r\nPONG\r\n')
        self.assertIn("subject b: NATS server: Permissions Violation", self.source.not_ready or "")
        self.peer.heard()
        self.world.clock.advance(60)
        self.assertIn(b"SUB b group", self.peer.heard())
        self.peer.say(b"PONG\r\n" * 3)
        self.assertIsNone(self.source.not_ready)
        self.assertIsNone(told[-1])

    def test_stopped(self) -> None:
        """What becomes a topic while it stops is not listened on any more; what is on its way is delivered."""
        self.peer.heard()
        stopped = self.source.stop()
        self.source.listen_on(["a", "b"])
        self.assertNotIn(b"SUB b", self.peer.heard())
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
