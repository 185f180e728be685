"""What a dead letter says, and how it is told apart. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from natsconnector.model.headers import Header

PREFIX = "Dead-Letter-"
SUBJECT = "Dead-Letter-Subject"
FUNCTION = "Dead-Letter-Function"
STATUS = "Dead-Letter-Status"
REASON = "Dead-Letter-Reason"
ATTEMPTS = "Dead-Letter-Attempts"
FIRST_TIME = "Dead-Letter-First-Time"
LAST_TIME = "Dead-Letter-Last-Time"
RETURNS = "Dead-Letter-Returns"
"""How often the message was put back before."""
MESSAGE_ID = "Nats-Msg-Id"
ONLY_FUNCTION = "Natsconnector-Function"
"""Of a message that was put back: the one function of its topic that is to be called."""
PUT_BACK = "Natsconnector-Returns"
"""Of a message that was put back: how often that was."""

# The server acts on headers of this prefix: those of the original were meant for the original.
_SERVER_PREFIX = "Nats-"
_LONGEST_REASON = 500


def letter_headers(
    original: Iterable[Header],
    *,
    subject: str,
    function: str | None,
    status: int,
    reason: str,
    attempts: int,
    first_time_s: float,
    last_time_s: float,
    identity: str | None,
) -> list[Header]:
    """
    The headers of a dead letter: the original's, and why it is one.

    :param first_time_s: when it was published, or came, in seconds since 1970; ``last_time_s``: when it was given up.
    :param identity: what names the message over all deliveries. The stream of dead letters keeps one of each: with the
        time, since sequences begin anew in a stream that was removed and made again.
    """
    original = list(original)
    headers = [*original_headers(original), (SUBJECT, subject)]
    if returns := returns_of(original):
        headers.append((RETURNS, str(returns)))
    if function is not None:
        headers.append((FUNCTION, function))
    headers += [
        (STATUS, str(status)),
        (REASON, " ".join(reason.encode("utf-8", "replace").decode().split())[:_LONGEST_REASON]),
        (ATTEMPTS, str(attempts)),
        (FIRST_TIME, _time(first_time_s)),
        (LAST_TIME, _time(last_time_s)),
    ]
    if identity is not None:
        headers.append((MESSAGE_ID, f"dead-{identity}-{round(first_time_s * 1000)}-{function or ''}"))
    return headers


def original_headers(headers: Iterable[Header]) -> list[Header]:
    """Those of a message's headers that are its publisher's own, and go along wherever it goes."""
    prefixes = (PREFIX.lower(), _SERVER_PREFIX.lower(), ONLY_FUNCTION.lower(), PUT_BACK.lower())
    return [(name, value) for name, value in headers if not name.lower().startswith(prefixes)]


def returns_of(headers: Iterable[Header], name: str = PUT_BACK) -> int:
    """How often a message was put back, as a header of it says; 0 when none does."""
    values = [value for each, value in headers if each.lower() == name.lower()]
    return int(values[0]) if values and values[0].isascii() and values[0].isdigit() and len(values[0]) < 10 else 0


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
