"""The places of topics in a stream: one consumer each, and what becomes of those that are not taken any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from natsconnector.messages.consumer import Wanted, open_consumer
from natsconnector.messages.facts import ConsumerFacts, StreamFacts, consumer_facts
from natsconnector.messages.topics import consumer_name
from natsconnector.model.subjects import covers
from natsconnector.nats.jetstream import NO_CONSUMER, JetStream, JetStreamError

# How long a consumer waits for the unacknowledged messages of one whose place it takes.
_HAND_OVER_S = 30.0
# How far the clocks of the connector and of the server may be apart.
_CLOCKS_S = 5.0


def from_time(since_s: float) -> dict[str, Any]:
    """How a consumer begins with what was published since then."""
    begin = datetime.fromtimestamp(since_s - _CLOCKS_S, timezone.utc)
    return {"deliver_policy": "by_start_time", "opt_start_time": begin.isoformat()}


class Places:
    """
    Consumers on the server, by topic.

    :param wanted: the consumers, but for their names and subjects.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, jetstream: JetStream, wanted: Wanted) -> None:
        self._clock = clock
        self._jetstream = jetstream
        self._stream, self._consumer = wanted.stream, wanted.consumer
        self._waiting_since: dict[str, float] = {}

    @property
    def are_handed_over(self) -> bool:
        """Whether a consumer waits for those whose place it takes."""
        return bool(self._waiting_since)

    async def take_over(self, wanted: Wanted, others: Iterable[str], stream: StreamFacts, since_s: float) -> bool:
        """
        Whether the consumer of a topic can be there now. Those of other topics that overlap with it are removed, so
        that messages come once; it begins where they were, or where it would begin itself.

        :param wanted: the consumer.
        :param others: topics that overlap with it and are not taken any more.
        :param since_s: when no function had the topic for the last time, in seconds since 1970.
        """
        found: dict[str, ConsumerFacts] = {}
        for other in others:
            facts = await self.facts(other)
            if facts is None:
                continue
            begun_s = self._waiting_since.setdefault(wanted.consumer, self._clock.seconds())
            if facts.outstanding and self._clock.seconds() - begun_s < _HAND_OVER_S:
                return False
            found[other] = facts
        self._waiting_since.pop(wanted.consumer, None)
        # Of a work queue all is still there that was not acknowledged, and it allows no two consumers to overlap.
        is_queue = stream.retention == "workqueue"
        if found and not is_queue:
            # A wider one has brought all until now.
            is_covered = any(covers(other, wanted.subjects[0]) for other in found)
            await self._make(wanted, min(each.floor for each in found.values()), None if is_covered else since_s)
        for other, facts in found.items():
            # What a wider one has left is not the new one's; without its place that would be lost.
            if is_queue or not facts.outstanding or covers(wanted.subjects[0], other):
                await self.remove(other)
        return True

    async def _make(self, wanted: Wanted, floor: int, since_s: float | None) -> None:
        """Make a consumer that begins behind a message, or at a time if that was earlier."""
        if since_s is not None:
            opened = await open_consumer(self._jetstream, replace(wanted, deliver=from_time(since_s)))
            # A new consumer stands before its first message.
            if opened.made_from is None or opened.consumer is None or opened.consumer.floor <= floor:
                return
            await self._jetstream.delete_consumer(wanted.stream, wanted.consumer)
        begin = {"deliver_policy": "by_start_sequence", "opt_start_seq": floor + 1}
        await open_consumer(self._jetstream, replace(wanted, deliver=begin))

    async def facts(self, topic: str) -> ConsumerFacts | None:
        """What the server says of a topic's consumer; None when there is none."""
        name = consumer_name(self._consumer, topic)
        try:
            return consumer_facts(name, await self._jetstream.consumer(self._stream, name))
        except JetStreamError as e:
            if e.err_code != NO_CONSUMER:
                raise
            return None

    async def remove(self, topic: str) -> None:
        """Remove a topic's consumer."""
        name = consumer_name(self._consumer, topic)
        try:
            await self._jetstream.delete_consumer(self._stream, name)
        except JetStreamError as e:
            if e.err_code != NO_CONSUMER:
                raise
            return
        self._log.info(
            "removed consumer {consumer} of stream {stream}: topic {subject} is not taken any more",
            consumer=name, stream=self._stream, subject=topic, event="consumer_removed",
        )  # fmt: skip
