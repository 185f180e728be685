"""Why a request has no whole response."""

from __future__ import annotations

from twisted.internet import error
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure


class NoResponse(Exception):
    """
    There is no whole response.

    :ivar reason: why, in a few words.
    :ivar sent: something of the request was handed to a connection, so the gateway may have acted on it.
    :ivar begun: something of the response came, so the gateway has acted on it.
    """

    def __init__(self, reason: str, *, sent: bool = False, begun: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        self.begun = begun


class NotConnected(NoResponse):
    """No connection came about, or it broke before anything was sent."""


class BrokeOff(NoResponse):
    """The request was sent; the connection ended before a response began."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, sent=True)


class ResponseCut(NoResponse):
    """The connection ended within the response."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, sent=True, begun=True)


class ResponseUnreadable(NoResponse):
    """The response breaks the rules of HTTP, or its head is beyond a bound."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, sent=True, begun=True)


class ResponseTooLarge(NoResponse):
    """The response's body exceeds the limit."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, sent=True, begun=True)


class TimedOut(NoResponse):
    """The deadline passed; ``sent`` and ``begun`` tell in which phase."""


class GivenUp(NoResponse, CancelledError):
    """The caller cancelled; ``sent`` and ``begun`` tell in which phase."""


def cause(failure: Failure) -> str:
    """The cause in a few words, on one line."""
    problem = failure.value
    if isinstance(problem, error.DNSLookupError):
        return "no address is known for its name"
    if isinstance(problem, error.ConnectionDone):
        return "the connection was closed"
    if isinstance(problem, error.ConnectionLost):
        return "the connection was lost"
    return " ".join((str(problem) or type(problem).__name__).split())[:200].rstrip(".")
