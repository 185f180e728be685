"""One message for several functions: it ends when all of them have ended."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from zope.interface import implementer

from natsconnector.model.headers import Header
from natsconnector.model.outcome import TOO_LARGE, failed
from natsconnector.model.reply import Reply, reply_to
from natsconnector.model.seams import IDelivery, ReplyNotSent, ReplyTooLarge

# Of the bodies in one answer. More than any server takes as it comes, and JSON can make six bytes of one.
_MOST_ANSWER_BYTES = 8 << 20


class AnswerRoom:
    """
    Room for answers that wait for those of other functions: one for all messages, since a function that answers at
    once and one that hangs would else have an answer kept for each message of the backlog.

    :ivar left_bytes: how much more may be kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self.left_bytes = most_bytes


class FanOut:
    """
    Splits a delivery into one part for each function. Each part is settled for itself, with retries of its own; when
    the last one is, the delivery is answered with an array of all replies and acknowledged as a whole.

    :param not_sent: called with the error when the reply could not be published.
    :param room: where the bodies of answers are kept. One that finds none is replaced by an error.
    """

    def __init__(
        self, delivery: IDelivery, functions: list[str], not_sent: Callable[[ReplyNotSent], object], room: AnswerRoom
    ) -> None:
        self._delivery = delivery
        self._not_sent = not_sent
        self._room = room
        self._kept_bytes = 0
        self.parts = [Part(self, delivery, function) for function in functions]
        self._open = set(self.parts)
        self._is_held_back = False
        self._is_answered = False

    def update_held_back(self) -> None:
        """A part was held back or released. The message as a whole is held back when every unfinished part is."""
        is_held_back = all(part.is_held_back for part in self._open)
        if is_held_back is not self._is_held_back:
            self._is_held_back = is_held_back
            self._delivery.hold_back(is_held_back)

    def kept(self, reply: Reply, function: str) -> Reply:
        """What is kept of an answer until the others are there: the entries have no headers."""
        size_bytes = len(reply.body)
        if size_bytes > self._room.left_bytes or self._kept_bytes + size_bytes > _MOST_ANSWER_BYTES:
            reason = f"the answer of {function} is too large to be kept until all functions have answered"
            return replace(reply_to(failed(TOO_LARGE, reason, final=True), None), call_id=reply.call_id)
        self._room.left_bytes -= size_bytes
        self._kept_bytes += size_bytes
        return replace(reply, headers=())

    def part_ended(self, part: Part) -> None:
        """Settle the whole when this was the last part."""
        self._open.discard(part)
        if self._open:
            self.update_held_back()
            return
        try:
            self._end()
        finally:
            self._room.left_bytes += self._kept_bytes
            self._kept_bytes = 0

    def _end(self) -> None:
        delays = [part.nak_delay_s for part in self.parts if part.nak_delay_s is not None]
        if delays and self._delivery.durable:
            # Some functions have not ended here. All of them are called again: at least once.
            self._delivery.nak(min(delays))
            return
        self._answer()
        reasons = [part.term_reason for part in self.parts if part.term_reason is not None]
        if reasons:
            self._delivery.term("; ".join(reasons))
        else:
            self._delivery.ack()

    def _answer(self) -> None:
        # A part that has ended well without a reply is one whose result comes to the reply subject by itself.
        if self._is_answered or not self._delivery.wants_answer or all(part.is_answered_later for part in self.parts):
            return
        # A defect in what follows ends the last part a second time.
        self._is_answered = True
        try:
            try:
                self._delivery.answer(self._reply())
            except ReplyTooLarge as e:
                self._delivery.answer(reply_to(failed(TOO_LARGE, str(e), final=True), None))
        except ReplyNotSent as e:
            self._not_sent(e)

    def _reply(self) -> Reply:
        failures = [part.reply.status for part in self.parts if part.reply is not None and part.reply.error is not None]
        call_ids = {part.reply.call_id for part in self.parts if part.reply is not None}
        error = f"{len(failures)} of {len(self.parts)} functions failed" if failures else None
        body = json.dumps([part.entry for part in self.parts], separators=(",", ":")).encode()
        # A call id that all functions share is the publisher's own; ids that we derived differ by function.
        call_id = call_ids.pop() if len(call_ids) == 1 else self._delivery.identity
        return Reply(max(failures, default=200), body, (("Content-Type", "application/json"),), error, call_id)


@implementer(IDelivery)
class Part:
    """The share of one function in a delivery."""

    # The connector makes its retries itself: the stream only has the whole message.
    comes_again = False
    most_attempts: int | None = None

    def __init__(self, whole: FanOut, delivery: IDelivery, function: str) -> None:
        self._whole = whole
        self.function = function
        self.reply: Reply | None = None
        self.is_held_back = False
        self.nak_delay_s: float | None = None
        self.term_reason: str | None = None
        self.subject = delivery.subject
        self.payload = delivery.payload
        self.headers: Iterable[Header] = delivery.headers
        self.header_error: str | None = None
        self.skipped_headers: tuple[str, ...] = ()
        self.size_bytes = delivery.size_bytes
        self.reply_subject = delivery.reply_subject
        self.wants_answer = delivery.wants_answer
        self.durable = delivery.durable
        self.attempt = delivery.attempt
        self.identity = delivery.identity
        self.published_at_s = delivery.published_at_s

    @property
    def is_answered_later(self) -> bool:
        """Whether it has ended, and there is nothing to be answered."""
        return self.reply is None and self.nak_delay_s is None and self.term_reason is None

    @property
    def entry(self) -> dict[str, Any]:
        """What the array of replies has of this function."""
        entry: dict[str, Any] = {"function": self.function}
        reply = self.reply
        if reply is None:
            return entry
        entry["status"] = reply.status
        if reply.call_id is not None:
            entry["call_id"] = reply.call_id
        if reply.error is not None:
            entry["error"] = reply.error
        if reply.is_response:
            try:
                entry["body"] = reply.body.decode("utf-8")
            except UnicodeDecodeError:
                entry["body_base64"] = base64.b64encode(reply.body).decode("ascii")
        return entry

    def answer(self, reply: Reply) -> None:
        self.reply = self._whole.kept(reply, self.function)

    def hold_back(self, held_back: bool) -> None:
        self.is_held_back = held_back
        self._whole.update_held_back()

    def ack(self) -> None:
        self._whole.part_ended(self)

    def nak(self, delay_s: float) -> None:
        self.nak_delay_s = delay_s
        self._whole.part_ended(self)

    def term(self, reason: str) -> None:
        self.term_reason = reason
        self._whole.part_ended(self)
