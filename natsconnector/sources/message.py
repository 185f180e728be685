"""What deliveries of both kinds have in common: a NATS message, and a subject for its answer."""

from __future__ import annotations

from collections.abc import Iterable

from natsconnector.httpheaders import Header
from natsconnector.nats import Msg, NatsClient
from natsconnector.sources.replies import publish


class MessageDelivery:
    """The part of an :class:`~natsconnector.interfaces.IDelivery` that is told by its message."""

    __slots__ = ("_client", "_msg")

    def __init__(self, client: NatsClient, msg: Msg) -> None:
        self._client = client
        self._msg = msg

    @property
    def subject(self) -> str:
        return self._msg.subject

    @property
    def payload(self) -> bytes:
        return self._msg.payload

    @property
    def headers(self) -> Iterable[Header]:
        return self._msg.headers

    @property
    def header_error(self) -> str | None:
        return self._msg.header_error

    @property
    def reply_subject(self) -> str | None:
        """Where the outcome goes; None when nobody asked for it."""
        return self._msg.reply

    @property
    def wants_answer(self) -> bool:
        return self.reply_subject is not None

    def answer(self, payload: bytes, headers: list[Header]) -> None:
        if self.reply_subject is not None:
            publish(self._client, self.reply_subject, payload, headers)
