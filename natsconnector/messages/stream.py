"""Messages of a JetStream durable pull consumer: each is delivered until it is acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from zope.interface import implementer

from natsconnector.messages.consumer import Consumer, NotUsable, open_consumer
from natsconnector.messages.delivery import MessageDelivery
from natsconnector.model.seams import IDelivery, ISource
from natsconnector.nats import ClientClosed, Msg, NatsClient, NatsError
from natsconnector.nats.jetstream import ACK, IN_PROGRESS, JetStream, Position, PullConsumer, nak, position, term

REPLY_SUBJECT = "X-Reply-Subject"

_RETRY_S = (1.0, 30.0)
# How many times the slots may be held by messages that wait for others of their function.
_MOST_PARKED = 10
_MOST_PARKED_BYTES = 64 << 20


@implementer(IDelivery)
class JetStreamDelivery(MessageDelivery):
    """
    A message of a stream. The server has answered its publisher already, so the outcome goes to the subject that the
    message's header ``X-Reply-Subject`` names, if any.
    """

    durable = True
    shared = False

    def __init__(self, source: JetStreamSource, msg: Msg, where: Position) -> None:
        super().__init__(source.client, msg)
        self._source = source
        self._ack_subject = msg.reply or ""
        self.where = where
        self.attempt = where.delivered
        self.most_attempts = source.most_deliveries
        self.identity: str | None = f"{where.stream}-{where.stream_sequence}"
        self.published_at_s: float | None = where.timestamp_ns / 1e9

    @property
    def reply_subject(self) -> str | None:
        # Subjects that begin so are the server's own, with which a publisher could make us do what it may not.
        asked = self._msg.headers.get(REPLY_SUBJECT)
        return asked if asked and not asked.startswith("$") else None

    def park(self, parked: bool) -> None:
        self._source.park(self, parked)

    def ack(self) -> None:
        self._settle(ACK)

    def nak(self, delay_s: float) -> None:
        self._settle(nak(delay_s))

    def term(self, reason: str) -> None:
        self._settle(term(reason, self._source.server_version))

    def in_progress(self) -> None:
        """Tell the server that the message is still being worked on, so that it waits on."""
        self._source.acknowledge(self._ack_subject, IN_PROGRESS)

    def came_again(self, msg: Msg, where: Position) -> None:
        """The server has lost patience, or its memory: from now on it counts acknowledgements of this delivery."""
        self._ack_subject = msg.reply or ""
        self.attempt = where.delivered
        self.in_progress()

    def _settle(self, verb: bytes) -> None:
        self._source.acknowledge(self._ack_subject, verb)
        self._source.settled(self)


@implementer(ISource)
class JetStreamSource:
    """
    A durable pull consumer of a stream, shared by all connectors that name it.

    Only as many messages are pulled as may be in flight, so what waits, waits in the stream. The stream has to exist;
    the consumer is made when it is missing. As long as either cannot be used the source is not ready, says why once,
    and looks again.

    :param subjects: what of the stream is taken.
    :param room: how many messages may be unsettled at once.
    :param ack_wait_s: of the consumer, if it is made here.
    :param dead_letter: a subject that has to be in a stream, or None.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Any,
        client: NatsClient,
        jetstream: JetStream,
        stream: str,
        consumer: str,
        subjects: Sequence[str],
        *,
        room: int,
        ack_wait_s: float,
        dead_letter: str | None = None,
    ) -> None:
        self._clock = clock
        self.client = client
        self._jetstream = jetstream
        self._stream = stream
        self._consumer = consumer
        self._subjects = tuple(subjects)
        self._room = room
        self._ack_wait_s = ack_wait_s
        self._dead_letter = dead_letter
        self.most_deliveries: int | None = None
        self.description = f"subjects {', '.join(subjects)} of stream {stream}, consumer {consumer}"
        self._unsettled: dict[Hashable, JetStreamDelivery] = {}
        self._parked: set[JetStreamDelivery] = set()
        self._parked_bytes = 0
        self._pulling: PullConsumer | None = None
        self._deliver: Callable[[IDelivery], None] | None = None
        self._flow: Deferred[None] | None = None
        self._ready_waiters: list[Deferred[None]] = []
        self._keep_alive = LoopingCall(self._tell_progress)
        self._keep_alive.clock = clock
        self._said = ""

    def take(self, deliver: Callable[[IDelivery], None]) -> None:
        self._deliver = deliver
        self._flow = Deferred.fromCoroutine(self._run())
        self._flow.addErrback(lambda f: f.trap(CancelledError, ClientClosed) and None)
        self._flow.addErrback(lambda f: self._log.failure("taking messages from JetStream met a defect", f))

    def when_ready(self) -> Deferred[None]:
        waiter: Deferred[None] = Deferred(lambda d: self._ready_waiters.remove(d))
        self._ready_waiters.append(waiter)
        if self._pulling is not None:
            self._tell_ready()
        return waiter

    def stop_taking(self) -> Deferred[None]:
        pulling = self._pulling
        if self._flow is not None:
            self._flow.cancel()
        return Deferred.fromCoroutine(self._stop(pulling))

    async def _stop(self, pulling: PullConsumer | None) -> None:
        if pulling is not None:
            try:
                await pulling.drain()
            except NatsError as e:
                self._log.warn("could not drain the pull: {reason}; its messages come again", reason=e)
        self._keep_alive_while_needed()

    @property
    def server_version(self) -> str | None:
        """That of the server which has the stream, if it can be told."""
        return self._jetstream.server_version

    def acknowledge(self, ack_subject: str, verb: bytes) -> None:
        """Publish an acknowledgement; without a connection it goes out with the next one, where it counts as well."""
        try:
            self.client.publish(ack_subject, verb)
        except NatsError as e:
            self._log.warn("an acknowledgement is lost, its message comes again: {reason}", reason=e)

    def park(self, delivery: JetStreamDelivery, parked: bool) -> None:
        """A delivery that waits for its function makes room for others, as far as that is bounded."""
        if parked:
            self._parked.add(delivery)
            self._parked_bytes += len(delivery.payload)
            if self._pulling is not None:
                self._pulling.pull()
        elif delivery in self._parked:
            self._parked.remove(delivery)
            self._parked_bytes -= len(delivery.payload)

    def settled(self, delivery: JetStreamDelivery) -> None:
        """There is room for another one."""
        self._unsettled.pop(_name(delivery.where), None)
        self.park(delivery, False)
        if self._pulling is not None:
            self._pulling.pull()
        self._keep_alive_while_needed()

    async def _run(self) -> None:
        """For ever: get hold of the consumer, take its messages until it is lost."""
        failures = 0
        while True:
            await self.client.when_ready()
            try:
                consumer = await open_consumer(
                    self._jetstream, self._stream, self._consumer, self._subjects, self._ack_wait_s, self._dead_letter
                )
            except (NatsError, NotUsable) as e:
                failures += 1
                self._say_not_ready(str(e))
            else:
                failures, self._said = 0, ""
                reason = await self._pull(consumer)
                self._log.error("consumer {name} is lost: {reason}", name=self._consumer, reason=reason)
            # The exponent is bounded because a float is not.
            await deferLater(self._clock, min(_RETRY_S[0] * 2.0 ** min(failures, 64), _RETRY_S[1]))

    async def _pull(self, consumer: Consumer) -> str:
        for caution in consumer.cautions(self._room):
            self._log.warn("{text}", text=caution)
        self.most_deliveries = consumer.max_deliver
        lost: Deferred[str] = Deferred()
        self._pulling = PullConsumer(
            self._clock,
            self._jetstream,
            self._stream,
            self._consumer,
            room=self._free,
            deliver=self._received,
            lost=lost.callback,
        )
        self._pulling.start()
        if self._keep_alive.running:
            self._keep_alive.stop()
        # Three times within the ack wait, so that one that is lost or late does no harm.
        self._keep_alive.start(consumer.ack_wait_s / 3, now=False).addErrback(
            lambda f: self._log.failure("telling progress met a defect", f)
        )
        self._tell_ready()
        try:
            return await lost
        finally:
            self._pulling = None

    def _free(self) -> int:
        """How many messages may come now."""
        parked = 0 if self._parked_bytes > _MOST_PARKED_BYTES else min(len(self._parked), _MOST_PARKED * self._room)
        return self._room + parked - len(self._unsettled)

    def _received(self, msg: Msg) -> None:
        where = position(msg.reply)
        assert where is not None and self._deliver is not None
        known = self._unsettled.get(_name(where))
        if known is not None:
            known.came_again(msg, where)
            return
        delivery = self._unsettled[_name(where)] = JetStreamDelivery(self, msg, where)
        self._deliver(delivery)

    def _keep_alive_while_needed(self) -> None:
        if self._pulling is None and not self._unsettled and self._keep_alive.running:
            self._keep_alive.stop()

    def _tell_progress(self) -> None:
        if self.client.ready:
            for delivery in self._unsettled.values():
                delivery.in_progress()

    def _tell_ready(self) -> None:
        waiters, self._ready_waiters = self._ready_waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def _say_not_ready(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            self._log.error("not ready, trying again for ever: {reason}", reason=reason)


def _name(where: Position) -> Hashable:
    """What tells a message from all others, those of a stream that was removed and made again included."""
    return where.stream_sequence, where.timestamp_ns
