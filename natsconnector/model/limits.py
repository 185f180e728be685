"""How much the connector takes on. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work is taken on."""

    inflight: int = 100
    """Calls at the gateway at once."""
    pending_messages: int = 65536
    pending_bytes: int = 64 << 20
    """Of messages with their headers, among what is pending; and again of those whose calls are in flight."""
