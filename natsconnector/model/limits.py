"""How much the connector takes on. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

AUTO: Final = "auto"
"""Of a limit: it is found out by the answers."""

MaxInflight = int | Literal["auto"] | None
"""How many calls of a function may be in flight; None: as many as there are slots."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work is taken on."""

    inflight: int = 100
    """Calls at the gateway at once."""
    pending_messages: int = 65536
    pending_bytes: int = 64 << 20
    """Of messages with their headers, among what is pending; and again of those whose calls are in flight."""
