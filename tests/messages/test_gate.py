"""Tests of messages that wait for older ones that are somewhere else."""

from __future__ import annotations

from typing import Any

from natsconnector.messages.consumer import Wanted
from natsconnector.messages.room import Room
from natsconnector.messages.stream import JetStreamSource
from tests.messages.test_stream import CONSUMER, SourceCase

PINNED = {**CONSUMER, "priority_groups": ["ordered"], "priority_policy": "pinned_client"}


class GateTests(SourceCase):
    """A source that keeps the order, at a consumer that is pinned to one connector at a time."""

    def setUp(self) -> None:
        super().setUp()
        self.outstanding = 0
        self.api.answers["CONSUMER.INFO.S.C"] = lambda body: {"config": PINNED, "num_ack_pending": self.outstanding}
        wanted = Wanted("S", "C", ("function.call",), ordered=True)
        self.source = JetStreamSource(self.clock, self.server.client, self.server.js, wanted, room=Room(4))

    def bound(self) -> None:
        """The consumer is pinned to this connector, by its first message, which nothing is before."""
        self.take()
        self.come(1, "one")
        self.outstanding = 1
        self.look()
        self.assertEqual(self.sequences, [1])

    def come(self, sequence: int, pin: str, **more: Any) -> str:
        """A message for who has a pin; the subject for its acknowledgement."""
        return self.deliver(sequence, block=f"NATS/1.0\r\nNats-Pin-Id: {pin}\r\n\r\n".encode(), **more)

    def end_pull(self) -> None:
        self.server.status("408 Request Timeout", to=self.inbox)

    def look(self) -> None:
        """The next look at the consumer."""
        self.clock.advance(1)
        self.said()

    @property
    def sequences(self) -> list[int]:
        return [each.where.stream_sequence for each in self.deliveries]

    def test_pinned(self) -> None:
        """Messages of a consumer that is pinned to this connector now wait until the one before has ended its own."""
        self.take()
        self.outstanding = 3  # two of them in hand of another connector
        self.come(7, "one")
        self.end_pull()
        self.look()
        self.assertEqual((self.sequences, self.pulled), ([], []), "nothing more is pulled meanwhile")
        self.outstanding = 1
        self.look()
        self.assertEqual((self.sequences, self.pulled), ([7], [3]))
        self.come(8, "one")
        self.assertEqual(self.sequences, [7, 8], "the same pin")
        self.come(9, "two")
        self.assertEqual(self.sequences, [7, 8])
        self.outstanding = 3
        self.look()
        self.assertEqual(self.sequences, [7, 8, 9])

    def test_lost_with_another(self) -> None:
        """After an ack wait those come again that nobody works on; all go on in the order of the stream."""
        self.take()
        self.outstanding = 3
        for sequence in (7, 8):
            self.come(sequence, "one")
        self.end_pull()
        for _ in range(3):  # the ack wait is three seconds
            self.look()
        self.assertEqual(self.pulled, [4], "what waits takes no room from what is to come")
        self.come(6, "one", delivered=2)
        self.look()
        self.assertEqual(self.sequences, [6, 7, 8])

    def test_at_the_start(self) -> None:
        """What an earlier connector has left behind comes first."""
        self.outstanding = 1
        self.take()
        self.assertEqual(self.pulled, [])
        for _ in range(3):
            self.look()
        self.assertEqual(self.pulled, [4])

    def test_acknowledged_meanwhile(self) -> None:
        """What was acknowledged while the server was asked does not stand for a message of another connector."""
        self.bound()
        self.outstanding = 2
        self.come(3, "two")
        self.clock.advance(1)
        self.deliveries[0].ack()
        self.said()
        self.assertEqual(self.sequences, [1])
        self.outstanding = 1
        self.look()
        self.assertEqual(self.sequences, [1, 3])

    def test_came_meanwhile(self) -> None:
        """Nor does what has come while the server was asked."""
        self.bound()
        self.outstanding = 2
        self.clock.advance(1)
        self.come(3, "two")
        self.said()
        self.assertEqual(self.sequences, [1])
        self.look()
        self.assertEqual(self.sequences, [1, 3])

    def test_new_connection(self) -> None:
        """What was on its way on the old connection comes again, and may be older than what comes on the new one."""
        self.bound()
        self.server.reconnect()
        self.outstanding = 2
        self.said()
        self.assertEqual(self.pulled, [], "nothing is pulled before the server has told")
        for _ in range(3):
            self.look()
        self.come(2, "one", delivered=2)
        self.assertEqual(self.sequences, [1])
        self.look()
        self.assertEqual(self.sequences, [1, 2])

    def test_stopping(self) -> None:
        """What waits is given back at once, and the pin as well."""
        self.take()
        self.outstanding = 2
        acks = self.come(7, "one")
        self.look()
        stopped = self.source.stop()
        said = self.verbs()
        self.server.peer.say(b"PONG\r\n")
        self.successResultOf(stopped)
        said += self.verbs()
        self.assertIn(("$JS.API.CONSUMER.UNPIN.S.C", b'{"group": "ordered"}'), said)
        self.assertIn((acks, b"-NAK"), [(subject, verb[:4]) for subject, verb in said])
        self.assertEqual(self.sequences, [])
