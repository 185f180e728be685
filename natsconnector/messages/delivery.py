"""What deliveries of both kinds have in common: a NATS message, and a subject for its answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from natsconnector.model.call import CALL_ID
from natsconnector.model.headers import Header
from natsconnector.model.reply import Reply
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
    def size_bytes(self) -> int:
        return len(self._msg.payload) + len(self._msg.header_block)

    @property
    def headers(self) -> Iterable[Header]:
        return self._msg.headers

    @property
    def header_error(self) -> str | None:
        return self._msg.header_error

    @property
    def skipped_headers(self) -> Sequence[str]:
        return self._msg.headers.skipped

    @property
    def reply_subject(self) -> str | None:
        """Where the outcome goes; None when nobody asked for it."""
        return self._msg.reply

    @property
    def wants_answer(self) -> bool:
        return self.reply_subject is not None

    def answer(self, reply: Reply) -> None:
        if self.reply_subject is not None:
            publish(self._client, self.reply_subject, reply.body, reply_headers(reply))


def reply_headers(reply: Reply) -> list[Header]:
    """
    The headers of a reply on NATS: those of the response, its status, the call's id.

    A failure has ``Nats-Service-Error-Code`` and ``Nats-Service-Error`` too (ADR-32), so that NATS's own tools show it.
    """
    headers = [("X-Function-Status", str(reply.status))] if reply.is_response else []
    headers += reply.headers
    if reply.call_id is not None:
        headers.append((CALL_ID, reply.call_id))
    if reply.error is not None:
        headers += [("Nats-Service-Error-Code", str(reply.status)), ("Nats-Service-Error", reply.error)]
    return headers


def publish(client: NatsClient, subject: str, payload: bytes, headers: list[Header]) -> None:
    """
    Publish a reply.

    :raises ReplyNotSent: nothing was published.
    """
    try:
        client.publish(subject, payload, headers=headers)
    except MaxPayloadExceeded as e:
        raise ReplyTooLarge(f"the reply is larger than the NATS server takes: {e}") from e
    except NatsError as e:
        raise ReplyNotSent(str(e)) from e
