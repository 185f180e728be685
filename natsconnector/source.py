"""Messages of core NATS subscriptions, as deliveries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from natsconnector.interfaces import AnswerNotSent, AnswerTooLarge, IDelivery, ISource
from natsconnector.nats import MaxPayloadExceeded, Msg, NatsClient, NatsError, Subscription


@implementer(IDelivery)
class CoreDelivery:
    """A message of a core NATS subscription: delivered at most once, answered at its reply subject."""

    __slots__ = ("_client", "_msg")

    def __init__(self, client: NatsClient, msg: Msg) -> None:
        self._client = client
        self._msg = msg

    @property
    def subject(self) -> str:
        return self._msg.subject

    @property
    def payload(self) -> bytes:
        return self._msg.payload

    @property
    def headers(self) -> Iterable[tuple[str, str]]:
        return self._msg.headers

    @property
    def header_error(self) -> str | None:
        return self._msg.header_error

    @property
    def wants_answer(self) -> bool:
        # A reply subject of JetStream takes acks: an answer there would be taken for one.
        return self._msg.reply is not None and not self._msg.reply.startswith("$JS.ACK.")

    def answer(self, payload: bytes, headers: list[tuple[str, str]]) -> None:
        if self.wants_answer:
            assert self._msg.reply is not None
            try:
                self._client.publish(self._msg.reply, payload, headers=headers)
            except MaxPayloadExceeded as e:
                raise AnswerTooLarge(f"the answer is larger than the NATS server takes: {e}") from e
            except NatsError as e:
                raise AnswerNotSent(str(e)) from e


@implementer(ISource)
class CoreSource:
    """
    Core NATS subscriptions in one queue group, so that each message reaches one of the connectors that share it.

    What is on its way when the connection breaks is lost: core NATS delivers at most once.
    """

    _log = Logger()

    def __init__(self, client: NatsClient, subjects: Sequence[str], queue_group: str) -> None:
        self._client = client
        self.subjects = tuple(subjects)
        self._queue_group = queue_group
        self._subscriptions: list[Subscription] = []

    def take(self, deliver: Callable[[IDelivery], None]) -> None:
        def received(msg: Msg) -> None:
            deliver(CoreDelivery(self._client, msg))

        self._subscriptions = [
            self._client.subscribe(subject, received, queue=self._queue_group) for subject in self.subjects
        ]

    def stop_taking(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        drains = [subscription.drain() for subscription in self._subscriptions]
        for subscription, drained in zip(self._subscriptions, drains, strict=True):
            try:
                await drained
            except NatsError as e:
                self._log.warn("could not drain {subject}: {reason}", subject=subscription.subject, reason=e)
