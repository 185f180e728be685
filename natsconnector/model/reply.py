"""What a requester is told about the outcome of a call. Pure."""

from __future__ import annotations

from natsconnector.model.call import CALL_ID, FunctionCall
from natsconnector.model.headers import Header, returned
from natsconnector.model.outcome import Outcome


def answer(outcome: Outcome, call: FunctionCall | None) -> tuple[bytes, list[Header]]:
    """
    The reply that tells ``outcome``: payload and headers; ``call`` is None when the message was none.

    A failure has ``Nats-Service-Error-Code`` and ``Nats-Service-Error`` (ADR-32), so that NATS's own tools show it.
    """
    headers: list[Header] = []
    if outcome.failure is None:
        headers.append(("X-Function-Status", str(outcome.status)))
        headers += returned(outcome.headers)
    if call is not None:
        headers.append((CALL_ID, call.call_id))
    error = outcome.error(call)
    if error is not None:
        headers += [("Nats-Service-Error-Code", str(outcome.status)), ("Nats-Service-Error", error)]
    if outcome.failure is not None:
        return outcome.failure.encode("utf-8", "replace"), [("Content-Type", "text/plain"), *headers]
    return outcome.body, headers
