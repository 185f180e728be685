"""What JetStream says of a stream and of a consumer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from natsconnector.model.subjects import overlaps
from natsconnector.nats.jetstream import fields_of, flag, integer, integers, seconds, text, texts


class NotUsable(Exception):
    """What the connector needs is not there, or is not as it has to be; the text says what to do."""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """A stream as the server describes it."""

    name: str
    created: str
    """When it was made. A stream that was removed and made again has another time, and begins anew at sequence 1."""
    subjects: tuple[str, ...]
    """What it listens on."""
    transform: str | None
    """What the subjects of its messages become; None when they stay as they are."""
    is_fed: bool
    """Whether its messages come from other streams."""
    retention: str
    messages: int
    first_sequence: int
    consumers: int
    max_age_s: float
    limits: tuple[str, ...]
    """By which of its limits it removes messages that nobody has acknowledged."""
    keeps_one_per_subject: bool
    denies_delete: bool

    @property
    def held(self) -> tuple[str, ...]:
        """The subjects that its messages have; empty when that cannot be told."""
        if self.is_fed:
            return ()
        return self.subjects if self.transform is None else (self.transform,)

    def holds(self, subject: str) -> bool:
        """Whether messages of a subject may be in it, as far as can be told."""
        return not self.held or any(overlaps(own, subject) for own in self.held)

    @property
    def keeps_nothing(self) -> bool:
        """Whether it acknowledges messages and keeps none of them: nobody has an interest in them."""
        return self.retention == "interest" and self.consumers == 0


def stream_facts(name: str, fields: Mapping[str, Any]) -> StreamFacts:
    """
    The facts of the answer to ``STREAM.INFO``.

    :raises InvalidAnswer: the answer is not that of a stream.
    """
    config, state = fields_of(fields, "config"), fields_of(fields, "state", {})
    transform = text(fields_of(config, "subject_transform", {}), "dest", "")
    max_age_s = seconds(config, "max_age", default_s=0.0)
    limits = [f"max_age of {max_age_s:g} s"] if max_age_s > 0 else []
    if text(config, "discard", "old") == "old":
        limits += [
            f"{limit} of {most}"
            for limit in ("max_msgs", "max_bytes", "max_msgs_per_subject")
            if (most := integer(config, limit, -1, default=-1)) > 0
        ]
    if flag(config, "allow_msg_ttl"):
        limits.append("the messages' own Nats-TTL")
    return StreamFacts(
        name,
        text(fields, "created", ""),
        tuple(texts(config, "subjects")),
        _pattern_of(transform) if transform else None,
        bool(config.get("mirror") or config.get("sources")),
        text(config, "retention", "limits"),
        integer(state, "messages", default=0),
        integer(state, "first_seq", default=0),
        integer(state, "consumer_count", default=0),
        max_age_s,
        tuple(limits),
        integer(config, "max_msgs_per_subject", -1, default=-1) == 1,
        flag(config, "deny_delete") or flag(config, "sealed"),
    )


@dataclass(frozen=True, slots=True)
class ConsumerFacts:
    """A consumer as the server describes it."""

    name: str
    config: Mapping[str, Any]
    filters: tuple[str, ...]
    """The subjects it takes; ``>`` when it takes all of its stream."""
    ack_wait_s: float
    """The shortest it waits for an acknowledgement, above zero."""
    max_deliver: int | None
    """None: without limit."""
    max_ack_pending: int | None
    inactive_threshold_s: float
    is_paused: bool
    group: str | None
    """Its priority group, the first if there are several; None when it has none."""
    floor: int
    """The stream sequence up to which all its messages are acknowledged."""
    pending: int
    outstanding: int
    redelivered: int
    waiting: int
    """How many pulls wait for messages."""


def consumer_facts(name: str, fields: Mapping[str, Any]) -> ConsumerFacts:
    """
    The facts of the answer to ``CONSUMER.INFO`` or ``CONSUMER.CREATE``.

    :raises InvalidAnswer: the answer is not that of a consumer.
    """
    config = fields_of(fields, "config")
    ack_wait_s = seconds(config, "ack_wait", default_s=30.0) or 30.0
    # The server waits as this list says, if there is one.
    waits = [wait / 1e9 for wait in integers(config, "backoff") if wait > 0]
    filters = texts(config, "filter_subjects") or [text(config, "filter_subject", "") or ">"]
    return ConsumerFacts(
        name,
        config,
        tuple(filters),
        max(min(waits, default=ack_wait_s), 0.001),
        _limit(config, "max_deliver"),
        _limit(config, "max_ack_pending"),
        seconds(config, "inactive_threshold", default_s=0.0),
        flag(fields, "paused"),
        next(iter(texts(config, "priority_groups")), None),
        integer(fields_of(fields, "ack_floor", {}), "stream_seq", default=0),
        integer(fields, "num_pending", default=0),
        integer(fields, "num_ack_pending", default=0),
        integer(fields, "num_redelivered", default=0),
        integer(fields, "num_waiting", default=0),
    )


def _pattern_of(destination: str) -> str:
    """The pattern of the subjects that a subject transform makes: ``{{...}}`` stands for a token."""
    return ".".join("*" if "{{" in token or token.startswith("$") else token for token in destination.split("."))


def _limit(config: Mapping[str, Any], field: str) -> int | None:
    value = integer(config, field, -1, default=-1)
    return value if value > 0 else None
