"""The NATS server in memory does what a real one does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import ConnectFailed, MaxPayloadExceeded, Msg, NoResponders, Status
from natsconnector.testing import FakeNats


class FakeNatsTests(SynchronousTestCase):
    """Clients on a server in memory."""

    def setUp(self) -> None:
        self.nats = FakeNats()
        self.client = self.nats.client()
        self.messages: list[tuple[str, bytes]] = []

    def note(self, msg: Msg) -> None:
        self.messages.append((msg.subject, msg.payload))

    def test_subjects(self) -> None:
        """Wildcards, once for each subscription that matches; unsubscribed, no more."""
        one = self.client.subscribe("a.*", self.note)
        self.client.subscribe("a.>", self.note)
        self.client.subscribe("b", self.note).unsubscribe(2)
        other = self.nats.client()
        for subject in ("a.b", "a.b.c", "a", "b", "b", "b"):
            other.publish(subject, subject.encode())
        self.nats.settle()
        self.assertEqual([subject for subject, _ in self.messages], ["a.b", "a.b", "a.b.c", "b", "b"])
        one.unsubscribe()
        other.publish("a.b")
        self.nats.settle()
        self.assertEqual(len(self.messages), 6)
        self.assertEqual([msg.subject for msg in self.nats.published][-2:], ["b", "a.b"])

    def test_queue_groups(self) -> None:
        """Each message reaches one of a group, and each of them some."""
        counts = [0, 0]

        def count(number: int) -> Any:
            def received(msg: Msg) -> None:
                counts[number] += 1

            return received

        for number in (0, 1):
            self.nats.client().subscribe("jobs", count(number), queue="workers")
        self.nats.settle()
        for _ in range(10):
            self.client.publish("jobs")
        self.nats.settle()
        self.assertEqual(counts, [5, 5])

    def test_requests(self) -> None:
        """Answers with headers; nobody there; all who answer."""

        def answers(name: str) -> Callable[[Msg], object]:
            return lambda msg: msg.respond(msg.payload, headers={"By": name})

        for name in ("one", "two"):
            self.nats.client().subscribe("greet", answers(name))
        self.nats.settle()
        asked = self.client.request("greet", b"Joe")
        everybody = self.client.request_many("greet", most=2)
        nobody = self.client.request("nobody")
        self.nats.settle()
        self.assertEqual(self.successResultOf(asked).payload, b"Joe")
        self.assertEqual(sorted(msg.headers.get("By") for msg in self.successResultOf(everybody)), ["one", "two"])
        self.failureResultOf(nobody, NoResponders)

    def test_connections(self) -> None:
        """It breaks them, and refuses them; clients come back with what they subscribed to."""
        self.client.subscribe("a", self.note)
        self.nats.is_away = True
        self.nats.drop()
        self.assertIs(self.client.status, Status.DISCONNECTED)
        self.nats.reactor.advance(10)
        self.nats.settle()
        self.assertIsInstance(self.client.last_error, ConnectFailed)
        self.client.publish("a", b"waits")
        self.nats.is_away = False
        self.nats.reactor.advance(10)
        self.nats.settle()
        self.assertEqual(self.messages, [("a", b"waits")])

    def test_end(self) -> None:
        """Flush, drain and close."""
        flushed = self.client.flush()
        self.nats.settle()
        self.successResultOf(flushed)
        worked: Deferred[None] = Deferred()
        self.client.subscribe("a", lambda msg: worked)
        self.client.publish("a")
        drained = self.client.drain()
        self.nats.settle()
        self.assertNoResult(drained)
        worked.callback(None)
        self.nats.settle()
        self.successResultOf(drained)

    def test_limit(self) -> None:
        """Clients keep to the size that it tells."""
        client = FakeNats(max_payload=10).client()
        self.assertRaises(MaxPayloadExceeded, client.publish, "a", bytes(11))
