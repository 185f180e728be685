"""Getting hold of a durable pull consumer that does what the connector needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from natsconnector.messages.facts import ConsumerFacts, NotUsable, StreamFacts, consumer_facts, stream_facts
from natsconnector.model.subjects import covers
from natsconnector.nats import PermissionsViolation
from natsconnector.nats.jetstream import NO_CONSUMER, NO_STREAM, JetStream, JetStreamError, version

# A subject with wildcards can be that of many streams.
_MOST_LOOKED_AT = 16
_SEVERAL_FILTERS_SINCE = (2, 10, 0)
_NOT_UNIQUE = 10100

# One connector at a time has the messages of such a consumer (ADR-42).
_GROUP = "ordered"
_PINNED = "pinned_client"
_PINNED_SINCE = (2, 11, 0)
# Longer than a pull of such a group waits at the server: each pull renews the pin.
_PIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the connector wants of a stream."""

    stream: str
    consumer: str
    subjects: tuple[str, ...]
    ack_wait_s: float = 30.0
    """Of the consumer, if it is made here; likewise ``deliver``."""
    deliver: Mapping[str, Any] = field(default_factory=lambda: {"deliver_policy": "all"})
    dead_letter: str | None = None
    """A subject that a stream has to listen on."""
    update: bool = False
    """Whether an existing consumer that takes other subjects is to be changed."""
    description: str = ""
    ordered: bool = False
    """Whether one connector at a time is to have its messages."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A consumer that fits, and its stream."""

    consumer: ConsumerFacts | None
    """None when there is none, and it was not to be made."""
    stream: StreamFacts
    made_from: int | None = None
    """The sequence that the consumer begins at, if it was made now."""


async def open_consumer(
    jetstream: JetStream, wanted: Wanted, *, make: bool = True, done: tuple[str, int] | None = None
) -> Opened:
    """
    The consumer that is wanted: as it is if it fits, made if it is missing.

    :param make: whether it may be made, or changed; without that the same things are looked at.
    :param done: when the stream was made, and up to which sequence its messages are known to be acknowledged: a
        consumer that was removed does not begin again before that.
    :raises NotUsable: stream or dead-letter stream are missing, or the consumer does not fit.
    :raises NatsError: it cannot be told.
    """
    stream = await look_at_stream(jetstream, wanted.stream)
    if wanted.dead_letter is not None:
        await check_dead_letters(jetstream, wanted.dead_letter)
    missing = [subject for subject in wanted.subjects if not stream.holds(subject)]
    try:
        consumer = consumer_facts(wanted.consumer, await jetstream.consumer(wanted.stream, wanted.consumer))
    except JetStreamError as e:
        if e.err_code == NO_STREAM:
            raise _no_stream(wanted.stream) from None
        if e.err_code != NO_CONSUMER:
            raise
        if len(missing) == len(wanted.subjects):
            raise NotUsable(
                f"stream {stream.name} holds {', '.join(stream.held)}, and none of the subjects that the connector is"
                f" to take: {', '.join(wanted.subjects)}"
            ) from None
        if not make:
            return Opened(None, stream)
        return await _make(jetstream, wanted, stream, done)
    if wanted.update and make and not _fits(consumer, stream, wanted):
        config = {key: value for key, value in consumer.config.items() if not key.startswith("filter_subject")}
        changed = {**config, **_filters(jetstream, wanted), "durable_name": wanted.consumer}
        consumer = consumer_facts(wanted.consumer, await jetstream.create_consumer(wanted.stream, changed))
    check_consumer(consumer, stream, wanted)
    return Opened(consumer, stream)


async def look_at_stream(jetstream: JetStream, name: str) -> StreamFacts:
    """
    What the server says of a stream.

    :raises NotUsable: there is none of that name.
    """
    try:
        return stream_facts(name, await jetstream.stream(name))
    except JetStreamError as e:
        if e.err_code == NO_STREAM:
            raise _no_stream(name) from None
        raise


async def check_dead_letters(jetstream: JetStream, subject: str) -> list[StreamFacts]:
    """
    The streams that keep dead letters.

    :raises NotUsable: none listens on their subject, or one that does would keep nothing.
    """
    names = await jetstream.stream_names(subject)
    if not names:
        raise NotUsable(f"no stream listens on the dead-letter subject {subject}: create one")
    streams = []
    for name in names[:_MOST_LOOKED_AT]:
        try:
            streams.append(await look_at_stream(jetstream, name))
        except PermissionsViolation:  # looking is a favour: that the stream is there is known
            continue
    for stream in streams:
        if stream.keeps_nothing:
            raise NotUsable(
                f"stream {stream.name}, which listens on the dead-letter subject {subject}, has interest retention and"
                " no consumer: it would keep nothing; give it limits retention"
            )
        if stream.keeps_one_per_subject:
            raise NotUsable(
                f"stream {stream.name}, which listens on the dead-letter subject {subject}, keeps one message of a"
                " subject (max_msgs_per_subject): each dead letter would remove the one before"
            )
    return streams


def check_consumer(consumer: ConsumerFacts, stream: StreamFacts, wanted: Wanted) -> None:
    """:raises NotUsable: the consumer is of another kind than the connector needs."""
    config = consumer.config
    for wrong in (
        config.get("deliver_subject") and "it is a push consumer, not a pull consumer",
        not config.get("durable_name") and "it is not durable: the server forgets it",
        config.get("ack_policy") != "explicit" and f"its ack_policy is {config.get('ack_policy')}, not explicit",
        config.get("headers_only") and "it gives headers only",
        consumer.group and not wanted.ordered and "it has priority groups",
        consumer.group
        and config.get("priority_policy") != _PINNED
        and f"its priority_policy is {config.get('priority_policy')}, not {_PINNED}",
    ):
        if wrong:
            raise NotUsable(
                f"consumer {consumer.name} does not fit: {wrong}; name another one with --consumer, or remove it"
            )
    if not _fits(consumer, stream, wanted):
        raise NotUsable(
            f"consumer {consumer.name} does not fit: it takes {', '.join(sorted(consumer.filters))}, but the connector"
            f" is to take {', '.join(sorted(wanted.subjects))}; --update-consumer changes that and calls nothing again"
        )


def _fits(consumer: ConsumerFacts, stream: StreamFacts, wanted: Wanted) -> bool:
    if consumer.filters != (">",) or ">" in wanted.subjects:
        return set(consumer.filters) == set(wanted.subjects)
    # A consumer without filter takes all that is in the stream: that fits if the stream can hold nothing else.
    return bool(stream.held) and all(any(covers(wide, narrow) for wide in wanted.subjects) for narrow in stream.held)


async def _make(jetstream: JetStream, wanted: Wanted, stream: StreamFacts, done: tuple[str, int] | None) -> Opened:
    config = {
        "durable_name": wanted.consumer,
        "description": wanted.description,
        "ack_policy": "explicit",
        "ack_wait": round(wanted.ack_wait_s * 1e9),
        "replay_policy": "instant",
        "max_deliver": -1,
        "max_ack_pending": -1,
        **wanted.deliver,
        **_filters(jetstream, wanted),
    }
    if wanted.ordered and version(jetstream.server_version or "") >= _PINNED_SINCE:
        pin_ns = round(_PIN_S * 1e9)
        config |= {"priority_groups": [_GROUP], "priority_policy": _PINNED, "priority_timeout": pin_ns}
    if stream.retention == "workqueue":
        # A work-queue stream removes what was acknowledged, and allows no other beginning.
        config = {key: value for key, value in config.items() if not key.startswith("opt_")} | {"deliver_policy": "all"}
    elif done is not None and done[0] == stream.created:
        config = {key: value for key, value in config.items() if not key.startswith("opt_")} | {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": done[1] + 1,
        }
    try:
        consumer = consumer_facts(wanted.consumer, await jetstream.create_consumer(wanted.stream, config))
    except JetStreamError as e:
        if e.err_code != _NOT_UNIQUE:
            raise
        raise NotUsable(
            f"another consumer of stream {stream.name}, which has work-queue retention, takes some of"
            f" {', '.join(wanted.subjects)} already: {e}"
        ) from None
    try:
        check_consumer(consumer, stream, wanted)
    except NotUsable:
        # The server has not understood all of the request, and the consumer that it has made would take messages that
        # nobody asked for.
        await jetstream.delete_consumer(wanted.stream, wanted.consumer)
        raise
    start = config.get("opt_start_seq")
    return Opened(consumer, stream, start if isinstance(start, int) else max(1, stream.first_sequence))


def _filters(jetstream: JetStream, wanted: Wanted) -> dict[str, Any]:
    if len(wanted.subjects) == 1:
        return {"filter_subject": wanted.subjects[0]}
    server = jetstream.server_version
    if server is not None and version(server) < _SEVERAL_FILTERS_SINCE:
        # An older server would ignore the list and give the consumer everything that is in the stream.
        raise NotUsable(f"a consumer of several subjects needs nats-server 2.10 or newer, this is {server}")
    return {"filter_subjects": list(wanted.subjects)}


def _no_stream(stream: str) -> NotUsable:
    return NotUsable(f"there is no stream {stream}: create the stream, since the connector makes none")


def stream_cautions(stream: StreamFacts, subjects: Iterable[str]) -> list[str]:
    """What may surprise about a stream that messages on these subjects are taken from, a sentence each."""
    told = []
    missing = [subject for subject in subjects if not stream.holds(subject)]
    if missing:
        told.append(f"stream {stream.name} does not listen on {', '.join(missing)}: nothing comes from there")
    if stream.retention == "limits":
        told.append(
            f"stream {stream.name} has limits retention: messages stay in it when they are acknowledged, and a consumer"
            " of another name calls all of them again; work-queue retention (--retention work) removes them"
        )
    if stream.limits:
        told.append(
            f"stream {stream.name} removes messages by {', '.join(stream.limits)}, also those that wait for another"
            " attempt, without a dead letter"
        )
    return told


def consumer_cautions(consumer: ConsumerFacts, room: int, ordered: bool = False) -> list[str]:
    """
    What may surprise about a consumer, a sentence each.

    :param room: how many of its messages may be in hand at once.
    :param ordered: whether one connector at a time is to have its messages.
    """
    told = []
    if consumer.max_ack_pending is not None and consumer.max_ack_pending < 10 * room:
        told.append(
            f"consumer {consumer.name} allows {consumer.max_ack_pending} unacknowledged messages (max_ack_pending);"
            " those that wait for another attempt count too, so that one failing function can stall all others: make"
            " it unlimited (-1)"
        )
    if ordered and consumer.group is None:
        told.append(
            f"consumer {consumer.name} is not pinned to one connector at a time: run a single one, or the order is"
            " lost; with nats-server 2.11 or newer a consumer that the connector makes with --ordered-by is"
        )
    if consumer.max_deliver is not None:
        told.append(
            f"consumer {consumer.name} gives a message up after {consumer.max_deliver} deliveries (max_deliver), even"
            " if --retry-attempts allows more; a crash in the last of them loses it: make it unlimited (-1)"
        )
    if consumer.inactive_threshold_s > 0:
        told.append(
            f"consumer {consumer.name} is removed by the server when no connector is there for"
            f" {consumer.inactive_threshold_s:g} s (inactive_threshold, maybe from the stream's consumer_limits): what"
            " a stream with limits retention holds is then called again"
        )
    if consumer.is_paused:
        told.append(f"consumer {consumer.name} is paused: nothing comes until it is resumed")
    return told
