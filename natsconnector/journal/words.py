"""What log lines are made of."""

from __future__ import annotations

from collections.abc import Mapping

from natsconnector.model.ending import Ending
from natsconnector.model.headers import trace_id_of

_MOST_PRINTED_BYTES = 4096


def about(ending: Ending) -> dict[str, object]:
    """The fields that every line about an end has."""
    headers = ending.delivery.headers if ending.call is None else ending.call.headers
    return {
        "subject": ending.delivery.subject,
        "identity": ending.delivery.identity,
        "function": ending.call and ending.call.function,
        "call_id": ending.call and ending.call.call_id,
        "trace_id": trace_id_of(headers),
        "status": ending.outcome.status,
        "attempts": ending.attempts,
        "duration_s": round(ending.elapsed_s, 6),
    }


def counted(number: int, word: str) -> str:
    """``1 attempt``, ``2 attempts``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def by_status(failed: Mapping[int, int]) -> str:
    """`` (2 with 500, 1 with 502)``; nothing when nothing failed."""
    return (
        " (" + ", ".join(f"{count} with {status}" for status, count in sorted(failed.items())) + ")" if failed else ""
    )


def printed(body: bytes) -> str:
    """A body as text, cut to a bearable length."""
    text = body[:_MOST_PRINTED_BYTES].decode("utf-8", "replace")
    return text if len(body) <= _MOST_PRINTED_BYTES else f"{text}... (cut)"
