"""Getting hold of a durable pull consumer that does what the connector needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from natsconnector.model.subjects import covers, overlaps
from natsconnector.nats.jetstream import NO_CONSUMER, NO_STREAM, JetStream, JetStreamError, version

_SEVERAL_FILTERS_SINCE = (2, 10, 0)


class NotUsable(Exception):
    """What the connector needs is not there, or is not as it has to be; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer as the server has it."""

    name: str
    ack_wait_s: float
    max_deliver: int | None
    """None: without limit."""
    max_ack_pending: int | None
    paused: bool = False

    def cautions(self, room: int) -> list[str]:
        """What may surprise, a sentence each."""
        cautions = []
        if self.max_ack_pending is not None and self.max_ack_pending < 10 * room:
            cautions.append(
                f"consumer {self.name} allows {self.max_ack_pending} unacknowledged messages (max_ack_pending); those"
                " that wait for another attempt count too, so that one failing function can stall all others:"
                " make it unlimited (-1)"
            )
        if self.max_deliver is not None:
            cautions.append(
                f"consumer {self.name} gives a message up after {self.max_deliver} deliveries (max_deliver), even if"
                " --retry-attempts allows more; a crash in the last of them loses it: make it unlimited (-1)"
            )
        if self.paused:
            cautions.append(f"consumer {self.name} is paused: nothing comes until it is resumed")
        return cautions


async def open_consumer(
    jetstream: JetStream,
    stream: str,
    name: str,
    subjects: Sequence[str],
    ack_wait_s: float,
    dead_letter: str | None,
) -> Consumer:
    """
    The consumer of that name: as it is if it fits, made if it is missing.

    :raises NotUsable: stream or dead-letter stream are missing, or the consumer does not fit.
    :raises NatsError: it cannot be told.
    """
    if dead_letter is not None and not await jetstream.stream_names(dead_letter):
        raise NotUsable(f"no stream listens on the dead-letter subject {dead_letter}: create one")
    try:
        fields = await jetstream.consumer(stream, name)
    except JetStreamError as e:
        if e.err_code == NO_STREAM:
            raise _no_stream(stream) from None
        if e.err_code != NO_CONSUMER:
            raise
        fields = await _create(jetstream, stream, name, subjects, ack_wait_s)
    else:
        await check_consumer(jetstream, stream, name, fields, subjects)
    config = _config(name, fields)
    # The server waits as the list says, if there is one.
    waits = [wait for wait in config.get("backoff") or () if isinstance(wait, int)]
    return Consumer(
        name,
        min(waits, default=_number(config, "ack_wait", 30_000_000_000)) / 1e9,
        _limit(config, "max_deliver"),
        _limit(config, "max_ack_pending"),
        fields.get("paused") is True,
    )


async def _create(
    jetstream: JetStream, stream: str, name: str, subjects: Sequence[str], ack_wait_s: float
) -> dict[str, Any]:
    there = await _subjects_of(jetstream, stream)
    if there and not any(overlaps(one, other) for one in there for other in subjects):
        raise NotUsable(
            f"stream {stream} holds {', '.join(there)}, nothing that --subject and --topics name: {', '.join(subjects)}"
        )
    fields = await jetstream.create_consumer(stream, _wanted(jetstream, name, subjects, ack_wait_s))
    try:
        await check_consumer(jetstream, stream, name, fields, subjects)
    except NotUsable:
        # The server has not understood all of it, and what it has made would take what nobody asked for.
        await jetstream.delete_consumer(stream, name)
        raise
    return fields


async def _subjects_of(jetstream: JetStream, stream: str) -> list[str]:
    """The subjects that a stream listens on; none when it gets its messages from other streams."""
    try:
        config = _config(stream, await jetstream.stream(stream))
    except JetStreamError as e:
        if e.err_code == NO_STREAM:
            raise _no_stream(stream) from None
        raise
    if config.get("mirror") or config.get("sources"):
        return []
    return [subject for subject in config.get("subjects") or () if isinstance(subject, str)]


def _no_stream(stream: str) -> NotUsable:
    return NotUsable(f"there is no stream {stream}: create it, it is never created by the connector")


def _wanted(jetstream: JetStream, name: str, subjects: Sequence[str], ack_wait_s: float) -> dict[str, Any]:
    config: dict[str, Any] = {
        "durable_name": name,
        "ack_policy": "explicit",
        "ack_wait": round(ack_wait_s * 1e9),
        "deliver_policy": "all",
        "replay_policy": "instant",
        "max_deliver": -1,
        "max_ack_pending": -1,
    }
    if len(subjects) == 1:
        return config | {"filter_subject": subjects[0]}
    server = jetstream.server_version
    if server is not None and version(server) < _SEVERAL_FILTERS_SINCE:
        # It would ignore the list and give the consumer everything that is in the stream.
        raise NotUsable(f"a consumer of several subjects needs nats-server 2.10 or newer, this is {server}")
    return config | {"filter_subjects": list(subjects)}


async def check_consumer(
    jetstream: JetStream, stream: str, name: str, fields: dict[str, Any], subjects: Sequence[str]
) -> None:
    """
    Look at a consumer as the server describes it in ``fields``.

    :raises NotUsable: it is of another kind than the connector needs.
    """
    config = _config(name, fields)
    filters = config.get("filter_subjects") or [config.get("filter_subject") or ">"]
    if filters == [">"] and ">" not in subjects:
        # All that is in the stream: that fits if nothing else can be in it.
        there = await _subjects_of(jetstream, stream)
        fits = bool(there) and all(any(covers(wide, narrow) for wide in subjects) for narrow in there)
    else:
        fits = set(filters) == set(subjects)
    for wrong in (
        config.get("deliver_subject") and "it is a push consumer, not a pull consumer",
        not config.get("durable_name") and "it is not durable: the server forgets it",
        config.get("ack_policy") != "explicit" and f"its ack_policy is {config.get('ack_policy')}, not explicit",
        config.get("headers_only") and "it gives headers only",
        config.get("priority_groups") and "it has priority groups",
        not fits
        and f"it takes {', '.join(sorted(filters))}, but --subject and --topics name {', '.join(sorted(subjects))}",
    ):
        if wrong:
            raise NotUsable(f"consumer {name} does not fit: {wrong}; name another one with --consumer, or remove it")


def _config(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    config = fields.get("config")
    if not isinstance(config, dict):
        raise NotUsable(f"the server describes {name} in a way that is not understood")
    return config


def _number(config: dict[str, Any], field: str, default: int) -> int:
    value = config.get(field)
    return value if isinstance(value, int) else default


def _limit(config: dict[str, Any], field: str) -> int | None:
    value = _number(config, field, -1)
    return value if value > 0 else None
