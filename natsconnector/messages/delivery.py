"""What deliveries of both kinds have in common: a NATS message, and a subject for its reply."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from natsconnector.messages.replies import Replies
from natsconnector.model.headers import Header
from natsconnector.model.reply import Reply
from natsconnector.nats import Msg


class MessageDelivery:
    """The part of an :class:`~natsconnector.model.seams.IDelivery` that is told by its message."""

    __slots__ = ("_msg", "_replies", "reply_subject")

    def __init__(self, replies: Replies, msg: Msg, reply_subject: str | None) -> None:
        self._replies = replies
        self._msg = msg
        self.reply_subject = reply_subject

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
    def headers(self) -> Collection[Header]:
        return self._msg.headers

    @property
    def header_error(self) -> str | None:
        return self._msg.header_error

    @property
    def skipped_headers(self) -> Sequence[str]:
        return self._msg.headers.skipped

    @property
    def wants_answer(self) -> bool:
        return self.reply_subject is not None

    def answer(self, reply: Reply) -> None:
        if self.reply_subject is not None:
            self._replies.publish(self.reply_subject, reply, self._msg)
