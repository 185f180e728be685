"""What a client says about itself."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Status(enum.Enum):
    """Where a client stands."""

    DISCONNECTED = "disconnected"  #: not started, or trying to connect
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(slots=True)
class Statistics:
    """Counters since the client was made; bytes are those of the connection, not only payloads."""

    in_msgs: int = 0
    in_bytes: int = 0
    out_msgs: int = 0
    out_bytes: int = 0
    reconnects: int = 0
