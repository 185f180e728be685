"""What deliveries of both kinds have in common: a NATS message, and a subject for its answer."""

from __future__ import annotations

from collections.abc import Iterable

from natsconnector.model.headers import Header
from natsconnector.model.seams import ReplyNotSent, ReplyTooLarge
from natsconnector.nats import MaxPayloadExceeded, Msg, NatsClient, NatsError


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


def publish(client: NatsClient, subject: str, payload: bytes, headers: list[Header]) -> None:
    """
    Publish an answer.

    :raises ReplyNotSent: nothing was published.
    """
    try:
        client.publish(subject, payload, headers=headers)
    except MaxPayloadExceeded as e:
        raise ReplyTooLarge(f"the answer is larger than the NATS server takes: {e}") from e
    except NatsError as e:
        raise ReplyNotSent(str(e)) from e
