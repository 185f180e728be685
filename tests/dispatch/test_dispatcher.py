"""Tests of dispatching and settling."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, LogPublisher, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from natsconnector.dispatch.dispatcher import Dispatcher
from natsconnector.dispatch.settlement import Settlement
from natsconnector.journal.journal import Journal
from natsconnector.model.call import FunctionCall
from natsconnector.model.function import DeployedFunction
from natsconnector.model.limits import Limits
from natsconnector.model.outcome import Outcome, failed
from natsconnector.model.reply import Reply
from natsconnector.model.retries import RetryPolicy
from natsconnector.model.seams import IDeadLetters, IDelivery, IGateway, ISource, ITracer, ReplyNotSent
from natsconnector.planning.annotations import Terms
from natsconnector.planning.catalogue import Catalogue
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.planner import Planner
from natsconnector.testing import FakeDeadLetters, FakeDelivery, FakeGateway, FakeSource, FakeTracer

OK = Outcome(200, b"done")
REFUSED = failed(502, "the gateway is unreachable", not_executed=True)


def message(function: str = "figlet", **more: Any) -> FakeDelivery:
    return FakeDelivery(json.dumps({"function": function}).encode(), **more)


class DispatcherCase(SynchronousTestCase):
    """A dispatcher over a fake gateway and a clock."""

    def dispatcher(
        self,
        *,
        limits: Limits | None = None,
        gateway: Any = None,
        dead_letters: Any = None,
        max_wait_s: float | None = None,
        **policy: Any,
    ) -> Dispatcher:
        self.clock = Clock()
        self.gateway = FakeGateway()
        self.journal = Journal(self.clock)
        self.dead_letters = dead_letters
        self.retries = RetryPolicy(wait_s=1, backoff="exponential", **policy)
        return Dispatcher(
            gateway or self.gateway,
            self.clock,
            self.journal,
            Planner(Permissions(functions=["figlet", "cat", "f*"]), terms=Terms(self.retries)),
            Settlement(self.clock, self.journal, self.dead_letters),
            limits=limits or Limits(inflight=2, pending_messages=3),
            retries=self.retries,
            max_wait_s=max_wait_s,
            random=lambda: 1.0,
        )

    def assertAnswered(self, delivery: FakeDelivery, code: int, text: str = "") -> None:
        """``delivery`` has one answer, an error of this code that says ``text``."""
        (reply,) = delivery.replies
        self.assertEqual(reply.status, code)
        self.assertIn(text, reply.error or "")


class FakesTests(SynchronousTestCase):
    """The public fakes stand for the real ones."""

    def test_interfaces(self) -> None:
        """Each provides its interface."""
        verifyObject(IDelivery, FakeDelivery())
        verifyObject(ISource, FakeSource())
        verifyObject(IGateway, FakeGateway())
        verifyObject(IDeadLetters, FakeDeadLetters())
        verifyObject(ITracer, FakeTracer())


class CallingTests(DispatcherCase):
    """From message to call to answer."""

    def test_call_and_answer(self) -> None:
        """A message is called once and answered once."""
        dispatcher, delivery = self.dispatcher(), message(headers=[("X-Call-Id", "mine")])
        dispatcher.dispatch(delivery)
        self.assertEqual(
            self.gateway.calls, [FunctionCall("figlet", headers=(("X-Connector", "natsconnector"),), call_id="mine")]
        )
        self.assertEqual(delivery.replies, [])
        self.gateway.end(OK)
        self.assertEqual(delivery.replies, [Reply(200, b"done", call_id="mine", is_response=True)])
        self.assertEqual((dispatcher.inflight, dispatcher.pending, dispatcher._calls), (0, 0, {}))
        self.assertEqual((self.journal.counts.received, self.journal.counts.succeeded), (1, 1))

    def test_details_by_function(self) -> None:
        """Retries and dead letters are counted by the function's full name, of a stream's messages as of others."""
        for durable in (False, True):
            dispatcher = self.dispatcher(dead_letters=FakeDeadLetters(), attempts=2, codes=frozenset({503}))
            self.journal.calls.is_known = lambda name: True
            for attempt in (1, 2) if durable else (1,):
                dispatcher.dispatch(message(durable=durable, attempt=attempt))
                self.gateway.end(Outcome(503))
            if not durable:
                self.clock.advance(1)
                self.gateway.end(Outcome(503))
            ((name, place),) = self.journal.calls.by_function()
            found = (name, place.codes, place.retries, place.dead_letters)
            self.assertEqual(found, ("figlet", {503: 2}, {503: 1}, {503: 1}), durable)
            self.assertEqual(self.journal.counts.by_way, {"envelope": 1})

    def test_counted(self) -> None:
        """Each attempt is counted by its function's full name: how long it took, how long it waited for its slot."""
        dispatcher = self.dispatcher(limits=Limits(inflight=1), attempts=2, codes=frozenset({503}))
        dispatcher.dispatch(message())
        dispatcher.dispatch(message())
        self.clock.advance(3)
        self.assertEqual((dispatcher.oldest_s, dispatcher.pending_bytes), (3.0, len(b'{"function": "figlet"}')))
        self.gateway.end(Outcome(503))
        self.clock.pump([1, 19])
        self.gateway.end(OK)
        self.gateway.end(OK)
        ((name, calls),) = self.journal.calls.by_function()
        self.assertEqual((name, calls.codes), ("figlet", {503: 1, 200: 2}))
        self.assertEqual(calls.durations.sum, 23.0)
        self.assertEqual(self.journal.calls.waits.sum, 3.0 + 19.0, "the second message, and the second attempt")
        self.assertEqual((self.journal.calls.last_answer_at, dispatcher.oldest_s), (23.0, 0.0))

    def test_call_ids_differ(self) -> None:
        """Without a publisher's id each message gets one of its own."""
        dispatcher = self.dispatcher()
        for _ in range(2):
            dispatcher.dispatch(message())
        first, second = (call.call_id for call in self.gateway.calls)
        self.assertTrue(first and second and first != second)

    def test_no_answer_wanted(self) -> None:
        """Nothing is sent where nobody asked."""
        dispatcher, delivery = self.dispatcher(), message(wants_answer=False)
        dispatcher.dispatch(delivery)
        self.gateway.end(OK)
        self.assertEqual(delivery.replies, [])

    def test_refused_messages(self) -> None:
        """What is no call, or not allowed, is answered and never reaches the gateway."""
        dispatcher = self.dispatcher()
        for delivery, code, text in [
            (FakeDelivery(b"not json"), 400, "not JSON"),
            (message("../system/functions"), 400, "no function name"),
            (message("secret"), 403, "--allow-function"),
            (message(headers=[("X-Call-Id", "a b")]), 400, "X-Call-Id"),
            (message(header_error="a line without a colon"), 400, "a line without a colon"),
        ]:
            dispatcher.dispatch(delivery)
            self.assertAnswered(delivery, code, text)
        self.assertEqual(self.gateway.calls, [])
        self.assertEqual(self.journal.counts.failed, {400: 4, 403: 1})

    def test_answer_too_large(self) -> None:
        """An answer that NATS would not take becomes a 413; the call is not repeated."""
        dispatcher, delivery = self.dispatcher(codes=frozenset({413})), message(max_reply_bytes=100)
        dispatcher.dispatch(delivery)
        self.gateway.end(Outcome(200, b"x" * 101))
        self.assertAnswered(delivery, 413, "101 bytes")
        self.clock.advance(100)
        self.assertEqual(len(self.gateway.calls), 1)

    def test_answer_not_sent(self) -> None:
        """An answer that cannot be sent is counted, and the next message is served."""
        dispatcher, delivery = self.dispatcher(), message()

        def answer(*_: object) -> None:
            raise ReplyNotSent("not connected")

        self.patch(delivery, "answer", answer)
        dispatcher.dispatch(delivery)
        self.gateway.end(OK)
        self.assertEqual(self.journal.counts.replies_lost, {"not_published": 1})
        after = message()
        dispatcher.dispatch(after)
        self.gateway.end(OK)
        self.assertEqual(len(after.replies), 1)

    def test_defect(self) -> None:
        """A defect of ours costs one message its result, not its answer, and no slot."""

        @implementer(IGateway)
        class Broken(FakeGateway):
            def call(self, call: FunctionCall) -> Deferred[Outcome]:
                ended: Deferred[Outcome] = Deferred()
                ended.errback(ZeroDivisionError())
                return ended

        dispatcher, delivery = self.dispatcher(gateway=Broken()), message()
        dispatcher.dispatch(delivery)
        self.assertAnswered(delivery, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(dispatcher.inflight, 0)


class ToldTests(DispatcherCase):
    """What the journal is told on the way of a message."""

    def test_call_and_headers(self) -> None:
        """Each call that is made, and headers that were left out."""
        dispatcher, delivery = self.dispatcher(), message()
        told: list[object] = []
        self.patch(self.journal, "calling", told.append)
        self.patch(self.journal, "headers_skipped", lambda *fields: told.append(fields))
        delivery.skipped_headers = ("a header with a line end",)
        dispatcher.dispatch(delivery)
        self.assertEqual(told, [("function.call", ("a header with a line end",)), self.gateway.calls[0]])

    def test_overload(self) -> None:
        """What is pending, how long the oldest of it has waited, and who holds the slots."""
        dispatcher = self.dispatcher(limits=Limits(inflight=1, pending_messages=2))
        told: list[object] = []
        self.patch(self.journal, "shed", lambda *fields: told.append(fields))
        for name in ("f1", "f2", "f3", "f4"):
            dispatcher.dispatch(message(name))
            self.clock.advance(5)
        self.assertEqual(told, [(2, 2 * len(message("f2").payload), 10.0, ("f1", 1))])

    def test_elapsed(self) -> None:
        """How long a message took, from its coming to its end."""
        dispatcher = self.dispatcher()
        ended: list[Any] = []
        self.patch(self.journal, "ended", lambda ending, stored: ended.append(ending))
        self.clock.advance(1000)
        dispatcher.dispatch(message())
        self.clock.advance(2)
        self.gateway.end(OK)
        dispatcher.dispatch(FakeDelivery(b"not json"))
        self.assertEqual([ending.elapsed_s for ending in ended], [2.0, 0.0])

    def test_attempts(self) -> None:
        """An attempt is told whether the next one is made here or after another delivery."""
        for durable in (False, True):
            dispatcher = self.dispatcher()
            dispatcher.dispatch(message(durable=durable))
            self.gateway.end(REFUSED)
            self.assertEqual(self.journal.counts.retries, 1)


class LimitsTests(DispatcherCase):
    """In flight, backlog, overload."""

    def test_slots_and_backlog(self) -> None:
        """Calls beyond the limit wait, in order, and each freed slot takes the next."""
        dispatcher = self.dispatcher()
        for name in ("f1", "f2", "f3", "f4"):
            dispatcher.dispatch(message(name))
        self.assertEqual([call.function for call in self.gateway.calls], ["f1", "f2"])
        self.assertEqual((dispatcher.inflight, dispatcher.pending), (2, 2))
        self.gateway.end(OK)
        self.assertEqual([call.function for call in self.gateway.calls], ["f1", "f2", "f3"])

    def test_overload(self) -> None:
        """What exceeds the backlog is answered 503, with one line when it begins and one when it is over."""
        dispatcher = self.dispatcher(limits=Limits(inflight=1, pending_messages=2))
        lines: list[str] = []

        @implementer(ILogObserver)
        def observer(event: LogEvent) -> None:
            lines.append(event["log_format"])

        self.patch(Journal, "_log", Logger(observer=observer))
        deliveries = [message() for _ in range(5)]
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        for delivery in deliveries[3:]:
            self.assertAnswered(delivery, 503, "overloaded")
        self.assertEqual(sum(line.startswith("overloaded") for line in lines), 1)
        for _ in range(3):
            self.gateway.end(OK)
        self.assertEqual(sum(line.startswith("no longer overloaded") for line in lines), 1)
        for delivery in deliveries[:3]:
            self.assertEqual(delivery.replies[0].body, b"done")

    def test_overload_in_bytes(self) -> None:
        """An episode of overload is one, too, when it is the bytes that are too many."""
        size = len(message().payload)
        dispatcher = self.dispatcher(limits=Limits(inflight=1, pending_messages=100, pending_bytes=4 * size))
        with capturedLogs() as events:
            for _ in range(9):
                dispatcher.dispatch(message())
            for _ in range(3):
                self.gateway.end(OK)
                dispatcher.dispatch(message())
                dispatcher.dispatch(message())
        self.assertEqual(sum(str(event["log_format"]).startswith("overloaded") for event in events), 1)

    def test_retries_are_bounded(self) -> None:
        """A gateway that fails at once does not pile up messages: one that finds no room to wait is not tried again."""
        dispatcher = self.dispatcher()
        deliveries = [message() for _ in range(9)]
        for delivery in deliveries:
            self.gateway.outcomes.append(REFUSED)
            dispatcher.dispatch(delivery)
        self.assertEqual(dispatcher.pending, 3)
        for delivery in deliveries[3:]:
            self.assertAnswered(delivery, 502, "unreachable")

    def test_gateway_raises(self) -> None:
        """A defect in making a call costs its message an answer of 500, and no slot."""

        @implementer(IGateway)
        class Broken(FakeGateway):
            def call(self, call: FunctionCall) -> Deferred[Outcome]:
                raise ZeroDivisionError

        dispatcher, delivery = self.dispatcher(gateway=Broken()), message()
        dispatcher.dispatch(delivery)
        self.assertAnswered(delivery, 500)
        self.assertEqual((dispatcher.inflight, dispatcher.pending), (0, 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_backlog_bytes(self) -> None:
        """The backlog is bounded in bytes too; a free slot takes a message of any size."""
        dispatcher = self.dispatcher(limits=Limits(inflight=1, pending_messages=9, pending_bytes=60))
        deliveries = [message("f" * 30) for _ in range(3)]
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        self.assertEqual([len(delivery.replies) for delivery in deliveries], [0, 0, 1])
        for _ in range(2):
            self.gateway.end(OK)
        dispatcher.dispatch(message("f" * 100))
        self.assertEqual(dispatcher.inflight, 1)

    def test_max_wait(self) -> None:
        """A message too old for its asker is not called any more."""
        dispatcher = self.dispatcher(limits=Limits(inflight=1), max_wait_s=5)
        old, young = message("f1"), message("f2")
        dispatcher.dispatch(message("f0"))
        dispatcher.dispatch(old)
        self.clock.advance(4)
        dispatcher.dispatch(young)
        self.clock.advance(2)
        self.gateway.end(OK)
        self.assertAnswered(old, 503, "waited 6.0 s")
        self.assertEqual([call.function for call in self.gateway.calls], ["f0", "f2"])

    def test_outcomes_at_once(self) -> None:
        """A long backlog whose calls end at once does not grow the stack."""
        dispatcher = self.dispatcher(limits=Limits(inflight=1))
        deliveries = [message() for _ in range(5000)]
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        self.gateway.outcomes = [OK] * 5000
        self.gateway.end(OK)
        self.assertTrue(all(len(delivery.replies) == 1 for delivery in deliveries))


class RetryTests(DispatcherCase):
    """Another attempt."""

    def test_retry_succeeds(self) -> None:
        """The same call, with the same id, after the wait; the slot is free meanwhile."""
        dispatcher, delivery = self.dispatcher(limits=Limits(inflight=1)), message()
        dispatcher.dispatch(delivery)
        self.gateway.end(REFUSED)
        self.assertEqual((dispatcher.inflight, dispatcher.pending, delivery.replies), (0, 1, []))
        self.clock.advance(0.9)
        self.assertEqual(len(self.gateway.calls), 1)
        self.clock.advance(0.1)
        self.assertEqual(self.gateway.calls[0], self.gateway.calls[1])
        self.gateway.end(OK)
        self.assertEqual(delivery.replies[0].body, b"done")
        self.assertEqual(self.journal.counts.retries, 1)

    def test_attempts_used_up(self) -> None:
        """After the last attempt its outcome stands."""
        dispatcher, delivery = self.dispatcher(), message()
        self.gateway.outcomes = [REFUSED, Outcome(429), Outcome(503, b"busy")]
        dispatcher.dispatch(delivery)
        self.clock.pump([1, 2, 100])
        self.assertEqual(len(self.gateway.calls), 3)
        self.assertAnswered(delivery, 503, "figlet answered 503")
        self.assertEqual(delivery.replies[0].body, b"busy")
        self.assertEqual(dispatcher.pending, 0)

    def test_waiting_retries_fill_the_backlog(self) -> None:
        """Messages between two attempts count as pending: retries are bounded."""
        dispatcher = self.dispatcher(limits=Limits(inflight=1, pending_messages=2))
        self.gateway.outcomes = [REFUSED, REFUSED]
        deliveries = [message() for _ in range(4)]
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        # Two wait for their second attempt, the third has the slot; the backlog has no room for the fourth.
        self.assertEqual([len(delivery.replies) for delivery in deliveries], [0, 0, 0, 1])

    def test_wait_for_a_slot_begins_anew(self) -> None:
        """--max-wait bounds the time in the backlog, not that of attempts and of the waits between them."""
        dispatcher, delivery = self.dispatcher(max_wait_s=5), message()
        dispatcher.dispatch(delivery)
        self.clock.advance(20)
        self.gateway.end(REFUSED)
        self.clock.advance(1)
        self.gateway.end(OK)
        self.assertEqual(delivery.replies[0].status, 200)


class OutageTests(DispatcherCase):
    """The gateway is away."""

    AWAY = Outcome(502, failure="connection refused", not_executed=True, gateway_down=True)

    def go_away(self, *deliveries: FakeDelivery, **more: Any) -> Dispatcher:
        """A dispatcher that has found the gateway away with these messages."""
        dispatcher = self.dispatcher(**more)
        self.clock.advance(1000)
        self.held: list[bool] = []
        dispatcher.on_hold(self.held.append)
        self.gateway.answers_probes = False
        self.gateway.outcomes = [self.AWAY] * len(deliveries)
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        self.clock.advance(0)
        return dispatcher

    def come_back(self, outcomes: int = 1) -> None:
        self.gateway.answers_probes = True
        self.gateway.outcomes = [OK] * outcomes
        self.clock.pump([0.25] * 5)

    def test_an_hour(self) -> None:
        """A thousand durable messages survive an hour with three attempts each, and go when it is back; two lines."""
        deliveries = [message(durable=True) for _ in range(1000)]
        with capturedLogs() as events:
            dispatcher = self.go_away(*deliveries, limits=Limits(inflight=100))
            calls = len(self.gateway.calls)
            self.clock.pump([1] * 3600)
            self.assertEqual(len(self.gateway.calls), calls, "no call is made meanwhile")
            self.come_back(1000)
        self.assertEqual({str(delivery.acknowledged) for delivery in deliveries}, {"[('ack', None)]"})
        self.assertEqual(len(self.gateway.calls), calls + 1000)
        about = [event["event"] for event in events if event["event"] not in ("report",)]
        self.assertEqual(about, ["gateway_away", "gateway_back"])
        self.assertEqual(self.held, [True, False])
        self.assertLess(self.gateway.probes, 4000)
        self.assertEqual((dispatcher.inflight, dispatcher.pending), (0, 0))

    def test_requesters(self) -> None:
        """Who waits for a reply is told soon, with the reason; who does not is called when the gateway is back."""
        asking, silent = message(), message(wants_answer=False)
        dispatcher = self.go_away(asking, silent)
        self.assertEqual((asking.replies, dispatcher.pending), ([], 2))
        idle = dispatcher.when_idle()
        self.clock.pump([0.25] * 14)
        self.assertAnswered(asking, 502, "connection refused")
        self.assertNoResult(idle)
        self.assertEqual(dispatcher.pending, 1)
        self.clock.pump([1] * 100)
        self.come_back()
        self.assertEqual(dispatcher.pending, 0)
        self.assertEqual(self.journal.counts.succeeded, 1)

    def test_back_in_time(self) -> None:
        """A requester whose retries would have bridged the outage gets the function's answer."""
        asking = message()
        self.go_away(asking)
        self.clock.pump([0.25] * 4)
        self.come_back()
        self.assertEqual(asking.replies[0].status, 200)
        self.journal.finish()
        self.assertEqual(self.clock.getDelayedCalls(), [], "nobody is looked for any more")

    def test_last_requester(self) -> None:
        """Whoever waits for the end of all messages is told when the last requester has been."""
        idle = self.go_away(message()).when_idle()
        self.assertNoResult(idle)
        self.clock.pump([0.25] * 14)
        self.successResultOf(idle)

    def test_no_attempt_is_used_up(self) -> None:
        """A call that found the gateway away is no attempt: what fails afterwards was the first one."""
        delivery = message(durable=True)
        self.go_away(delivery)
        self.gateway.answers_probes = True
        self.gateway.outcomes = [Outcome(503)]
        self.clock.pump([0.25] * 5)
        self.assertEqual(delivery.acknowledged, [("nak", 1.0)])

    def test_trial(self) -> None:
        """While the provider behind the gateway is away one call at a time is made."""
        dispatcher = self.dispatcher(limits=Limits(inflight=3))
        self.gateway.outcomes = [Outcome(404, b"no provider", not_executed=True, gateway_down=True)]
        for _ in range(3):
            dispatcher.dispatch(message(durable=True))
        self.clock.advance(0)
        self.assertEqual((len(self.gateway.calls), dispatcher.inflight, dispatcher.pending), (2, 1, 2))
        self.gateway.end(OK)
        self.assertEqual((dispatcher.inflight, dispatcher.pending), (2, 0))

    def test_retries_that_wait(self) -> None:
        """A message between two attempts when the gateway goes away waits for it like the others."""
        dispatcher, delivery = self.dispatcher(), message(wants_answer=False)
        dispatcher.dispatch(delivery)
        self.gateway.end(Outcome(503))
        self.gateway.answers_probes = False
        dispatcher.dispatch(message("cat", wants_answer=False))
        self.gateway.end(self.AWAY)
        self.clock.pump([1] * 10)
        self.assertEqual((len(self.gateway.calls), dispatcher.pending), (2, 2))
        self.come_back(2)
        self.assertEqual(self.journal.counts.succeeded, 2)

    def test_bounded(self) -> None:
        """The backlog stays bounded; what exceeds it is answered."""
        limits = Limits(inflight=1, pending_messages=2)
        deliveries = [message(wants_answer=False) for _ in range(2)]
        dispatcher = self.go_away(*deliveries, limits=limits)
        late = message()
        dispatcher.dispatch(late)
        self.assertAnswered(late, 503, "overloaded")
        self.assertEqual(dispatcher.pending, 2)

    def test_maybe_executed(self) -> None:
        """What the function may have run for is not put back by itself."""
        delivery = message()
        dispatcher = self.dispatcher()
        self.gateway.outcomes = [Outcome(502, gateway_down=True)]
        dispatcher.dispatch(delivery)
        self.assertAnswered(delivery, 502)
        self.assertFalse(dispatcher.watch.is_up)
        dispatcher.give_up()

    def test_stopped(self) -> None:
        """At the end what waits for the gateway is left or answered, and nothing is left to wait for."""
        durable, asking = message(durable=True), message()
        dispatcher = self.go_away(durable, asking)
        dispatcher.give_up()
        self.assertEqual(durable.acknowledged, [("nak", 0.0)])
        self.assertAnswered(asking, 503, "stopping")
        self.journal.finish()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class MissingTests(DispatcherCase):
    """Functions and topics that are not there, or not yet."""

    MISSING = Outcome(404, b"not found", not_deployed=True)

    def test_function_on_a_stream(self) -> None:
        """The message stays in the stream for a while, whatever the number of attempts, and then ends."""
        dispatcher = self.dispatcher(attempts=1)
        first, second = message(durable=True), message(durable=True, attempt=4)
        self.gateway.outcomes = [self.MISSING] * 3
        dispatcher.dispatch(first)
        dispatcher.dispatch(second)
        self.assertEqual((first.acknowledged, second.acknowledged), ([("nak", 1.0)], [("nak", 8.0)]))
        self.clock.advance(301)
        late = message(durable=True, attempt=9)
        dispatcher.dispatch(late)
        self.assertEqual([verb for verb, _ in late.acknowledged], ["term"])

    def test_function_on_core(self) -> None:
        """A requester is told at once."""
        dispatcher, delivery = self.dispatcher(), message()
        self.gateway.outcomes = [self.MISSING]
        dispatcher.dispatch(delivery)
        self.assertAnswered(delivery, 404)

    def test_function_comes_back(self) -> None:
        """A function that answered in between is missing anew, with a time of its own."""
        dispatcher = self.dispatcher()
        self.gateway.outcomes = [self.MISSING, OK, self.MISSING]
        dispatcher.dispatch(message(durable=True))
        self.clock.advance(299)
        dispatcher.dispatch(message(durable=True))
        self.clock.advance(2)
        again = message(durable=True)
        dispatcher.dispatch(again)
        self.assertEqual(again.acknowledged, [("nak", 1.0)])


class DefectTests(DispatcherCase):
    """A defect of our own costs no message."""

    def test_durable(self) -> None:
        """It stays in the stream with a growing delay, and goes to the dead letters when its attempts are used up."""

        @implementer(IGateway)
        class Broken(FakeGateway):
            def call(self, call: FunctionCall) -> Deferred[Outcome]:
                raise UnicodeError("label too long")

        dead_letters = FakeDeadLetters()
        dispatcher = self.dispatcher(gateway=Broken(), dead_letters=dead_letters)
        for attempt, acknowledged in ((1, "nak"), (2, "nak"), (3, "term")):
            delivery = message(durable=True, attempt=attempt)
            dispatcher.dispatch(delivery)
            self.assertEqual([verb for verb, _ in delivery.acknowledged], [acknowledged])
            if acknowledged == "nak":
                self.assertEqual(delivery.acknowledged, [("nak", float(attempt))])
        self.assertEqual(len(dead_letters.letters), 1)
        self.assertEqual(len(self.flushLoggedErrors(UnicodeError)), 3)
        self.assertEqual((dispatcher.inflight, dispatcher.pending), (0, 0))

    def test_planning(self) -> None:
        """The same for one on the way in."""
        dispatcher, delivery = self.dispatcher(), message(durable=True)
        self.patch(delivery, "headers", None)
        dispatcher.dispatch(delivery)
        self.assertEqual(delivery.acknowledged, [("nak", 1.0)])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_telling_of_another_attempt(self) -> None:
        """The same for one in telling that the message is tried again: it is given back all the same."""
        gateway = FakeGateway()
        gateway.outcomes = [failed(502, "broken off", not_executed=True)]
        dispatcher, delivery = self.dispatcher(gateway=gateway), message(durable=True)

        def broken(*_: object) -> None:
            raise LookupError("broken")

        self.patch(dispatcher._journal, "retrying", broken)
        dispatcher.dispatch(delivery)
        self.assertEqual(delivery.acknowledged, [("nak", 1.0)])
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)


class FunctionsTests(DispatcherCase):
    """What depends on the list of functions."""

    def with_functions(self, *functions: DeployedFunction, **more: Any) -> Dispatcher:
        """A dispatcher whose catalogue has these functions once it is started."""
        dispatcher = self.dispatcher(**more)
        terms = Terms(self.retries)
        self.catalogue = Catalogue(self.clock, lambda: succeed([*functions]), terms=terms)
        self.catalogue.watch(dispatcher.functions_are_known)
        self.addCleanup(self.catalogue.stop)
        self.patch(dispatcher._intake, "_planner", Planner(Permissions(), ["function.*"], self.catalogue, terms=terms))
        return dispatcher

    def test_function_that_is_not_in_the_list(self) -> None:
        """On a stream a 404 of a function that is not deployed (yet) is tried again, one of a function that is, not."""
        dispatcher = self.with_functions(DeployedFunction("there"))
        self.catalogue.start()
        self.gateway.outcomes = [Outcome(404), Outcome(404)]
        gone = FakeDelivery(b'{"function": "gone"}', durable=True)
        there = FakeDelivery(b'{"function": "there"}', durable=True)
        dispatcher.dispatch(gone)
        dispatcher.dispatch(there)
        self.assertEqual((gone.acknowledged, there.acknowledged), ([("nak", 1.0)], [("term", "there answered 404")]))

    def test_last_delivery(self) -> None:
        """What the consumer gives up after this delivery goes to the dead letters, however short it was missing."""
        dead_letters = FakeDeadLetters()
        dispatcher = self.with_functions(DeployedFunction("there"), dead_letters=dead_letters)
        self.catalogue.start()
        self.gateway.outcomes = [Outcome(404)]
        gone = FakeDelivery(b'{"function": "gone"}', durable=True, attempt=3, most_attempts=3)
        topic = FakeDelivery(b"x", "nobody", durable=True, attempt=3, most_attempts=3)
        for delivery in (gone, topic):
            dispatcher.dispatch(delivery)
        self.assertEqual([verb for verb, _ in (*gone.acknowledged, *topic.acknowledged)], ["term", "term"])
        self.assertEqual(len(dead_letters.letters), 2)

    def test_held_until_known(self) -> None:
        """A message before the first list waits, bounded, and is then called; without any list it ends with us."""
        limits = Limits(inflight=1, pending_messages=2)
        dispatcher = self.with_functions(DeployedFunction("f", "", {"topic": "t"}), limits=limits)
        deliveries = [FakeDelivery(b"x", "t") for _ in range(3)]
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        self.assertEqual((dispatcher.pending, self.gateway.calls), (2, []))
        self.assertAnswered(deliveries[2], 503, "overloaded")
        self.catalogue.start()
        self.assertEqual((dispatcher.inflight, dispatcher.pending), (1, 1))
        self.gateway.end(OK)
        self.gateway.end(OK)
        self.assertEqual([delivery.replies[0].body for delivery in deliveries[:2]], [b"done", b"done"])

    def test_topic_of_a_stream_that_nobody_wants(self) -> None:
        """A function may be deployed anew: the message stays in the stream for a while, and then ends."""
        dispatcher = self.with_functions()
        self.catalogue.start()
        delivery = FakeDelivery(b"x", "t", durable=True, attempt=2)
        dispatcher.dispatch(delivery)
        self.assertEqual(delivery.acknowledged, [("nak", 2.0)])
        core = FakeDelivery(b"x", "t")
        with capturedLogs() as events:
            dispatcher.dispatch(core)
            dispatcher.dispatch(FakeDelivery(b"x", "t2", durable=True))
        self.assertAnswered(core, 404)
        about = [event["event"] for event in events]
        self.assertEqual(about, ["message_refused", "topic_without_function"])
        self.clock.advance(301)
        late = FakeDelivery(b"x", "t", durable=True)
        dispatcher.dispatch(late)
        self.assertEqual([verb for verb, _ in late.acknowledged], ["term"])

    def test_other_refusals_of_a_stream(self) -> None:
        """Only what a function that comes back could mend is waited for."""
        dispatcher = self.with_functions()
        self.catalogue.start()
        for delivery in (
            FakeDelivery(b"x", "t", [("Natsconnector-Hops", "8")], durable=True),
            FakeDelivery(b"x", "function.call", durable=True),
        ):
            dispatcher.dispatch(delivery)
            self.assertEqual([verb for verb, _ in delivery.acknowledged], ["term"])

    def test_given_up_while_held(self) -> None:
        """What is still held at the end is answered."""
        dispatcher = self.with_functions()
        delivery = FakeDelivery(b"x", "t")
        dispatcher.dispatch(delivery)
        dispatcher.give_up()
        self.assertAnswered(delivery, 503, "stopping")
        self.successResultOf(dispatcher.when_idle())

    def test_several_functions(self) -> None:
        """They run side by side, each with its own retries; a durable message is retried here, and settled once."""
        functions = [DeployedFunction(name, "", {"topic": "t"}) for name in ("a", "b")]
        dispatcher = self.with_functions(*functions)
        self.catalogue.start()
        delivery = FakeDelivery(b"x", "t", durable=True, identity="S-1")
        dispatcher.dispatch(delivery)
        self.assertEqual([call.function for call in self.gateway.calls], ["a", "b"])
        self.gateway.end(Outcome(503))
        self.gateway.end(OK)
        self.assertEqual((delivery.acknowledged, dispatcher.pending), ([], 1))
        self.clock.advance(1)
        self.assertEqual([call.function for call in self.gateway.calls], ["a", "b", "a"])
        self.gateway.end(OK)
        self.assertEqual(delivery.acknowledged, [("ack", None)])
        statuses = [(entry["function"], entry["status"]) for entry in json.loads(delivery.replies[0].body)]
        self.assertEqual(statuses, [("a", 200), ("b", 200)])

    def test_answers_that_wait(self) -> None:
        """What fast functions have answered, while slow ones let their messages wait, is bounded for all messages."""
        functions = [DeployedFunction(name, "", {"topic": "t"}) for name in ("fast", "slow")]
        dispatcher = self.with_functions(*functions, limits=Limits(inflight=9, pending_bytes=1000))
        self.catalogue.start()
        deliveries = [FakeDelivery(b"x", "t") for _ in range(3)]
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        slow = [self.gateway.waiting.pop(number + 1) for number in range(3)]
        for _ in deliveries:
            self.gateway.end(Outcome(200, b"a" * 400))
        for call in slow:
            call.callback(OK)
        statuses = [[entry["status"] for entry in json.loads(each.replies[0].body)] for each in deliveries]
        self.assertEqual(statuses, [[200, 200], [200, 200], [413, 200]])

    def test_function_limit(self) -> None:
        """A function's limit holds up only its own calls; what waits for it says that it needs no slot."""
        limited = DeployedFunction("slow", "", {"topic": "s", "natsconnector.max-inflight": "1"})
        dispatcher = self.with_functions(limited, DeployedFunction("fast", "", {"topic": "t"}))
        self.catalogue.start()
        deliveries = [FakeDelivery(b"x", "s", durable=True) for _ in range(3)]
        for delivery in (*deliveries, FakeDelivery(b"x", "t")):
            dispatcher.dispatch(delivery)
        self.assertEqual([call.function for call in self.gateway.calls], ["slow", "fast"])
        self.assertEqual([delivery.held_back for delivery in deliveries], [False, True, True])
        self.gateway.end(OK)
        self.assertEqual([call.function for call in self.gateway.calls], ["slow", "fast", "slow"])
        self.assertEqual([delivery.held_back for delivery in deliveries], [False, False, True])

    def test_limit_that_finds_itself(self) -> None:
        """It grows while calls succeed, and is cut when one is refused, which is tried again as ever."""
        limits = Limits(inflight=9, pending_messages=99)
        auto = DeployedFunction("f", "", {"topic": "t", "natsconnector.max-inflight": "auto"})
        dispatcher = self.with_functions(auto, DeployedFunction("g", "", {"topic": "u"}), limits=limits)
        self.catalogue.start()
        core, durable = FakeDelivery(b"x", "t"), FakeDelivery(b"x", "t", durable=True)
        deliveries = [FakeDelivery(b"x", "t", durable=True) for _ in range(8)]
        for delivery in (core, durable, *deliveries):
            dispatcher.dispatch(delivery)
        self.assertEqual((dispatcher.inflight, dispatcher.inflight_limits), (4, {}))
        self.assertEqual([each.held_back for each in deliveries], [False] * 2 + [True] * 6)
        busy = [self.gateway.waiting.pop(0) for _ in range(2)]
        for _ in range(2):
            self.gateway.end(OK)
            self.clock.advance(0.1)
        self.assertEqual((dispatcher.inflight, dispatcher.inflight_limits), (5, {"f": 5}))
        self.assertEqual([each.held_back for each in deliveries], [False] * 5 + [True] * 3)
        for call in busy:
            call.callback(Outcome(429))
        self.assertEqual((dispatcher.inflight, dispatcher.inflight_limits), (3, {"f": 3}))
        self.assertEqual([each.held_back for each in deliveries], [False] * 5 + [True] * 3)
        self.assertEqual((core.replies, durable.acknowledged), ([], [("nak", 1.0)]))
        self.clock.advance(1)
        while self.gateway.waiting:
            self.gateway.end(OK)
        self.assertEqual([reply.status for reply in core.replies], [200])
        self.assertEqual({verb for each in deliveries for verb, _ in each.acknowledged}, {"ack"})
        for _ in range(6):
            dispatcher.dispatch(FakeDelivery(b"x", "u"))
        self.assertEqual((dispatcher.inflight, [*dispatcher.inflight_limits]), (6, ["f"]), "no limit was asked for")

    def test_function_limit_and_old_messages(self) -> None:
        """Those that waited for their function for too long are all answered, not just the first."""
        limits = Limits(inflight=9, pending_messages=9)
        dispatcher = self.with_functions(
            DeployedFunction("f", "", {"topic": "t", "natsconnector.max-inflight": "1"}), limits=limits, max_wait_s=5
        )
        self.catalogue.start()
        deliveries = [FakeDelivery(b"x", "t") for _ in range(4)]
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        self.clock.advance(6)
        self.gateway.end(OK)
        for delivery in deliveries[1:]:
            self.assertAnswered(delivery, 503, "--max-wait")
        self.assertEqual((dispatcher.inflight, dispatcher.pending), (0, 0))

    def test_function_limit_is_bounded(self) -> None:
        """What waits for its function while slots are free is bounded, too; what is durable is so at its source."""
        limits = Limits(inflight=9, pending_messages=2)
        dispatcher = self.with_functions(
            DeployedFunction("f", "", {"topic": "t", "natsconnector.max-inflight": "1"}), limits=limits
        )
        self.catalogue.start()
        deliveries = [FakeDelivery(b"x", "t") for _ in range(5)]
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        self.assertEqual((dispatcher.inflight, dispatcher.pending), (1, 2))
        for delivery in deliveries[3:]:
            self.assertAnswered(delivery, 503, "overloaded")
        durable = FakeDelivery(b"x", "t", durable=True)
        dispatcher.dispatch(durable)
        self.assertEqual((durable.acknowledged, dispatcher.pending), ([], 3))
        other = message("other")
        dispatcher.dispatch(other)
        self.assertEqual((dispatcher.inflight, other.replies), (2, []))

    def test_held_too_long(self) -> None:
        """The time before the first list counts as time in the backlog."""
        dispatcher = self.with_functions(DeployedFunction("f", "", {"topic": "t"}), max_wait_s=5)
        delivery = FakeDelivery(b"x", "t")
        dispatcher.dispatch(delivery)
        self.clock.advance(6)
        self.assertEqual(dispatcher.oldest_s, 6.0)
        self.catalogue.start()
        self.assertAnswered(delivery, 503, "--max-wait")
        self.assertEqual(self.gateway.calls, [])

    def test_subject_without_encoding(self) -> None:
        """A subject that no header can name is refused, and costs no slot."""
        self.patch(Journal, "_log", Logger(observer=LogPublisher()))  # trial's log file could not take it
        dispatcher = self.with_functions(DeployedFunction("f", "", {"topic": "t.*"}))
        self.catalogue.start()
        for subject in ("t.\udcff", "t.\x1b"):
            delivery = FakeDelivery(b"x", subject)
            dispatcher.dispatch(delivery)
            self.assertAnswered(delivery, 400, "subject")
        self.assertEqual((dispatcher.inflight, dispatcher.pending), (0, 0))

    def test_function_retries(self) -> None:
        """A function's own retry annotations count instead of the settings."""
        annotations = {"topic": "t", "com.openfaas.retry.codes": "500", "com.openfaas.retry.attempts": "2"}
        dispatcher = self.with_functions(DeployedFunction("f", "", annotations))
        self.catalogue.start()
        delivery = FakeDelivery(b"x", "t")
        dispatcher.dispatch(delivery)
        self.gateway.end(Outcome(500))
        self.clock.advance(1)
        self.gateway.end(Outcome(500))
        self.assertEqual(len(self.gateway.calls), 2)
        self.assertAnswered(delivery, 500)


class DurableTests(DispatcherCase):
    """Messages that come again unless acknowledged."""

    def test_retried_elsewhere(self) -> None:
        """A retry is left to the server, with the delay; the slot and the memory are free."""
        dispatcher = self.dispatcher()
        delivery = message(durable=True, attempt=2)
        dispatcher.dispatch(delivery)
        self.gateway.end(REFUSED)
        self.assertEqual(delivery.acknowledged, [("nak", 2.0)])
        self.assertEqual((dispatcher.inflight, dispatcher.pending, delivery.replies), (0, 0, []))

    def test_last_attempt(self) -> None:
        """Deliveries count as attempts; the consumer's own limit counts too."""
        for delivery in (
            message(durable=True, attempt=3),
            message(durable=True, attempt=2, most_attempts=2),
            message(durable=True, attempt=2, most_attempts=1),
        ):
            dispatcher = self.dispatcher()
            dispatcher.dispatch(delivery)
            self.gateway.end(REFUSED)
            self.assertEqual([verb for verb, _ in delivery.acknowledged], ["term"])

    def test_overloaded(self) -> None:
        """It is never refused for want of room, which would use up a delivery: its source bounds what comes."""
        for limits in (Limits(inflight=1, pending_messages=0), Limits(inflight=9, pending_bytes=1)):
            dispatcher = self.dispatcher(limits=limits)
            dispatcher.dispatch(message())
            delivery = message(durable=True)
            dispatcher.dispatch(delivery)
            self.assertEqual((delivery.acknowledged, dispatcher.pending), ([], 1))

    def test_without_an_end(self) -> None:
        """A message that was delivered again and again without an end is not called any more."""
        dead_letters = FakeDeadLetters()
        dispatcher = self.dispatcher(dead_letters=dead_letters)
        dispatcher.dispatch(message(durable=True, attempt=56))
        self.assertEqual(len(self.gateway.calls), 1)
        self.gateway.calls.clear()
        delivery = message(durable=True, attempt=57)
        dispatcher.dispatch(delivery)
        self.assertEqual(self.gateway.calls, [])
        self.assertEqual([verb for verb, _ in delivery.acknowledged], ["term"])
        ((_, headers),) = dead_letters.letters
        self.assertEqual((headers["Dead-Letter-Status"], headers["Dead-Letter-Attempts"]), ("500", "56"))
        self.assertIn("gave up after 56 deliveries without a result", headers["Dead-Letter-Reason"])
        late = message(durable=True, attempt=5000)
        dispatcher.dispatch(late)
        self.assertEqual((self.gateway.calls, [verb for verb, _ in late.acknowledged]), ([], ["term"]))

    def test_given_up(self) -> None:
        """What is not finished at the end is left to others at once."""
        dispatcher = self.dispatcher(limits=Limits(inflight=1))
        deliveries = [message(durable=True) for _ in range(2)]
        for delivery in deliveries:
            dispatcher.dispatch(delivery)
        dispatcher.give_up()
        self.assertEqual([delivery.acknowledged for delivery in deliveries], [[("nak", 0.0)]] * 2)

    def test_dead_letter(self) -> None:
        """It is given up only when its dead letter is safe; meanwhile the dispatcher is not idle."""
        dead_letters = FakeDeadLetters()
        dead_letters.failures = [ReplyNotSent("away")]
        dispatcher = self.dispatcher(dead_letters=dead_letters)
        delivery = FakeDelivery(b"not json", durable=True, attempt=3)
        dispatcher.dispatch(delivery)
        idle = dispatcher.when_idle()
        self.assertEqual(delivery.acknowledged, [])
        self.assertNoResult(idle)
        self.clock.advance(1)
        ((payload, headers),) = dead_letters.letters
        self.assertEqual((payload, headers["Dead-Letter-Attempts"]), (b"not json", "2"))
        self.assertEqual([verb for verb, _ in delivery.acknowledged], ["term"])
        self.successResultOf(idle)


class StoppingTests(DispatcherCase):
    """The end."""

    def test_when_idle(self) -> None:
        """Idle is when everything is settled, retries included."""
        dispatcher = self.dispatcher()
        self.successResultOf(dispatcher.when_idle())
        dispatcher.dispatch(message())
        idle = dispatcher.when_idle()
        self.gateway.end(REFUSED)
        self.assertNoResult(idle)
        self.clock.advance(1)
        self.gateway.end(OK)
        self.successResultOf(idle)

    def test_when_idle_cancelled(self) -> None:
        """A waiter that went away is not told."""
        dispatcher = self.dispatcher()
        dispatcher.dispatch(message())
        idle = dispatcher.when_idle()
        idle.addErrback(lambda _: None)
        idle.cancel()
        self.gateway.end(OK)
        self.assertEqual((dispatcher.inflight, dispatcher._idle_waiters), (0, []))
        self.successResultOf(dispatcher.when_idle())

    def test_give_up(self) -> None:
        """Calls in flight, backlog, waiting retries and late messages: each is answered 503, once."""
        dispatcher = self.dispatcher(limits=Limits(inflight=1))
        retrying, calling, waiting, late = (message(f"f{n}") for n in range(4))
        dispatcher.dispatch(retrying)
        self.gateway.end(REFUSED)
        dispatcher.dispatch(calling)
        dispatcher.dispatch(waiting)
        dispatcher.give_up()
        dispatcher.dispatch(late)
        for delivery in (retrying, calling, waiting, late):
            self.assertAnswered(delivery, 503)
        self.successResultOf(dispatcher.when_idle())
        self.journal.finish()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        dispatcher.give_up()
        self.assertEqual(len(calling.replies), 1)

    def test_give_up_while_a_dead_letter_is_stored(self) -> None:
        """Nobody waits for its place any more: the message is left to others."""
        dead_letters = FakeDeadLetters()
        dead_letters.failures = [ReplyNotSent("away")]
        dispatcher = self.dispatcher(dead_letters=dead_letters)
        delivery = FakeDelivery(b"not json", durable=True)
        dispatcher.dispatch(delivery)
        idle = dispatcher.when_idle()
        dispatcher.give_up()
        self.assertEqual(delivery.acknowledged, [("nak", 0.0)])
        self.successResultOf(idle)

    def test_give_up_after_a_retry(self) -> None:
        """A message in its second attempt is no longer one that waits for it: it is answered once."""
        dispatcher, delivery = self.dispatcher(), message()
        dispatcher.dispatch(delivery)
        self.gateway.end(REFUSED)
        self.clock.advance(1)
        dispatcher.give_up()
        self.assertAnswered(delivery, 503)
        self.assertEqual((dispatcher.inflight, dispatcher.pending), (0, 0))

    def test_give_up_with_nothing_in_flight(self) -> None:
        """Whoever waits for the last message is told, also when all of them wait for their next attempt."""
        dispatcher = self.dispatcher()
        dispatcher.dispatch(message())
        self.gateway.end(REFUSED)
        idle = dispatcher.when_idle()
        self.assertNoResult(idle)
        dispatcher.give_up()
        self.successResultOf(idle)
