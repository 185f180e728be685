"""
What the parts of the connector are like at one moment. Pure: whoever knows the parts fills these in at each scrape.

Times are in seconds of the clock, durations in seconds, sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Work:
    """What is being worked on, and what waits."""

    inflight: int
    pending: int
    pending_bytes: int
    oldest_s: float
    """How long the message has waited that waits longest; 0 when none does."""
    inflight_by_function: Mapping[str, int] = field(default_factory=dict)
    """Of the functions that have any, by full name."""
    inflight_limits: Mapping[str, int] = field(default_factory=dict)
    """Of the functions whose limit finds itself, and has done so."""


@dataclass(frozen=True, slots=True)
class Nats:
    """The connection to NATS; what went in and out since the start."""

    is_connected: bool
    changed_at: float
    """Since when it is, or is not."""
    reconnects: int
    in_messages: int
    out_messages: int
    in_bytes: int
    out_bytes: int


@dataclass(frozen=True, slots=True)
class FunctionList:
    """The list of functions."""

    functions: int
    known_at: float | None
    """When the gateway last gave the list; None: never yet."""
    failures: int
    """How often it did not."""
    annotation_faults: int
    """Annotations that cannot be read, or ask for more than they may."""
    unwanted_topics: int
    """Subjects of --topics that no function is annotated with."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """The consumer of a stream, as the server described it the last time, for all connectors that share it."""

    stream: str
    name: str
    pending: int
    """Messages that were not delivered yet."""
    unacknowledged: int
    redelivered: int
    oldest_s: float
    """Since the oldest message was published that this connector has, or has given back; 0 when there is none."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it."""

    now: float
    is_ready: bool
    """Whether messages come in, and more are wanted."""
    work: Work
    nats: Nats
    gateway_up: bool
    gateway_changed_at: float
    """Since when it is, or is not."""
    functions: FunctionList | None = None
    """None when there is no list of functions, since nobody needs it, or nobody may have it."""
    consumers: Sequence[Consumer] = ()
