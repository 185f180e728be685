"""Reading a response body that has to stay within bounds."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse


class BodyTooLarge(Exception):
    """A response body exceeds the limit; its connection was closed."""


class _BoundedBody(Protocol):
    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._size = 0
        self._chunks: list[bytes] = []
        # Cancelling has to close the connection: neither treq.content() nor readBody() does, and the rest of a
        # stalled body would keep it for ever.
        self.when_complete: Deferred[bytes] = Deferred(lambda _: self._abort())

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._limit_bytes:
            self._chunks.append(data)
        else:
            self._chunks.clear()
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.when_complete.called:
            return
        if self._size > self._limit_bytes:
            self.when_complete.errback(BodyTooLarge())
        # PotentialDataLoss: a body without a length ends where the connection does (RFC 9112, 6.3).
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.when_complete.callback(b"".join(self._chunks))
        else:
            self.when_complete.errback(reason)


def read_body(response: IResponse, limit_bytes: int) -> Deferred[bytes]:
    """
    The whole body of ``response``. Cancelling closes the connection.

    :raises BodyTooLarge: (in the Deferred) it is longer than ``limit_bytes``; the connection is closed.
    """
    body = _BoundedBody(limit_bytes)
    response.deliverBody(body)
    return body.when_complete
