"""A call of one function, and why a message may never become one. Pure."""

from __future__ import annotations

from dataclasses import field

from natsconnector.model.frozen import frozen
from natsconnector.model.headers import Header
from natsconnector.model.route import ROOT, Route

CALL_ID = "X-Call-Id"
CALLBACK_URL = "X-Callback-Url"


class Refused(Exception):
    """A message that will never be a call: ``code`` as HTTP names such faults, ``reason`` in one sentence."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Malformed(Refused):
    """The message is not what the connector understands."""

    def __init__(self, reason: str) -> None:
        super().__init__(400, reason)


class Forbidden(Refused):
    """The message is well-formed, but this connector is configured not to make such a call."""

    def __init__(self, reason: str) -> None:
        super().__init__(403, reason)


@frozen
class FunctionCall:
    """A call of one function."""

    function: str
    """``name`` or ``name.namespace``."""
    body: bytes = b""
    content_type: str | None = None
    headers: tuple[Header, ...] = ()
    """Further HTTP headers."""
    callback_url: str | None = field(default=None, repr=False)
    """Where the result goes. One of our own is a secret: whoever has it can answer the call."""
    call_id: str = ""
    """The same over all attempts, see ``X-Call-Id`` of the gateway."""
    queued: bool = False
    """Asynchronous also without a callback."""
    timeout_s: float | None = None
    """For this call; None takes the connector's."""
    route: Route = ROOT
    """Method, and path below the function; asynchronous calls are always POSTs."""
    answers_later: bool = False
    """The result comes to the reply subject by itself: that the gateway has accepted the call is not told there."""

    @property
    def asynchronous(self) -> bool:
        """Whether the gateway queues the call and answers at once (202)."""
        return self.queued or self.callback_url is not None
