"""Messages of core NATS subscriptions: each is delivered at most once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from natsconnector.httpheaders import Header
from natsconnector.interfaces import IDelivery, ISource
from natsconnector.nats import ClientClosed, Msg, NatsClient, NatsError, Subscription
from natsconnector.sources.replies import publish


@implementer(IDelivery)
class CoreDelivery:
    """A message of a core NATS subscription, answered at its reply subject."""

    __slots__ = ("_client", "_msg")

    durable = False
    attempt = 1
    most_attempts: int | None = None
    shared = False
    identity: str | None = None
    published_at_s: float | None = None

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
    def headers(self) -> Iterable[Header]:
        return self._msg.headers

    @property
    def header_error(self) -> str | None:
        return self._msg.header_error

    @property
    def wants_answer(self) -> bool:
        # A reply subject of JetStream takes acks: an answer there would be taken for one.
        return self._msg.reply is not None and not self._msg.reply.startswith("$JS.ACK.")

    def answer(self, payload: bytes, headers: list[Header]) -> None:
        if self._msg.reply is not None and self.wants_answer:
            publish(self._client, self._msg.reply, payload, headers)

    def park(self, parked: bool) -> None:
        pass

    def ack(self) -> None:
        pass

    def nak(self, delay_s: float) -> None:
        pass

    def term(self, reason: str) -> None:
        pass


@implementer(ISource)
class CoreSource:
    """
    Core NATS subscriptions in one queue group, so that each message reaches one of the connectors that share it.

    What is on its way when the connection breaks is lost: core NATS delivers at most once.
    """

    _log = Logger()

    def __init__(self, client: NatsClient, subjects: Sequence[str], queue_group: str) -> None:
        self._client = client
        self._subjects = tuple(subjects)
        self._queue_group = queue_group
        self._deliver: Callable[[IDelivery], None] | None = None
        self._subscriptions: dict[str, Subscription] = {}

    @property
    def description(self) -> str:
        return f"subjects {', '.join(self._subjects) or 'none yet'} in queue group {self._queue_group}"

    def take(self, deliver: Callable[[IDelivery], None]) -> None:
        self._deliver = deliver
        self.listen_on(self._subjects)

    def listen_on(self, subjects: Sequence[str]) -> None:
        """Listen on these subjects, and no longer on any other; what is on its way of those still comes."""
        self._subjects = tuple(subjects)
        if self._deliver is None:
            return
        for subject in subjects:
            if subject not in self._subscriptions:
                self._subscriptions[subject] = self._client.subscribe(subject, self._received, queue=self._queue_group)
        for subject in self._subscriptions.keys() - set(subjects):
            drained = Deferred.fromCoroutine(self._drain([self._subscriptions.pop(subject)]))
            drained.addErrback(lambda f: self._log.failure("ending a subscription met a defect", f))

    def _received(self, msg: Msg) -> None:
        if self._deliver is not None:
            self._deliver(CoreDelivery(self._client, msg))

    def when_ready(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._ready())

    async def _ready(self) -> None:
        while True:
            await self._client.when_ready()
            try:
                # The server has read the subscriptions when it answers.
                return await self._client.flush()
            except ClientClosed:
                raise
            except NatsError:
                continue

    def stop_taking(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._drain(list(self._subscriptions.values())))

    async def _drain(self, subscriptions: list[Subscription]) -> None:
        drains = [subscription.drain() for subscription in subscriptions]
        for subscription, drained in zip(subscriptions, drains, strict=True):
            try:
                await drained
            except NatsError as e:
                self._log.warn("could not drain {subject}: {reason}", subject=subscription.subject, reason=e)
