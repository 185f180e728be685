"""Tests of one message for several functions."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from natsconnector.dispatch.fanout import AnswerRoom, FanOut
from natsconnector.model.call import FunctionCall
from natsconnector.model.outcome import Outcome, failed, unfinished
from natsconnector.model.reply import reply_to
from natsconnector.model.seams import IDelivery, ReplyNotSent
from natsconnector.testing import FakeDelivery


class FanOutTests(SynchronousTestCase):
    """Parts and the whole."""

    def setUp(self) -> None:
        self.room = AnswerRoom(1 << 30)

    def fan_out(self, *functions: str, **more: Any) -> FanOut:
        self.delivery = FakeDelivery(b"payload", durable=True, **more)
        self.not_sent: list[ReplyNotSent] = []
        return FanOut(self.delivery, [*functions], self.not_sent.append, self.room)

    def end(self, fan_out: FanOut, number: int, outcome: Outcome) -> None:
        """Settle a part as the settlement would."""
        part = fan_out.parts[number]
        part.answer(reply_to(outcome, FunctionCall(f"f{number}", call_id="id")))
        if outcome.ok:
            part.ack()
        else:
            part.term(outcome.error(None) or "failed")

    def test_defect_of_the_delivery(self) -> None:
        """A delivery that cannot be acknowledged is answered once, though its last part ends twice."""
        fan_out = self.fan_out("a", "b")
        self.delivery.durable = False
        self.delivery.ack = Mock(side_effect=[ZeroDivisionError, None])  # type: ignore[method-assign]
        self.end(fan_out, 0, Outcome(200))
        self.assertRaises(ZeroDivisionError, self.end, fan_out, 1, Outcome(200))
        fan_out.parts[1].nak(30.0)
        self.assertEqual(len(self.delivery.replies), 1)

    def test_interface(self) -> None:
        """A part is a delivery."""
        verifyObject(IDelivery, self.fan_out("a").parts[0])

    def test_all_succeed(self) -> None:
        """One answer with all of them, in the order of the functions, when the last has ended; one ack."""
        fan_out = self.fan_out("a", "b", "c")
        self.end(fan_out, 2, Outcome(202))
        self.end(fan_out, 0, Outcome(200, "ü".encode()))
        self.assertEqual((self.delivery.replies, self.delivery.acknowledged), ([], []))
        self.end(fan_out, 1, Outcome(200, b"\xff"))
        (reply,) = self.delivery.replies
        self.assertEqual(
            json.loads(reply.body),
            [
                {"function": "a", "status": 200, "call_id": "id", "body": "ü"},
                {"function": "b", "status": 200, "call_id": "id", "body_base64": "/w=="},
                {"function": "c", "status": 202, "call_id": "id", "body": ""},
            ],
        )
        self.assertEqual((reply.headers, reply.error), ((("Content-Type", "application/json"),), None))
        self.assertEqual((reply.status, reply.call_id), (200, "id"), "the publisher's own, which all have")
        self.assertEqual(self.delivery.acknowledged, [("ack", None)])

    def statuses(self) -> list[int]:
        (reply,) = self.delivery.replies
        return [entry["status"] for entry in json.loads(reply.body)]

    def test_room(self) -> None:
        """Answers that wait for others share the room of all messages, and leave it with the last one's."""
        self.room = AnswerRoom(100)
        first, second = self.fan_out("a", "b"), self.fan_out("a", "b")
        self.end(first, 0, Outcome(200, b"x" * 60, [("X-Large", "h" * 1000)]))
        self.assertEqual(first.parts[0].reply and first.parts[0].reply.headers, ())
        self.end(second, 0, Outcome(200, b"x" * 60))
        self.assertEqual(self.room.left_bytes, 40)
        self.end(second, 1, Outcome(200, b"x" * 40))
        self.assertEqual((self.statuses(), self.room.left_bytes), ([413, 200], 40))
        self.assertIn("the answer of a is too large to be kept", json.loads(self.delivery.replies[0].body)[0]["error"])
        self.assertEqual(json.loads(self.delivery.replies[0].body)[0]["call_id"], "id")
        self.delivery.acknowledged.clear()
        self.end(first, 1, failed(502, "unreachable"))
        self.assertEqual(self.room.left_bytes, 100)

    def test_one_message(self) -> None:
        """One message's answers together are bounded, too, however much room there is."""
        fan_out = self.fan_out("a", "b", "c", max_reply_bytes=1 << 30)
        for number, size in enumerate((8 << 20, 1, 0)):
            self.end(fan_out, number, Outcome(200, b"x" * size))
        self.assertEqual((self.statuses(), self.room.left_bytes), ([200, 413, 200], 1 << 30))

    def test_room_of_what_is_left(self) -> None:
        """A message that is given back to its stream leaves the room as well, and so does one whose end fails."""
        self.room = AnswerRoom(100)
        fan_out = self.fan_out("a", "b", identity="S-1")
        self.end(fan_out, 0, Outcome(200, b"x" * 60))
        fan_out.parts[1].nak(5.0)
        self.assertEqual((self.delivery.acknowledged, self.room.left_bytes), ([("nak", 5.0)], 100))
        fan_out = self.fan_out("a", "b")
        self.patch(self.delivery, "answer", lambda reply: 1 / 0)
        self.end(fan_out, 0, Outcome(200, b"x" * 60))
        self.assertRaises(ZeroDivisionError, self.end, fan_out, 1, Outcome(200))
        self.assertEqual(self.room.left_bytes, 100)

    def test_some_fail(self) -> None:
        """The answer tells which and why; NATS's own tools see an error."""
        fan_out = self.fan_out("a", "b", "c")
        self.end(fan_out, 0, Outcome(200, b"fine"))
        self.end(fan_out, 1, Outcome(500, b"boom"))
        self.end(fan_out, 2, failed(502, "unreachable"))
        (reply,) = self.delivery.replies
        self.assertEqual(
            json.loads(reply.body)[1:],
            [
                {"function": "b", "status": 500, "call_id": "id", "error": "f1 answered 500", "body": "boom"},
                {"function": "c", "status": 502, "call_id": "id", "error": "unreachable"},
            ],
        )
        self.assertEqual((reply.status, reply.error), (502, "2 of 3 functions failed"))
        self.assertEqual([verb for verb, _ in self.delivery.acknowledged], ["term"])

    def test_some_are_left(self) -> None:
        """What was not finished here is left to a later delivery, without an answer."""
        fan_out = self.fan_out("a", "b", identity="S-1")
        self.end(fan_out, 0, Outcome(200))
        fan_out.parts[1].nak(0.0)
        self.assertEqual((self.delivery.replies, self.delivery.acknowledged), ([], [("nak", 0.0)]))

    def test_some_are_left_on_core(self) -> None:
        """A core message does not come again: the requester is told of all parts, of those that ended and the other."""
        self.delivery = FakeDelivery(b"payload")
        fan_out = FanOut(self.delivery, ["a", "b"], lambda reason: None, self.room)
        self.end(fan_out, 0, Outcome(200))
        fan_out.parts[1].answer(reply_to(unfinished("stopping"), None))
        fan_out.parts[1].nak(0.0)
        (reply,) = self.delivery.replies
        self.assertEqual([entry["status"] for entry in json.loads(reply.body)], [200, 503])

    def test_part_that_says_nothing(self) -> None:
        """One that met a defect at its end has its name in the answer, and no more."""
        self.delivery = FakeDelivery(b"payload")
        fan_out = FanOut(self.delivery, ["a", "b"], lambda reason: None, self.room)
        self.end(fan_out, 0, Outcome(200))
        fan_out.parts[1].nak(30.0)
        (reply,) = self.delivery.replies
        self.assertEqual(json.loads(reply.body)[1], {"function": "b"})

    def test_call_ids(self) -> None:
        """Where the parts' ids differ, or there is none, the whole has the message's."""
        for answers in (True, False):
            self.delivery = FakeDelivery(b"payload", identity="S-1")
            for part in FanOut(self.delivery, ["a", "b"], lambda reason: None, self.room).parts:
                if answers:
                    part.answer(reply_to(Outcome(200), FunctionCall(part.function, call_id=f"S-1-{part.function}")))
                    part.ack()
                else:
                    part.nak(0.0)
            self.assertEqual([reply.call_id for reply in self.delivery.replies], ["S-1"])

    def test_answered_later(self) -> None:
        """Results that come by themselves are not announced; those that do not come are told of."""
        fan_out = self.fan_out("a", "b")
        for part in fan_out.parts:
            part.ack()
        self.assertEqual((self.delivery.replies, self.delivery.acknowledged), ([], [("ack", None)]))
        fan_out = self.fan_out("a", "b")
        fan_out.parts[0].ack()
        self.end(fan_out, 1, Outcome(500))
        (reply,) = self.delivery.replies
        self.assertEqual([entry.get("status") for entry in json.loads(reply.body)], [None, 500])

    def test_nobody_asked(self) -> None:
        """No answer is made where nobody wants one."""
        fan_out = self.fan_out("a", wants_answer=False)
        self.end(fan_out, 0, Outcome(200))
        self.assertEqual((self.delivery.replies, self.delivery.acknowledged), ([], [("ack", None)]))

    def test_answer_not_sent(self) -> None:
        """An answer that cannot be sent is told with the reason; the message is done all the same."""
        fan_out = self.fan_out("a")

        def answer(*_: object) -> None:
            raise ReplyNotSent("not connected")

        self.patch(self.delivery, "answer", answer)
        self.end(fan_out, 0, Outcome(200))
        self.assertEqual([str(error) for error in self.not_sent], ["not connected"])
        self.assertEqual(self.delivery.acknowledged, [("ack", None)])

    def test_smallest_delay(self) -> None:
        """The whole comes again when the first of its parts wants to."""
        fan_out = self.fan_out("a", "b", "c")
        for part, delay_s in zip(fan_out.parts, (9.0, 2.0, 5.0), strict=True):
            part.nak(delay_s)
        self.assertEqual(self.delivery.acknowledged, [("nak", 2.0)])

    def test_own_retries(self) -> None:
        """A part is retried by the connector: neither a nak brings it again, nor does the consumer's limit end it."""
        (part, _) = self.fan_out("a", "b", most_attempts=2).parts
        self.assertEqual((part.durable, part.comes_again, part.most_attempts), (True, False, None))

    def test_held_back(self) -> None:
        """The whole needs no slot as long as all that is left of it waits for others of its functions."""
        fan_out = self.fan_out("a", "b", "c")
        fan_out.parts[0].hold_back(True)
        fan_out.parts[1].hold_back(True)
        self.assertFalse(self.delivery.held_back)
        self.end(fan_out, 2, Outcome(200))
        self.assertTrue(self.delivery.held_back)
        fan_out.parts[0].hold_back(False)
        self.assertFalse(self.delivery.held_back)

    def test_answer_too_large(self) -> None:
        """Answers that are too large together become a 413."""
        fan_out = self.fan_out("a", "b", max_reply_bytes=100)
        self.end(fan_out, 0, Outcome(200, b"x" * 60))
        self.end(fan_out, 1, Outcome(200, b"x" * 60))
        (reply,) = self.delivery.replies
        self.assertEqual(reply.status, 413)
        self.assertEqual(self.delivery.acknowledged, [("ack", None)])
