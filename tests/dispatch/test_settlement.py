"""Tests of how messages end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from natsconnector.dispatch.fanout import AnswerRoom, FanOut
from natsconnector.dispatch.settlement import Settlement
from natsconnector.journal.journal import Journal
from natsconnector.model.call import FunctionCall
from natsconnector.model.ending import Ending
from natsconnector.model.headers import Header
from natsconnector.model.outcome import Outcome, defective, failed, unfinished
from natsconnector.model.reply import Reply
from natsconnector.model.seams import IDeadLetters, ReplyNotSent, ReplyTooLarge
from natsconnector.testing import FakeDeadLetters, FakeDelivery

OK = Outcome(200, b"done")
BAD = Outcome(500, b"no")


@implementer(IDeadLetters)
class SlowDeadLetters:
    """A place that takes its time."""

    def __init__(self) -> None:
        self.description = "kept"
        self.published: list[Deferred[None]] = []
        self.headers: list[list[Header]] = []

    def publish(self, payload: bytes, headers: list[Header]) -> Deferred[None]:
        self.headers.append(headers)
        self.published.append(Deferred())
        return self.published[-1]


class SettlementCase(SynchronousTestCase):
    """A settlement with a place for dead letters, or none."""

    def settlement(self, place: Any = None) -> Settlement:
        self.clock = Clock()
        self.journal = Journal(Clock())
        return Settlement(self.clock, self.journal, place)

    def durable(self, **more: Any) -> FakeDelivery:
        more = {"headers": [("X-Mine", "1")], "published_at_s": 1000.5, **more}
        return FakeDelivery(b"payload", durable=True, identity="S-7", **more)

    def ending(self, delivery: FakeDelivery, outcome: Outcome, attempts: int = 3) -> Ending:
        call = FunctionCall("figlet")
        return Ending(delivery, call, outcome, attempts, 0.5)


class WithoutDeadLettersTests(SettlementCase):
    """Where there is no place for them."""

    def test_matrix(self) -> None:
        """Each outcome has its one acknowledgement; on core NATS that does nothing, but there is always an answer."""
        for outcome, acknowledged, answers in [
            (OK, ("ack", None), 1),
            (Outcome(202), ("ack", None), 1),
            (BAD, ("term", "figlet answered 500"), 1),
            (failed(502, "unreachable"), ("term", "unreachable"), 1),
            (failed(400, "not JSON", final=True), ("term", "not JSON"), 1),
            (unfinished("stopping"), ("nak", 0.0), 0),
        ]:
            delivery = self.durable()
            self.assertIsNone(self.settlement().settle(self.ending(delivery, outcome)))
            self.assertEqual(delivery.acknowledged, [acknowledged])
            self.assertEqual(len(delivery.replies), answers)
            core = FakeDelivery(b"payload")
            self.settlement().settle(self.ending(core, outcome))
            self.assertEqual(len(core.replies), 1)
            self.assertEqual(len(core.acknowledged), 1)

    def test_answers_later(self) -> None:
        """That a call is accepted is not told where its result will come; that it is not, is."""
        for outcome, answers in ((Outcome(202), 0), (BAD, 1)):
            for delivery in (self.durable(), FakeDelivery(b"x")):
                call = FunctionCall("figlet", answers_later=True)
                self.settlement().settle(Ending(delivery, call, outcome, 1, 0.5))
                self.assertEqual(len(delivery.replies), answers)

    def test_given_up(self) -> None:
        """Of a durable message that is given up its name is left, in one line."""
        with capturedLogs() as events:
            self.settlement().settle(self.ending(self.durable(), BAD))
        self.assertEqual([(event["event"], event["identity"]) for event in events], [("message_given_up", "S-7")])
        counts = self.journal.counts
        self.assertEqual((counts.given_up, counts.failed), (1, {500: 1}))

    def test_answer_too_large(self) -> None:
        """The function did run: it is acknowledged, and the answer says what became of its answer."""
        delivery = self.durable(max_reply_bytes=70)
        self.settlement().settle(self.ending(delivery, Outcome(200, b"x" * 100)))
        self.assertEqual(delivery.acknowledged, [("ack", None)])
        (reply,) = delivery.replies
        self.assertEqual(reply.status, 413)


class DeadLetterTests(SettlementCase):
    """Where there is one."""

    def test_buried_then_terminated(self) -> None:
        """Payload and headers with the reasons; the message is given up when they are safe, not before."""
        place = SlowDeadLetters()
        delivery = self.durable()
        buried = self.settlement(place).settle(self.ending(delivery, BAD))
        assert buried is not None
        self.assertEqual((delivery.acknowledged, delivery.replies), ([], []))
        place.published[0].callback(None)
        self.successResultOf(buried)
        self.assertEqual(delivery.acknowledged, [("term", "figlet answered 500")])
        self.assertEqual(len(delivery.replies), 1)
        headers = dict(place.headers[0])
        self.assertEqual(headers["X-Mine"], "1")
        self.assertEqual(headers["Dead-Letter-Function"], "figlet")
        self.assertEqual(headers["Dead-Letter-Reason"], "figlet answered 500")
        self.assertEqual(headers["Dead-Letter-First-Time"], "1970-01-01T00:16:40.500Z")
        self.assertEqual((self.journal.counts.dead_letters, self.journal.counts.dead_letters_failed), (1, 0))

    def test_not_buried(self) -> None:
        """What succeeded, and what is left to a later delivery, are no dead letters."""
        place = FakeDeadLetters()
        for outcome in (OK, unfinished("stopping")):
            self.assertIsNone(self.settlement(place).settle(self.ending(self.durable(), outcome)))
        self.assertEqual(place.letters, [])

    def test_place_fails_for_a_while(self) -> None:
        """It is tried again; meanwhile the message is kept."""
        place = FakeDeadLetters()
        place.failures = [ReplyNotSent("full"), ReplyNotSent("full")]
        delivery = self.durable()
        buried = self.settlement(place).settle(self.ending(delivery, BAD))
        self.clock.advance(1)
        self.assertEqual((place.letters, delivery.acknowledged), ([], []))
        self.assertEqual((self.journal.counts.dead_letters, self.journal.counts.dead_letters_failed), (0, 2))
        self.clock.advance(2)
        self.assertEqual((len(place.letters), len(delivery.acknowledged)), (1, 1))
        assert buried is not None
        self.successResultOf(buried)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_place_fails_for_long(self) -> None:
        """The message is left to a later delivery, and the next ones do not wait here: they would stall all others."""
        place = FakeDeadLetters()
        place.failures = [ReplyNotSent("full")] * 7
        settlement = self.settlement(place)
        first, second, third = self.durable(), self.durable(), self.durable()
        settlement.settle(self.ending(first, BAD))
        self.clock.pump([1, 2, 4, 8, 16])
        self.assertEqual(first.acknowledged, [("nak", 30.0)])
        settlement.settle(self.ending(second, BAD))
        self.assertEqual(second.acknowledged, [("nak", 30.0)])
        self.assertEqual((first.replies, second.replies), ([], []))
        settlement.settle(self.ending(third, BAD))
        self.assertEqual([name for name, _ in third.acknowledged], ["term"])
        self.assertEqual(len(place.letters), 1)

    def test_place_is_back(self) -> None:
        """Once it takes letters again a new failure is waited for again."""
        place = FakeDeadLetters()
        settlement = self.settlement(place)
        place.failures = [ReplyNotSent("full")] * 6
        settlement.settle(self.ending(self.durable(), BAD))
        self.clock.pump([1, 2, 4, 8, 16])
        settlement.settle(self.ending(self.durable(), BAD))
        place.failures = [ReplyNotSent("full")]
        delivery = self.durable()
        settlement.settle(self.ending(delivery, BAD))
        self.assertEqual(delivery.acknowledged, [])
        self.clock.advance(1)
        self.assertEqual(len(delivery.acknowledged), 1)

    def test_too_large_with_headers(self) -> None:
        """What makes a letter too large, with all its headers, fits without those of the original."""
        place = FakeDeadLetters()
        place.failures = [ReplyTooLarge("too large")]
        delivery = self.durable()
        self.settlement(place).settle(self.ending(delivery, BAD))
        ((payload, headers),) = place.letters
        self.assertEqual(payload, b"payload")
        self.assertNotIn("X-Mine", headers)
        self.assertIn("Dead-Letter-Reason", headers)
        self.assertEqual([name for name, _ in delivery.acknowledged], ["term"])

    def test_too_large_in_any_case(self) -> None:
        """It is not given up: somebody may allow larger messages."""
        for headers in ([("X-Mine", "1")], []):
            place = FakeDeadLetters()
            place.failures = [ReplyTooLarge("too large")] * 2
            delivery = self.durable(headers=headers)
            self.settlement(place).settle(self.ending(delivery, BAD))
            self.assertEqual(delivery.acknowledged, [("nak", 600.0)])
            self.assertEqual((self.journal.counts.dead_letters, self.journal.counts.dead_letters_failed), (0, 1))
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """At the end of the connector a message that is not buried yet is left to others, at once."""
        left: list[Ending] = []
        for place, wait in ((SlowDeadLetters(), True), (FakeDeadLetters(), False)):
            if isinstance(place, FakeDeadLetters):
                place.failures = [ReplyNotSent("full")]
            delivery = self.durable()
            settlement = self.settlement(place)
            self.patch(self.journal, "left", left.append)
            buried = settlement.settle(self.ending(delivery, BAD))
            assert buried is not None
            self.assertNoResult(buried)
            buried.cancel()
            self.successResultOf(buried)
            self.assertEqual((delivery.acknowledged, delivery.replies), ([("nak", 0.0)], []), wait)
            self.assertIs(left.pop().delivery, delivery)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_defect(self) -> None:
        """A defect of the place leaves the message to a later delivery: it must not hold its place for ever."""
        place = FakeDeadLetters()
        place.failures = [TypeError("a defect")]
        delivery = self.durable()
        buried = self.settlement(place).settle(self.ending(delivery, BAD))
        assert buried is not None
        self.successResultOf(buried)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(delivery.acknowledged, [("nak", 30.0)])

    def test_first_time_of_a_core_message(self) -> None:
        """When it came, not when it was given up."""
        place = FakeDeadLetters()
        ending = Ending(FakeDelivery(b"payload"), FunctionCall("figlet"), BAD, 1, elapsed_s=3600.0)
        self.settlement(place).settle(ending)
        ((_, headers),) = place.letters
        first, last = (
            datetime.fromisoformat(headers[f"Dead-Letter-{which}-Time"].replace("Z", "+00:00"))
            for which in ("First", "Last")
        )
        self.assertEqual((last - first).total_seconds(), 3600)

    def test_defect_of_ours(self) -> None:
        """What met a defect is stored if there is a place; without one a durable message is never given up."""
        place = FakeDeadLetters()
        delivery = self.durable()
        self.settlement(place).settle(self.ending(delivery, defective()))
        self.assertEqual((len(place.letters), [verb for verb, _ in delivery.acknowledged]), (1, ["term"]))
        delivery = self.durable()
        self.settlement().settle(self.ending(delivery, defective()))
        self.assertEqual((delivery.acknowledged, delivery.replies), ([("nak", 30.0)], []))
        core = FakeDelivery(b"payload")
        self.settlement().settle(self.ending(core, defective()))
        self.assertEqual(core.replies[0].status, 500)

    def test_defect_in_settling(self) -> None:
        """Whatever raises while a message is settled leaves a durable message in its stream."""

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        for place in (None, FakeDeadLetters()):
            delivery = self.durable()
            self.patch(delivery, "term", broken)
            self.settlement(place).settle(self.ending(delivery, BAD))
            self.assertEqual(delivery.acknowledged, [("nak", 30.0)])
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_defect_before_the_answer(self) -> None:
        """Who waits for an answer on core NATS is told, once, whatever raised."""

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        answers: list[Reply] = []

        def first_fails(reply: Reply) -> None:
            answers.append(reply)
            if len(answers) == 1:
                raise ZeroDivisionError

        place = FakeDeadLetters()
        place.failures = [ZeroDivisionError()]
        stored_not = FakeDelivery(b"x")
        self.settlement(place).settle(self.ending(stored_not, BAD))
        self.assertEqual([reply.status for reply in stored_not.replies], [500])
        self.assertIn("defect of its own", stored_not.replies[0].error or "")
        answered_not = FakeDelivery(b"x")
        self.patch(answered_not, "answer", first_fails)
        self.settlement().settle(self.ending(answered_not, OK))
        self.assertEqual([reply.status for reply in answers], [200, 500])
        never = FakeDelivery(b"x")
        self.patch(never, "answer", broken)
        self.settlement().settle(self.ending(never, OK))
        self.assertEqual(never.acknowledged, [("nak", 30.0)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 4)

    def test_defect_after_the_answer(self) -> None:
        """Nobody is answered twice; nor, beside the result of another delivery, who reads from a stream."""

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        for delivery in (FakeDelivery(b"x"), self.durable()):
            self.patch(delivery, "ack", broken)
            self.settlement().settle(self.ending(delivery, OK))
            self.assertEqual([reply.status for reply in delivery.replies], [200])
            self.assertEqual(delivery.acknowledged, [("nak", 30.0)])
        unanswered = self.durable()
        self.patch(unanswered, "answer", broken)
        self.settlement().settle(self.ending(unanswered, OK))
        self.assertEqual(unanswered.acknowledged, [("nak", 30.0)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_defect_of_the_journal(self) -> None:
        """A message that has its end gets no second one when counting it fails; whoever waits is answered once."""

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        settlement = self.settlement()
        self.patch(settlement._journal, "ended", broken)
        self.patch(settlement._journal, "lost", broken)
        for outcome, end in ((OK, ("ack", None)), (BAD, ("term", "figlet answered 500"))):
            delivery = self.durable()
            settlement.settle(self.ending(delivery, outcome))
            self.assertEqual(delivery.acknowledged, [end])
        whole = FakeDelivery(b"x")
        for part in FanOut(whole, ["a", "b"], self.fail, AnswerRoom(1000)).parts:
            settlement.settle(Ending(part, FunctionCall(part.function), OK, 1, 0.1))
        self.assertEqual((len(whole.replies), whole.acknowledged), (1, [("ack", None)]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 4)

    def test_core(self) -> None:
        """On core NATS a failing place does not keep the publisher from its answer."""
        for failures in ([], [ReplyNotSent("full")], [ReplyTooLarge("x"), ReplyTooLarge("x")]):
            place = FakeDeadLetters()
            place.failures = list(failures)
            delivery = FakeDelivery(b"payload", headers=[("X-Mine", "1")])
            self.settlement(place).settle(self.ending(delivery, BAD))
            self.assertEqual(len(place.letters), 0 if failures else 1)
            self.assertEqual(delivery.replies[0].status, 500)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_core_cancelled(self) -> None:
        """Nor does the end of the connector."""
        delivery = FakeDelivery(b"payload")
        buried = self.settlement(SlowDeadLetters()).settle(self.ending(delivery, BAD))
        assert buried is not None
        buried.cancel()
        self.successResultOf(buried)
        self.assertEqual(len(delivery.replies), 1)
