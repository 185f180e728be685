"""What a server can say, as the parser reports it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from natsconnector.nats.errors import NoReplySubject
from natsconnector.nats.wire.headers import NO_BLOCK, Headers, HeadersLike, ParsedBlock, parse_block

#: Publishes: subject, payload, reply subject, headers.
Publish = Callable[[str, bytes, str | None, HeadersLike | None], None]


@dataclass(frozen=True, slots=True)
class Info:
    """``INFO``: the server about itself; every one replaces the one before. Unknown fields are kept."""

    fields: dict[str, Any]


class Msg:
    """
    ``MSG`` or ``HMSG``: one message.

    ``subject`` and ``reply`` are text; bytes that are no UTF-8 are surrogates (``surrogateescape``), so that a reply
    to a strange subject still gets there. Headers are read when first asked for. A malformed header block is said
    by ``header_error``, a sentence; then there are no headers and no status. A single line in it that is no header is
    left out, and ``headers.skipped`` says why.
    """

    __slots__ = ("_parsed", "_publish", "header_block", "payload", "reply", "sid", "subject")

    #: Set by the client that has received it.
    _publish: Publish

    def __init__(
        self,
        subject: str,
        sid: int,
        reply: str | None = None,
        payload: bytes = b"",
        header_block: bytes = b"",
    ) -> None:
        self.subject = subject
        self.sid = sid
        self.reply = reply
        self.payload = payload
        self.header_block = header_block
        self._parsed: ParsedBlock | None = None

    def _block(self) -> ParsedBlock:
        parsed = self._parsed
        if parsed is None:
            parsed = self._parsed = parse_block(self.header_block) if self.header_block else NO_BLOCK
        return parsed

    @property
    def headers(self) -> Headers:
        """The headers, none of them when there were none or the block is malformed."""
        return self._block().headers

    @property
    def status(self) -> int | None:
        """The status of the block's first line (503: no responders), not a header that is named Status."""
        return self._block().status

    @property
    def description(self) -> str | None:
        """The text after the status, if any."""
        return self._block().description

    @property
    def header_error(self) -> str | None:
        """What is wrong with the header block, or None."""
        return self._block().error

    def respond(self, payload: bytes = b"", *, headers: HeadersLike | None = None) -> None:
        """
        Publish an answer to the reply subject.

        :raises NoReplySubject: nobody asked for one.
        :raises NatsError: as ``NatsClient.publish`` says.
        """
        if self.reply is None:
            raise NoReplySubject(self.subject)
        self._publish(self.reply, payload, None, headers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Msg):
            return NotImplemented
        return (self.subject, self.sid, self.reply, self.payload, self.header_block) == (
            other.subject,
            other.sid,
            other.reply,
            other.payload,
            other.header_block,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        # Payloads do not belong into logs, and logs show reprs.
        reply = f" reply={self.reply!r}" if self.reply is not None else ""
        return f"<Msg {self.subject!r} sid={self.sid}{reply} payload of {len(self.payload)} bytes>"


@dataclass(frozen=True, slots=True)
class Ping:
    """``PING``: to be answered with PONG."""


@dataclass(frozen=True, slots=True)
class Pong:
    """``PONG``: the answer to our oldest open PING."""


@dataclass(frozen=True, slots=True)
class Ok:
    """``+OK``: in verbose mode only."""


@dataclass(frozen=True, slots=True)
class Err:
    """``-ERR``: the text without its quotes."""

    message: str


Event = Info | Msg | Ping | Pong | Ok | Err
