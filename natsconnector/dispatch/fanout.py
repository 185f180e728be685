"""One message for several functions: it ends when all of them have ended."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

from zope.interface import implementer

from natsconnector.model.headers import Header
from natsconnector.model.outcome import TOO_LARGE, failed
from natsconnector.model.reply import answer
from natsconnector.model.seams import IDelivery, ReplyNotSent, ReplyTooLarge


class FanOut:
    """
    Splits a delivery into one part for each function. Each part is settled for itself, with retries of its own; when
    the last one is, the delivery is answered with an array of all answers and acknowledged as a whole.

    :param not_sent: called with the reason when the answer could not be published.
    """

    def __init__(self, delivery: IDelivery, functions: list[str], not_sent: Callable[[str], object]) -> None:
        self._delivery = delivery
        self._not_sent = not_sent
        self.parts = [Part(self, delivery, function) for function in functions]
        self._open = set(self.parts)
        self._is_parked = False

    def parked(self) -> None:
        """Whether a part waits for others of its function has changed; the whole does when all that are left do."""
        is_parked = all(part.parked for part in self._open)
        if is_parked is not self._is_parked:
            self._is_parked = is_parked
            self._delivery.park(is_parked)

    def settled(self, part: Part) -> None:
        """A part has reached its end."""
        self._open.discard(part)
        if self._open:
            self.parked()
            return
        delays = [part.nak_delay_s for part in self.parts if part.nak_delay_s is not None]
        if delays and self._delivery.durable:
            # Some have not ended here. All of them are called again: at least once.
            self._delivery.nak(min(delays))
            return
        self._answer()
        reasons = [part.term_reason for part in self.parts if part.term_reason is not None]
        if reasons:
            self._delivery.term("; ".join(reasons))
        else:
            self._delivery.ack()

    def _answer(self) -> None:
        if not self._delivery.wants_answer:
            return
        payload = json.dumps([part.entry for part in self.parts], separators=(",", ":")).encode()
        failures = [part.entry["status"] for part in self.parts if "error" in part.entry]
        headers: list[Header] = [("Content-Type", "application/json")]
        if failures:
            text = f"{len(failures)} of {len(self.parts)} functions failed"
            headers += [("Nats-Service-Error-Code", str(max(failures))), ("Nats-Service-Error", text)]
        try:
            try:
                self._delivery.answer(payload, headers)
            except ReplyTooLarge as e:
                self._delivery.answer(*answer(failed(TOO_LARGE, str(e), final=True), None))
        except ReplyNotSent as e:
            self._not_sent(str(e))


@implementer(IDelivery)
class Part:
    """The share of one function in a delivery."""

    shared = True

    def __init__(self, whole: FanOut, delivery: IDelivery, function: str) -> None:
        self._whole = whole
        self._delivery = delivery
        self.parked = False
        self.nak_delay_s: float | None = None
        self.term_reason: str | None = None
        self.entry: dict[str, Any] = {"function": function}
        self.subject = delivery.subject
        self.payload = delivery.payload
        self.headers: Iterable[Header] = delivery.headers
        self.header_error: str | None = None
        self.wants_answer = delivery.wants_answer
        self.durable = delivery.durable
        self.attempt = delivery.attempt
        self.most_attempts = delivery.most_attempts
        self.identity = delivery.identity
        self.published_at_s = delivery.published_at_s

    def answer(self, payload: bytes, headers: list[Header]) -> None:
        named = dict(headers)
        status = named.get("X-Function-Status")
        self.entry["status"] = int(status or named.get("Nats-Service-Error-Code", "0"))
        if "Nats-Service-Error" in named:
            self.entry["error"] = named["Nats-Service-Error"]
        if status is None:
            return
        try:
            self.entry["body"] = payload.decode("utf-8")
        except UnicodeDecodeError:
            self.entry["body_base64"] = base64.b64encode(payload).decode("ascii")

    def park(self, parked: bool) -> None:
        self.parked = parked
        self._whole.parked()

    def ack(self) -> None:
        self._whole.settled(self)

    def nak(self, delay_s: float) -> None:
        self.nak_delay_s = delay_s
        self._whole.settled(self)

    def term(self, reason: str) -> None:
        self.term_reason = reason
        self._whole.settled(self)
