"""What became of an attempt to call a function. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from natsconnector.model.call import FunctionCall
from natsconnector.model.frozen import frozen
from natsconnector.model.headers import Header

MALFORMED = 400
TOO_LARGE = 413
BAD_GATEWAY = 502
OVERLOADED = 503
TIMED_OUT = 504


@frozen
class Outcome:
    """
    The end of one attempt: an HTTP response, or the reason why there is none.

    Use :func:`failed` for one without a response.
    """

    status: int
    """The response's HTTP status; without a response, the status that names the fault best."""
    body: bytes = b""
    headers: Sequence[Header] = ()
    failure: str | None = None
    """Why there is no response, in one sentence; None when there is one."""
    not_executed: bool = False
    """The function surely did not run: trying again cannot run it twice."""
    final: bool = False
    """Trying again cannot help, or would run twice what must not."""
    unfinished: bool = False
    """This connector did not get to it, or did not wait for its end: a durable message is left to a later delivery."""
    retry_after_s: float | None = None
    """How long the response asks to wait, from its ``Retry-After``."""
    gateway_down: bool = False
    """The gateway cannot be reached, or what is behind it is away: no fault of the call."""
    not_deployed: bool = False
    """The gateway does not know the function."""
    defect: bool = False
    """A defect of this connector met the call: no fault of the message."""

    @property
    def ok(self) -> bool:
        """The function answered 2xx, or the gateway accepted an asynchronous call."""
        return self.failure is None and 200 <= self.status < 300

    def error(self, call: FunctionCall | None) -> str | None:
        """What went wrong, in one sentence; None when nothing did."""
        if self.ok:
            return None
        if self.failure is not None or call is None:
            return self.failure
        if not call.asynchronous:
            return f"{call.function} answered {self.status}"
        # The gateway has the route only when its queue is configured; otherwise it looks like a missing page.
        hint = "; it does so when it has no asynchronous queue" if self.status == 404 else ""
        return f"the gateway answered {self.status} to the asynchronous call of {call.function}{hint}"


def failed(
    status: int, reason: str, *, not_executed: bool = False, final: bool = False, gateway_down: bool = False
) -> Outcome:
    """The outcome of an attempt that got no HTTP response."""
    return Outcome(status, failure=reason, not_executed=not_executed, final=final, gateway_down=gateway_down)


def defective() -> Outcome:
    """The outcome of a message that met a defect of this connector, which has been logged."""
    return Outcome(500, failure="the connector failed because of a defect of its own", defect=True)


def unfinished(reason: str, *, not_executed: bool = True, retry_after_s: float | None = None) -> Outcome:
    """The outcome of a message that this connector has no room, or no time left, for."""
    return Outcome(OVERLOADED, failure=reason, not_executed=not_executed, unfinished=True, retry_after_s=retry_after_s)
