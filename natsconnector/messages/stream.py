"""Messages of a JetStream durable pull consumer: each is delivered until it is acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from natsconnector.messages.consumer import Consumer, NotUsable, open_consumer
from natsconnector.messages.in_hand import InHand
from natsconnector.model.seams import IDelivery, ISource
from natsconnector.nats import ClientClosed, Msg, NatsClient, NatsError
from natsconnector.nats.jetstream import JetStream, PullConsumer, position

_RETRY_S = (1.0, 30.0)


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
        self._client = client
        self._jetstream = jetstream
        self._stream = stream
        self._consumer = consumer
        self._subjects = tuple(subjects)
        self._room = room
        self._in_hand = InHand(clock, client, room, self._pull_more, lambda: jetstream.server_version)
        self._is_held = False
        self._ack_wait_s = ack_wait_s
        self._dead_letter = dead_letter
        self.description = f"subjects {', '.join(subjects)} of stream {stream}, consumer {consumer}"
        self._pulling: PullConsumer | None = None
        self._deliver: Callable[[IDelivery], None] | None = None
        self._flow: Deferred[None] | None = None
        self._ready_waiters: list[Deferred[None]] = []
        self._said = ""

    def start(self, deliver: Callable[[IDelivery], None]) -> None:
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

    def stop(self) -> Deferred[None]:
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
        self._in_hand.stop()

    def hold(self, held: bool) -> None:
        self._is_held = held
        self._pull_more()

    def _pull_more(self) -> None:
        if self._pulling is not None:
            self._pulling.pull()

    def _free(self) -> int:
        return 0 if self._is_held else self._in_hand.free

    async def _run(self) -> None:
        """For ever: get hold of the consumer, take its messages until it is lost."""
        failures = 0
        while True:
            await self._client.when_ready()
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
        self._in_hand.most_deliveries = consumer.max_deliver
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
        # Three times within the ack wait, so that one that is lost or late does no harm.
        self._in_hand.keep_alive(consumer.ack_wait_s / 3)
        self._tell_ready()
        try:
            return await lost
        finally:
            self._pulling = None

    def _received(self, msg: Msg) -> None:
        where = position(msg.reply)
        assert where is not None and self._deliver is not None
        delivery = self._in_hand.take(msg, where)
        if delivery is not None:
            self._deliver(delivery)

    def _tell_ready(self) -> None:
        waiters, self._ready_waiters = self._ready_waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def _say_not_ready(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            self._log.error("not ready, trying again for ever: {reason}", reason=reason)
