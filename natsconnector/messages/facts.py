"""What JetStream says of a stream and of a consumer, read with care: any client may answer such requests on a server
without permissions. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from natsconnector.model.subjects import overlaps


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

    :raises NotUsable: the answer is not that of a stream.
    """
    config, state = _object(name, fields, "config"), _object(name, fields, "state")
    transform = config.get("subject_transform")
    destination = transform.get("dest") if isinstance(transform, dict) else None
    max_age_s = number(config, "max_age") / 1e9
    limits = [f"max_age of {max_age_s:g} s"] if max_age_s > 0 else []
    if config.get("discard", "old") == "old":
        limits += [
            f"{limit} of {number(config, limit)}"
            for limit in ("max_msgs", "max_bytes", "max_msgs_per_subject")
            if number(config, limit) > 0
        ]
    if config.get("allow_msg_ttl") is True:
        limits.append("the messages' own Nats-TTL")
    return StreamFacts(
        name,
        text(fields, "created"),
        tuple(texts(config, "subjects")),
        _pattern_of(destination) if isinstance(destination, str) and destination else None,
        bool(config.get("mirror") or config.get("sources")),
        text(config, "retention") or "limits",
        number(state, "messages"),
        number(state, "first_seq"),
        number(state, "consumer_count"),
        max_age_s,
        tuple(limits),
        number(config, "max_msgs_per_subject") == 1,
        config.get("deny_delete") is True or config.get("sealed") is True,
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
    floor: int
    """The stream sequence up to which all its messages are acknowledged."""
    pending: int
    outstanding: int
    redelivered: int


def consumer_facts(name: str, fields: Mapping[str, Any]) -> ConsumerFacts:
    """
    The facts of the answer to ``CONSUMER.INFO`` or ``CONSUMER.CREATE``.

    :raises NotUsable: the answer is not that of a consumer.
    """
    config = _object(name, fields, "config")
    floor = fields.get("ack_floor")
    # The server waits as the list says, if there is one.
    waits = [wait for wait in _list(config, "backoff") if _is_number(wait) and wait > 0]
    ack_wait_s = min(waits, default=number(config, "ack_wait") or 30_000_000_000) / 1e9
    filters = texts(config, "filter_subjects") or [text(config, "filter_subject") or ">"]
    return ConsumerFacts(
        name,
        config,
        tuple(filters),
        max(ack_wait_s, 0.001),
        _limit(config, "max_deliver"),
        _limit(config, "max_ack_pending"),
        number(config, "inactive_threshold") / 1e9,
        fields.get("paused") is True,
        number(floor, "stream_seq") if isinstance(floor, dict) else 0,
        number(fields, "num_pending"),
        number(fields, "num_ack_pending"),
        number(fields, "num_redelivered"),
    )


def _pattern_of(destination: str) -> str:
    """The pattern of the subjects that a subject transform makes: ``{{...}}`` stands for a token."""
    return ".".join("*" if "{{" in token or token.startswith("$") else token for token in destination.split("."))


def _object(name: str, fields: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    found = fields.get(field, {} if field == "state" else None)
    if not isinstance(found, dict):
        raise NotUsable(f"the server describes {name} in a way that is not understood")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def number(fields: Mapping[str, Any], field: str) -> int:
    """A whole number that fits 64 bits; 0 for anything else."""
    value = fields.get(field)
    return int(value) if value is not None and _is_number(value) else 0


def text(fields: Mapping[str, Any], field: str) -> str:
    """A text; empty for anything else."""
    value = fields.get(field)
    return value if isinstance(value, str) else ""


def texts(fields: Mapping[str, Any], field: str) -> list[str]:
    """The texts of a list; anything else in it is passed over."""
    return [each for each in _list(fields, field) if isinstance(each, str)]


def _list(fields: Mapping[str, Any], field: str) -> list[Any]:
    value = fields.get(field)
    return value if isinstance(value, list) else []


def _limit(config: Mapping[str, Any], field: str) -> int | None:
    value = number(config, field)
    return value if value > 0 else None
