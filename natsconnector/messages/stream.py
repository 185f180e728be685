"""Messages of a JetStream durable pull consumer: each is delivered until it is acknowledged."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from zope.interface import implementer

from natsconnector.messages.consumer import Opened, Wanted, consumer_cautions, open_consumer, stream_cautions
from natsconnector.messages.facts import ConsumerFacts, NotUsable, consumer_facts
from natsconnector.messages.flow import Flow
from natsconnector.messages.gate import Gate
from natsconnector.messages.in_hand import InHand, JetStreamDelivery
from natsconnector.messages.replies import Replies
from natsconnector.messages.room import Room
from natsconnector.model.retries import doubled_s
from natsconnector.model.seams import ISource
from natsconnector.nats import ClientClosed, Msg, NatsClient, NatsError, Status
from natsconnector.nats.jetstream import NO_CONSUMER, NO_STREAM, JetStream, JetStreamError, Position, PullConsumer

_RETRY_S = (1.0, 30.0)
_LOOK_S = 5.0
# What has come may wait for it.
_LOOK_ORDERED_S = 1.0


@implementer(ISource)
class JetStreamSource(Flow):
    """
    A durable pull consumer of a stream, shared by all connectors that name it.

    Only as many messages are pulled as may be in flight, so what waits, waits in the stream. The stream has to exist;
    the consumer is made when it is missing. As long as either cannot be used the source is not ready, says why once,
    and looks again. A consumer that was removed is made again from where the old one was.

    :param room: what unsettled messages may take up.
    :param tells_of_stream: whether what may surprise about the stream is told here, too.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        client: NatsClient,
        jetstream: JetStream,
        wanted: Wanted,
        *,
        room: Room,
        replies: Replies | None = None,
        tells_of_stream: bool = True,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._client = client
        self._jetstream = jetstream
        self._wanted = wanted
        self._room = room
        self._tells_of_stream = tells_of_stream
        self._in_hand = InHand(
            clock, client, room, self._room_changed, lambda: jetstream.server_version, replies or Replies(client)
        )
        self._is_held = False
        self._gate = Gate(clock, self._hand_on) if wanted.ordered else None
        if self._gate is not None:
            client.watch_status(self._status_changed)
        self.description = (
            f"subjects {', '.join(wanted.subjects)} of stream {wanted.stream}, consumer {wanted.consumer}"
        )
        self.endpoints = tuple((subject, "") for subject in wanted.subjects)
        self.stream = wanted.stream
        self.consumer: ConsumerFacts | None = None
        """What the server said of the consumer the last time."""
        self._stream_created = ""
        self._done: tuple[str, int] | None = None
        self._cautions: set[str] = set()
        self._pulling: PullConsumer | None = None
        self._lost: Deferred[str] | None = None
        self._told_refusal: str | None = None

    @property
    def not_ready(self) -> str | None:
        if self._pulling is None:
            return self._said or f"consumer {self._wanted.consumer} of stream {self._wanted.stream} is not bound yet"
        return self._in_hand.refusal

    @property
    def is_idle(self) -> bool:
        """Whether no message is in hand."""
        return self._in_hand.is_empty

    @property
    def oldest_unacknowledged_s(self) -> float:
        """Since the oldest message was published that is here, or was given back; 0 without any."""
        return self._in_hand.oldest_s

    def stop(self) -> Deferred[None]:
        pulling = self._pulling
        self._cancel()
        return Deferred.fromCoroutine(self._stop(pulling))

    async def _stop(self, pulling: PullConsumer | None) -> None:
        if pulling is not None:
            try:
                await pulling.drain()
            except NatsError as e:
                self._log.warn(
                    "could not drain the pull: {reason}; its messages come again", reason=e, event="drain_failed"
                )
        if self._gate is not None:
            self._gate.stop()
        self._in_hand.stop()

    def _status_changed(self, old: Status, new: Status, reason: str) -> None:
        if new is Status.CONNECTED:  # what was on its way on the old connection comes again, later
            self._close_gate()

    def _close_gate(self) -> None:
        if self._gate is not None:
            self._gate.close(self._wanted.ack_wait_s if self.consumer is None else self.consumer.ack_wait_s)

    def hold(self, held: bool) -> None:
        self._is_held = held
        self._pull_more()

    def _room_changed(self) -> None:
        refusal = self._in_hand.refusal
        if refusal != self._told_refusal:
            self._told_refusal = refusal
            self._tell()
        self._pull_more()

    def _pull_more(self) -> None:
        if self._pulling is not None:
            self._pulling.pull()

    def _free(self) -> int:
        return 0 if self._is_held or not (self._gate is None or self._gate.allows_pull) else self._in_hand.free

    async def _run(self) -> None:
        """For ever: get hold of the consumer, take its messages until it is lost."""
        failures = 0
        while True:
            await self._client.when_ready()
            try:
                opened = await open_consumer(self._jetstream, self._wanted, done=self._done)
                assert opened.consumer is not None
                failures, self._said = 0, ""
                self._say_opened(opened)
                reason = await self._pull(opened.consumer)
                self._log.error(
                    "consumer {consumer} is lost: {reason}; the connector looks for the consumer again",
                    consumer=self._wanted.consumer, reason=reason, event="consumer_lost",
                )  # fmt: skip
            except (CancelledError, ClientClosed):
                raise
            except (NatsError, NotUsable) as e:
                failures += 1
                self._say_not_ready(str(e))
            except Exception as e:
                failures += 1
                self._said = str(e)
                self._log.failure(
                    "a defect while taking messages from JetStream; the connector tries again", event="defect"
                )
            await deferLater(self._clock, doubled_s(*_RETRY_S, failures))

    async def _pull(self, consumer: ConsumerFacts) -> str:
        self.consumer = consumer
        self._in_hand.most_deliveries = consumer.max_deliver
        lost: Deferred[str] = Deferred()
        self._lost = lost
        if consumer.outstanding:
            self._close_gate()
        self._pulling = PullConsumer(
            self._clock,
            self._jetstream,
            self._wanted.stream,
            self._wanted.consumer,
            room=self._free,
            deliver=self._received,
            lost=lost.callback,
            group=consumer.group if self._gate is not None else None,
            pinned=self._close_gate,
        )
        look: LoopingCall | None = None
        try:
            self._pulling.start()
            # Three times within the ack wait, so that one that is lost or late does no harm.
            self._in_hand.keep_alive(consumer.ack_wait_s / 3)
            look = LoopingCall(self._look_at_consumer)
            look.clock = self._clock
            look.start(_LOOK_S if self._gate is None else _LOOK_ORDERED_S).addErrback(
                lambda f: self._log.failure("a defect while looking at the consumer", f, event="defect")
            )
            self._tell()
            return await lost
        finally:
            self._pulling = self._lost = None
            if look is not None and look.running:
                look.stop()
            self._tell()

    def _look_at_consumer(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._note_progress())

    async def _note_progress(self) -> None:
        """Remember how far the consumer is: if it is removed it is made again from there."""
        if not self._client.ready:
            return
        wanted, lost = self._wanted, self._lost
        before = frozenset(self._in_hand.unsettled) if self._gate is not None else ()
        try:
            facts = consumer_facts(wanted.consumer, await self._jetstream.consumer(wanted.stream, wanted.consumer))
        except JetStreamError as e:
            # Without a free slot there is no pull, at which this would show.
            if e.err_code in (NO_CONSUMER, NO_STREAM) and lost is not None and lost is self._lost:
                self._lose(lost, str(e))
            return
        except (NatsError, NotUsable):
            return
        self.consumer = facts
        self._done = (self._stream_created, facts.floor)
        self._in_hand.past.forget_up_to(facts.floor)
        if self._gate is not None:
            self._gate.looked(facts.outstanding, before, self._in_hand.unsettled)
            self._pull_more()

    def _lose(self, lost: Deferred[str], reason: str) -> None:
        if self._pulling is not None:
            self._pulling.stop()
        if not lost.called:
            lost.callback(reason)

    def _say_opened(self, opened: Opened) -> None:
        if opened.stream.created != self._stream_created:
            self._stream_created, self._done = opened.stream.created, None
            self._in_hand.past.forget_given_back()
        if opened.made_from is not None and opened.consumer is not None:
            self._log.warn(
                "made consumer {consumer} of stream {stream}, from message {sequence}: {pending} messages wait",
                consumer=self._wanted.consumer, stream=self._wanted.stream, sequence=opened.made_from,
                pending=opened.consumer.pending, event="consumer_made",
            )  # fmt: skip
        found = stream_cautions(opened.stream, self._wanted.subjects) if self._tells_of_stream else []
        if opened.consumer is not None:
            found += consumer_cautions(opened.consumer, self._room.messages, self._wanted.ordered)
        for caution in found:
            if caution not in self._cautions:
                self._log.warn("{text}", text=caution, event="caution")
        self._cautions = set(found)

    def _received(self, msg: Msg, where: Position) -> None:
        delivery = self._in_hand.take(msg, where)
        if delivery is not None:
            (self._hand_on if self._gate is None else self._gate.take)(delivery)

    def _hand_on(self, delivery: JetStreamDelivery) -> None:
        assert self._deliver is not None
        self._deliver(delivery)
