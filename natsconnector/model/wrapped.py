"""A delivery around another one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from natsconnector.model.headers import Header
from natsconnector.model.reply import Reply
from natsconnector.model.seams import IDelivery


class WrappedDelivery:
    """
    Everything of an :class:`~natsconnector.model.seams.IDelivery` but its end, which a subclass sees to: all of it is
    that of the delivery inside, as far as the subclass says nothing else.
    """

    subject: str
    payload: bytes
    size_bytes: int
    headers: Collection[Header]
    header_error: str | None
    skipped_headers: Sequence[str]
    reply_subject: str | None
    wants_answer: bool
    durable: bool
    attempt: int
    most_attempts: int | None
    comes_again: bool
    identity: str | None
    published_at_s: float | None

    def __init__(self, delivery: IDelivery) -> None:
        self._delivery = delivery

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)

    def hold_back(self, held_back: bool) -> None:
        self._delivery.hold_back(held_back)

    def answer(self, reply: Reply) -> None:
        self._delivery.answer(reply)
