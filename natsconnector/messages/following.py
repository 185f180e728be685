"""Messages of a stream on whatever topics the deployed functions are annotated with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from natsconnector.messages.consumer import Wanted, look_at_stream, stream_cautions
from natsconnector.messages.facts import NotUsable, StreamFacts
from natsconnector.messages.flow import Flow
from natsconnector.messages.places import Places, from_time
from natsconnector.messages.stream import JetStreamSource
from natsconnector.messages.topics import choose, consumer_name, overlapping
from natsconnector.model.seams import ISource
from natsconnector.nats import ClientClosed, NatsClient, NatsError, PermissionsViolation
from natsconnector.nats.jetstream import JetStream

_LOOK_S = 5.0
# A topic that is on the first list has been seen by other connectors, if there are any, within that time.
_SEEN_BY_OTHERS_S = 60.0


@implementer(ISource)
class FollowingSource(Flow):
    """
    A durable pull consumer for each topic, all of them shared by all connectors that follow.

    One consumer whose filters were changed would lose messages: while a pull waits the server moves the consumer on,
    past all that its filters do not match, and what was published between an annotation and the change would lie
    behind it for ever. A consumer of its own begins where the topic does, and what one connector makes the others find.

    A topic that no function has any more is kept for a grace, and then no longer taken; its consumer keeps its place.
    It is removed where that costs nothing: with work-queue and interest retention, once nothing of it is pulled or
    unacknowledged any more.

    :param wanted: the consumers, but for their names and subjects.
    :param make_source: takes the messages of one consumer.
    :param fixed: subjects that are taken by another source.
    :param grace_s: for how long a topic is taken that no function has any more.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        client: NatsClient,
        jetstream: JetStream,
        wanted: Wanted,
        make_source: Callable[[Wanted], JetStreamSource],
        *,
        fixed: Sequence[str] = (),
        grace_s: float,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._client = client
        self._jetstream = jetstream
        self._wanted = wanted
        self._make_source = make_source
        self._fixed = tuple(fixed)
        self._grace_s = grace_s
        self.description = f"topics of functions in stream {wanted.stream}"
        self._topics: dict[str, float | None] | None = None  # and when the list was asked for that had it not yet
        self._sources: dict[str, JetStreamSource] = {}
        self._unwanted_since: dict[str, float] = {}
        self._leaving: dict[str, JetStreamSource] = {}
        self._places = Places(clock, jetstream, wanted)
        self._told: set[str] = set()
        self._waking: Deferred[None] | None = None
        self._is_changed = False
        self._is_held = False
        self._has_followed = False

    def listen_on(self, topics: Iterable[str], since_s: float | None) -> None:
        """
        Take these topics, and in the end no others.

        :param since_s: when the functions were asked for the last time before there were new ones among the topics, in
            seconds of the clock; None when they never were.
        """
        before = self._topics or {}
        self._topics = {topic: before.get(topic, since_s) for topic in topics}
        self._is_changed = True
        if self._waking is not None and not self._waking.called:
            self._waking.callback(None)
        self._tell()

    @property
    def sources(self) -> list[JetStreamSource]:
        """The source of each topic that is taken now."""
        return list(self._sources.values())

    @property
    def endpoints(self) -> tuple[tuple[str, str], ...]:
        return tuple(sorted((topic, "") for topic in self._sources))

    @property
    def not_ready(self) -> str | None:
        if self._topics is None:
            return "the topics of the functions are not known yet"
        if self._said or not self._has_followed:
            return self._said or f"the consumers of stream {self._wanted.stream} are not bound yet"
        if not self._sources and not self._fixed:
            return f"no function is annotated with a topic of stream {self._wanted.stream}: there is nothing to take"
        return next((reason for each in self._sources.values() if (reason := each.not_ready) is not None), None)

    def hold(self, held: bool) -> None:
        self._is_held = held
        for source in self._sources.values():
            source.hold(held)

    def stop(self) -> Deferred[None]:
        self._cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for stopped in [source.stop() for source in self._sources.values()]:
            await stopped

    async def _run(self) -> None:
        """For ever: see to it that there is a source for each topic, whenever the topics change and now and then."""
        while True:
            await self._client.when_ready()
            self._is_changed = False
            try:
                if self._topics is not None:
                    await self._follow(self._topics)
                    self._said, self._has_followed = "", True
            except (CancelledError, ClientClosed):
                raise
            except (NatsError, NotUsable) as e:
                # What is taken already comes all the same, and whether the server is slow shows there.
                if not self._has_followed or isinstance(e, (NotUsable, PermissionsViolation)):
                    self._say_not_ready(str(e))
            except Exception as e:
                self._said = str(e)
                self._log.failure("a defect while following the topics; the connector tries again", event="defect")
            self._tell()
            if not self._is_changed:
                await self._pause()

    async def _pause(self) -> None:
        waking: Deferred[None] = Deferred()
        self._waking = waking
        timer = self._clock.callLater(_LOOK_S, waking.callback, None)
        try:
            await waking
        finally:
            self._waking = None
            if timer.active():
                timer.cancel()

    async def _follow(self, topics: Mapping[str, float | None]) -> None:
        stream = await look_at_stream(self._jetstream, self._wanted.stream)
        choice = choose([*topics, *self._still_taken(topics)], stream, self._fixed)
        self._say_what_surprises(stream, choice.left_out)
        chosen = set(choice.topics)
        for topic in self._sources.keys() - chosen:
            self._unwanted_since.pop(topic, None)
            source = self._leaving[topic] = self._sources.pop(topic)
            await source.stop()
        others = ({*topics, *self._leaving}) - chosen
        for topic in choice.topics:
            if topic in self._sources:
                continue
            since_s = topics.get(topic) or self._clock.seconds() - _SEEN_BY_OTHERS_S
            rivals = overlapping(topic, others)
            if await self._places.take_over(self._wanted_of(topic), rivals, stream, since_s):
                self._leaving.pop(topic, None)
                self._begin(topic)
        await self._remove_consumers(stream)

    def _still_taken(self, topics: Mapping[str, float | None]) -> list[str]:
        """Topics that no function has, or none on the last list, and not for long enough."""
        now_s = self._clock.seconds()
        for topic in list(self._unwanted_since):
            if topic in topics:
                del self._unwanted_since[topic]
        return [
            topic
            for topic in self._sources
            if topic not in topics and now_s - self._unwanted_since.setdefault(topic, now_s) < self._grace_s
        ]

    def _begin(self, topic: str) -> None:
        assert self._deliver is not None
        source = self._sources[topic] = self._make_source(self._wanted_of(topic))
        source.watch(self._tell)
        source.hold(self._is_held)
        source.start(self._deliver)

    def _wanted_of(self, topic: str) -> Wanted:
        deliver: Mapping[str, Any] = self._wanted.deliver
        since_s = (self._topics or {}).get(topic)
        if since_s is not None and deliver.get("deliver_policy") in ("new", "last"):
            # New is what came since the annotation, not since the consumer.
            deliver = from_time(since_s)
        return replace(
            self._wanted, consumer=consumer_name(self._wanted.consumer, topic), subjects=(topic,), deliver=deliver
        )

    async def _remove_consumers(self, stream: StreamFacts) -> None:
        """Remove consumers that nobody needs, as far as nothing is lost by that."""
        for topic, source in list(self._leaving.items()):
            if not source.is_idle or self._places.are_handed_over:
                continue
            if stream.retention == "limits":  # without its place the topic would begin anew
                del self._leaving[topic]
                continue
            facts = await self._places.facts(topic)
            if facts is not None:
                if facts.outstanding or facts.waiting or (facts.pending and stream.retention != "workqueue"):
                    continue
                with suppress(PermissionsViolation):  # the client has told; it does no harm where it is
                    await self._places.remove(topic)
            del self._leaving[topic]

    def _say_what_surprises(self, stream: StreamFacts, left_out: Mapping[str, str]) -> None:
        """Say what is new of it."""
        cautions = stream_cautions(stream, ())
        for caution in cautions:
            if caution not in self._told:
                self._log.warn("{text}", text=caution, event="caution")
        for topic, reason in left_out.items():
            if topic not in self._told:
                self._log.warn(
                    "topic {subject} gets nothing from stream {stream}: {reason}",
                    subject=topic, stream=stream.name, reason=reason, event="topic_left_out",
                )  # fmt: skip
        self._told = {*cautions, *left_out}
