"""What a requester is told about the outcome of a call. Pure."""

from __future__ import annotations

from natsconnector.model.call import FunctionCall
from natsconnector.model.frozen import frozen
from natsconnector.model.headers import Header, returned
from natsconnector.model.outcome import Outcome


@frozen
class Reply:
    """The answer to a message; :mod:`natsconnector.messages` puts it into the form it has on NATS."""

    status: int
    """The HTTP status of the response; without a response, the status that names the fault best."""
    body: bytes = b""
    headers: tuple[Header, ...] = ()
    """Those of the response that go along."""
    error: str | None = None
    """What went wrong, in one sentence; None when nothing did."""
    call_id: str | None = None
    is_response: bool = False
    """Whether status, headers and body are those of an HTTP response: the function's, or the gateway's."""


def reply_to(outcome: Outcome, call: FunctionCall | None) -> Reply:
    """The reply that tells ``outcome``; ``call`` is None when the message was none."""
    error, call_id = outcome.error(call), None if call is None else call.call_id
    if outcome.failure is not None:
        reason = outcome.failure.encode("utf-8", "replace")
        return Reply(outcome.status, reason, (("Content-Type", "text/plain"),), error, call_id)
    return Reply(outcome.status, outcome.body, returned(outcome.headers), error, call_id, is_response=True)
