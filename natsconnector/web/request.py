"""One request of a bounded site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.web.server import Request

# Each chunk costs some microseconds, however small the chunk is. Clients send thousands of bytes in one.
_MOST_CHUNKS = 65_536


class BoundedRequest(Request):
    """
    A request that stops storing its body one byte beyond the limit, so that the excess costs no memory.

    A form in a body is not parsed, which would cost more than the body.
    """

    _stored_bytes = 0
    _content_types: Sequence[bytes] | None = None
    _chunks = 0

    @property
    def takes_body(self) -> bool:
        """Whether a body is read at all."""
        return self._limit_bytes() > 0

    def answer_last(self) -> None:
        """Have the connection closed behind this request's answer."""
        channel: Any = self.channel
        channel.answer_last()

    @property
    def is_too_large(self) -> bool:
        """Whether the body went beyond the limit."""
        return self._stored_bytes > self._limit_bytes()

    def handleContentChunk(self, data: bytes) -> None:
        """Store as much of the body as counts."""
        self._chunks += 1
        if self._chunks == _MOST_CHUNKS + 1:
            channel: Any = self.channel
            channel.abort()
        counts = data[: max(0, self._limit_bytes() + 1 - self._stored_bytes)]
        self._stored_bytes += len(counts)
        super().handleContentChunk(counts)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Hide the content type, by which Twisted knows a form; the parameter against it has come with Twisted 25.5."""
        self._content_types = self.requestHeaders.getRawHeaders(b"content-type")
        self.requestHeaders.removeHeader(b"content-type")
        super().requestReceived(command, path, version)

    def process(self) -> None:
        """
        Answer, with all headers there again.

        The request is judged as all others, also where Twisted has an answer of its own: to ``*``.
        """
        if self.path == b"*":
            self.path = b"/*"
        if self._content_types is not None:
            self.requestHeaders.setRawHeaders(b"content-type", self._content_types)
        super().process()

    def _limit_bytes(self) -> int:
        channel: Any = self.channel
        limit: int = channel.site.bounds.body_bytes
        return limit
