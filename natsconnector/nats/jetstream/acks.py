"""The ack subject of a JetStream message, and what is published there. Source: ADR-15 and the server."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

ACK_PREFIX = "$JS.ACK."
ACK = b"+ACK"
IN_PROGRESS = b"+WPI"

_TERM_REASON_SINCE = (2, 10, 4)


class Position(NamedTuple):
    """Where a message stands, as its ack subject tells."""

    stream: str
    consumer: str
    delivered: int
    """How often it was delivered, this time included."""
    stream_sequence: int
    consumer_sequence: int
    timestamp_ns: int
    """When it was stored, in nanoseconds since 1970."""
    pending: int
    """Messages behind it that the consumer has not delivered yet."""
    domain: str | None


def position(reply: str | None) -> Position | None:
    """
    The position that a reply subject tells; None when it is no ack subject.

    There are two forms (ADR-15), ``$JS.ACK.<stream>.<consumer>.<five numbers>``, and, where a server's feature flag
    ``js_ack_fc_v2`` is set, ``$JS.ACK.<domain or _>.<account hash>.<stream>.<consumer>.<five numbers>[.<random>]``.
    """
    if reply is None or not reply.startswith(ACK_PREFIX):
        return None
    tokens = reply.split(".")
    if len(tokens) == 9:
        domain, names, numbers = "_", tokens[2:4], tokens[4:9]
    elif len(tokens) >= 11:  # with domain and account hash, and maybe a random tail
        domain, names, numbers = tokens[2], tokens[4:6], tokens[6:11]
    else:
        return None
    if not all(number.isascii() and number.isdigit() and len(number) <= 20 for number in numbers):
        return None
    delivered, stream_sequence, consumer_sequence, timestamp_ns, pending = map(int, numbers)
    return Position(
        names[0],
        names[1],
        delivered,
        stream_sequence,
        consumer_sequence,
        timestamp_ns,
        pending,
        None if domain == "_" else domain,
    )


def nak(delay_s: float = 0.0) -> bytes:
    """What asks for another delivery after a while."""
    if delay_s <= 0:
        return b"-NAK"
    return b"-NAK " + json.dumps({"delay": round(delay_s * 1e9)}).encode()


def term(reason: str, server_version: object) -> bytes:
    """
    What asks for no further delivery.

    The reason goes into the server's advisory. Servers before 2.10.4 ignore a ``+TERM`` that has one, and would
    deliver again.

    :param server_version: as its INFO has it; what cannot be read counts as old.
    """
    if not reason or version(server_version) < _TERM_REASON_SINCE:
        return b"+TERM"
    return b"+TERM " + " ".join(reason.split()).encode("utf-8", "replace")[:512]


def version(text: object) -> tuple[int, ...]:
    """``2.10.4`` of ``2.10.4-beta.1`` as numbers, to be compared; zeros for what cannot be read. Never raises."""
    if not isinstance(text, str):
        return (0, 0, 0)
    match = re.match(r"v?(\d{1,5})\.(\d{1,5})(?:\.(\d{1,5}))?", text)
    return tuple(int(part or 0) for part in match.groups()) if match else (0, 0, 0)
