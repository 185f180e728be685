"""Tests of messages that are called one after the other."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from natsconnector.dispatch.dispatcher import Dispatcher
from natsconnector.dispatch.order import Order, Ordered, key_of
from natsconnector.dispatch.settlement import Settlement
from natsconnector.journal.journal import Journal
from natsconnector.model.call import FunctionCall
from natsconnector.model.limits import Limits
from natsconnector.model.outcome import Outcome, failed
from natsconnector.model.retries import RetryPolicy
from natsconnector.model.seams import IDelivery, ReplyNotSent
from natsconnector.planning.annotations import Terms
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.planner import Planner
from natsconnector.testing import FakeDeadLetters, FakeDelivery, FakeGateway

OK, BUSY = Outcome(200), Outcome(503)


def message(key: str, name: str, **more: Any) -> FakeDelivery:
    return FakeDelivery(name.encode(), "fn.f", [("Key", key)] if key else [], **more)


class OrderCase(SynchronousTestCase):
    """A dispatcher that keeps the order, over a fake gateway."""

    def dispatcher(self, *, gateway: Any = None, ordered_by: str | None = "key", **more: Any) -> Dispatcher:
        self.clock = Clock()
        self.gateway = FakeGateway()
        journal = Journal(self.clock)
        retries = RetryPolicy(attempts=more.pop("attempts", 3), wait_s=1, backoff="exponential")
        self.dead_letters = more.pop("dead_letters", None)
        return Dispatcher(
            gateway or self.gateway,
            self.clock,
            journal,
            Planner(Permissions(), (), function_subjects=["fn.*"], terms=Terms(retries)),
            Settlement(self.clock, journal, self.dead_letters),
            limits=more.pop("limits", Limits(inflight=50)),
            retries=retries,
            ordered_by=ordered_by,
            random=lambda: 1.0,
            **more,
        )

    @property
    def made(self) -> str:
        """The payloads of the calls so far."""
        return " ".join(call.body.decode() for call in self.gateway.calls)

    def end(self, *outcomes: Outcome) -> None:
        """End the calls that wait longest, each in a turn of the reactor of its own."""
        for outcome in outcomes:
            self.gateway.end(outcome)
            self.clock.advance(0)


class KeyTests(SynchronousTestCase):
    """What a message is ordered by."""

    def test_key(self) -> None:
        """A header, in any case, the first of its name; or the subject."""
        for headers, key in (
            ([("Device", "7"), ("Device", "8")], "7"),
            ([("dEVICE", "7")], "7"),
            ([("Device", "")], None),
            ([("Other", "7")], None),
        ):
            self.assertEqual(key_of(FakeDelivery(headers=headers), "device"), key)
        self.assertEqual(key_of(FakeDelivery(subject="a.b"), "subject"), "a.b")

    def test_delivery(self) -> None:
        """What others wait for is a delivery as well, with all that the message has."""
        delivery = message("k", "a", durable=True, attempt=3, most_attempts=5, identity="S-1")
        order: Any = object.__new__(Order)
        ordered = Ordered(order, delivery, "k")
        verifyObject(IDelivery, ordered)
        self.assertEqual((ordered.payload, ordered.identity, ordered.attempt), (b"a", "S-1", 3))
        self.assertEqual((ordered.comes_again, ordered.most_attempts), (True, None))


class OrderTests(OrderCase):
    """One after the other, by key."""

    def test_one_after_the_other(self) -> None:
        """Messages of one key in their order, those of others and those without a key beside them."""
        dispatcher = self.dispatcher()
        for key, name in (("x", "x1"), ("x", "x2"), ("y", "y1"), ("", "n1"), ("x", "x3"), ("", "n2")):
            dispatcher.dispatch(message(key, name))
        self.assertEqual(self.made, "x1 y1 n1 n2")
        self.assertEqual((dispatcher.inflight, dispatcher.pending), (4, 2))
        self.end(OK)
        self.assertEqual(self.made, "x1 y1 n1 n2 x2")
        self.end(OK, OK, OK, OK)
        self.assertEqual((self.made, dispatcher.pending), ("x1 y1 n1 n2 x2 x3", 0))
        self.end(OK)
        assert dispatcher._order is not None
        self.assertEqual(dispatcher._order._keys, {}, "nothing is left of keys")

    def test_without(self) -> None:
        """Nothing is ordered unless that was asked for."""
        dispatcher = self.dispatcher(ordered_by=None)
        for name in "ab":
            dispatcher.dispatch(message("x", name))
        self.assertEqual(self.made, "a b")

    def test_retry(self) -> None:
        """A message that is tried again holds up its key only, on core NATS and of a stream, until it has failed."""
        for durable in (False, True):
            dispatcher = self.dispatcher(attempts=2)
            first, second, other = (message(*each, durable=durable) for each in (("x", "1"), ("x", "2"), ("y", "3")))
            for each in (first, second, other):
                dispatcher.dispatch(each)
            self.end(BUSY, OK)
            self.assertEqual((self.made, len(other.replies)), ("1 3", 1))
            self.clock.advance(1)
            self.assertEqual((self.made, second.held_back), ("1 3 1", durable or second.held_back))
            self.end(BUSY)
            self.assertEqual((self.made, first.replies[0].status, second.held_back), ("1 3 1 2", 503, False))
            self.assertEqual(first.acknowledged, [("term", "f answered 503")])
            self.end(OK)
            self.assertEqual(second.acknowledged, [("ack", None)])

    def test_left_to_later(self) -> None:
        """What would go back to its stream stays here: a dead letter that cannot be stored holds up its key."""
        dead_letters = FakeDeadLetters()
        dispatcher = self.dispatcher(attempts=1, dead_letters=dead_letters)
        dead_letters.failures = [ReplyNotSent("away")] * 6
        first, second = message("x", "1", durable=True), message("x", "2", durable=True)
        dispatcher.dispatch(first)
        dispatcher.dispatch(second)
        self.end(BUSY)
        self.clock.pump([1, 2, 4, 8, 16])
        self.assertEqual((first.acknowledged, dispatcher.pending), ([], 2))
        self.clock.advance(30)
        self.assertEqual(self.made, "1 1")
        self.end(OK)
        self.assertEqual((self.made, first.acknowledged), ("1 1 2", [("ack", None)]))

    def test_missing(self) -> None:
        """A function that is not there holds up the key of a stream's message as long as it may be on its way."""
        dispatcher = self.dispatcher()
        first, second = message("x", "1", durable=True), message("x", "2", durable=True)
        dispatcher.dispatch(first)
        dispatcher.dispatch(second)
        self.end(Outcome(404, not_deployed=True))
        self.clock.pump([1, 0])
        self.assertEqual((self.made, first.acknowledged), ("1 1", []))
        self.end(OK, OK)
        self.assertEqual((first.acknowledged, second.acknowledged), ([("ack", None)], [("ack", None)]))

    def test_refused(self) -> None:
        """Messages that no call is made for are ended one after the other as well, however many there are."""
        dispatcher = self.dispatcher(ordered_by="subject")
        deliveries = [FakeDelivery(b"x", "fn.f")] + [FakeDelivery(b"x", "fn.f", [("Function-Method", "?")])] * 2000
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        idle = dispatcher.when_idle()
        self.assertEqual(dispatcher.pending, 2000)
        self.end(OK)
        while dispatcher.pending:
            self.clock.advance(0)
        self.assertEqual({reply.status for reply in deliveries[1].replies}, {400})
        self.successResultOf(idle)

    def test_bounded(self) -> None:
        """What waits for its key is pending: of core NATS it is bounded, and what is beyond is answered 503."""
        dispatcher = self.dispatcher(limits=Limits(inflight=50, pending_messages=2))
        deliveries = [message("x", str(number)) for number in range(4)]
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        self.assertEqual([len(each.replies) for each in deliveries], [0, 0, 0, 1])
        self.assertEqual(deliveries[3].replies[0].status, 503)
        self.clock.advance(3)
        self.assertEqual((dispatcher.pending, dispatcher.oldest_s), (2, 3.0))

    def test_too_old(self) -> None:
        """The time that a message waits for its key counts for --max-wait."""
        dispatcher = self.dispatcher(max_wait_s=5)
        deliveries = [message("x", str(number)) for number in range(3)]
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        self.clock.advance(6)
        self.end(OK)
        self.clock.pump([0, 0])
        self.assertEqual([each.replies[0].status for each in deliveries], [200, 503, 503])

    def test_giving_up(self) -> None:
        """At the end all that waits goes back, and each message is settled once."""
        dispatcher = self.dispatcher()
        core, durable = ([message(key, "m", durable=each) for key in "xxxyz"] for each in (False, True))
        for delivery in (*core, *durable):
            dispatcher.dispatch(delivery)
        self.end(BUSY)  # one waits for its next attempt
        idle = dispatcher.when_idle()
        dispatcher.give_up()
        self.successResultOf(idle)
        late = message("x", "late", durable=True)
        dispatcher.dispatch(late)
        for delivery in (*durable, late):
            self.assertEqual(delivery.acknowledged, [("nak", 0.0)])
        self.assertEqual([[reply.status for reply in each.replies] for each in core], [[503]] * 5)
        self.clock.advance(100)
        self.assertEqual({len(each.acknowledged) for each in durable}, {1}, "nothing comes later")
        self.assertEqual((dispatcher.inflight, dispatcher.pending, dispatcher.pending_bytes), (0, 0, 0))


class Sluggish:
    """A gateway whose calls take 10 to 30 ms, and of which some fail in ways that are tried again."""

    def __init__(self, clock: Clock, failures: float) -> None:
        self._clock = clock
        self._random = random.Random(4)
        self._failures = failures
        self.ok: dict[str, list[int]] = defaultdict(list)
        self._running: set[str] = set()
        self.overlaps = 0

    def call(self, call: FunctionCall) -> Deferred[Outcome]:
        key, number = call.body.decode().split()
        self.overlaps += key in self._running
        self._running.add(key)
        outcome = OK
        if self._random.random() < self._failures:
            outcome = self._random.choice([BUSY, Outcome(429), failed(502, "unreachable", not_executed=True)])
        ended: Deferred[Outcome] = Deferred()
        self._clock.callLater(self._random.uniform(0.01, 0.03), self._end, ended, outcome, key, int(number))
        return ended

    def _end(self, ended: Deferred[Outcome], outcome: Outcome, key: str, number: int) -> None:
        self._running.discard(key)
        if outcome is OK:
            self.ok[key].append(number)
        ended.callback(outcome)

    probe = close = None


class ManyKeysTests(OrderCase):
    """A small version of tests/chaos/order.py, in virtual time."""

    def run_all(self, ordered_by: str | None, *, durable: bool) -> tuple[float, Sluggish]:
        """1,000 messages of 20 keys; returns how long they took."""
        dispatcher = self.dispatcher(ordered_by=ordered_by, attempts=50, limits=Limits(inflight=10))
        gateway = Sluggish(self.clock, 0.05)
        dispatcher._gateway = gateway  # type: ignore[assignment]
        chosen = random.Random(5)
        deliveries = []
        for number in range(1000):
            key = f"k{chosen.randrange(20)}"
            deliveries.append(message(key, f"{key} {number}", durable=durable))
            dispatcher.dispatch(deliveries[-1])
        while dispatcher.inflight or dispatcher.pending:
            self.clock.advance(0.001)
            for each in deliveries:
                if each.acknowledged and each.acknowledged[-1][0] == "nak":
                    each.acknowledged.clear()
                    dispatcher.dispatch(each)
        return self.clock.seconds(), gateway

    def test_order(self) -> None:
        """Each key in order, whatever fails; without the setting it is not."""
        for durable in (False, True):
            _, gateway = self.run_all("key", durable=durable)
            self.assertEqual(gateway.overlaps, 0)
            self.assertEqual({key: sorted(numbers) for key, numbers in gateway.ok.items()}, gateway.ok)
            self.assertEqual(sum(map(len, gateway.ok.values())), 1000)
        _, gateway = self.run_all(None, durable=False)
        self.assertGreater(gateway.overlaps, 0)
        self.assertNotEqual({key: sorted(numbers) for key, numbers in gateway.ok.items()}, gateway.ok)
