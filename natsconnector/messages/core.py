"""Messages of core NATS subscriptions: each is delivered at most once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from natsconnector.messages.delivery import MessageDelivery
from natsconnector.messages.flow import Watched
from natsconnector.messages.replies import Replies
from natsconnector.model.seams import IDelivery, ISource
from natsconnector.nats import Msg, NatsClient, NatsError, Subscription
from natsconnector.nats.jetstream import ACK_PREFIX, JetStream


def shared_with_streams(subject: str, names: Sequence[str]) -> str:
    """What happens where streams listen on the subject of a core subscription, in one sentence."""
    return (
        f"stream {', '.join(names)} listens on {subject} too: requesters get its acknowledgement for an answer, and a"
        " connector that takes messages from the stream (--stream) would call every message a second time"
    )


async def streams_beside(client: NatsClient, subjects: Iterable[str]) -> list[str]:
    """What happens where streams listen on these subjects of core subscriptions, in a sentence for each."""
    jetstream = JetStream(client, timeout_s=2.0, must_be_allowed=False)
    found: list[str] = []
    for subject in subjects:
        try:
            names = await jetstream.stream_names(subject)
        except NatsError:  # without JetStream, or the right to ask, there is nothing to tell
            return found
        if names:
            found.append(shared_with_streams(subject, names))
    return found


@implementer(IDelivery)
class CoreDelivery(MessageDelivery):
    """A message of a core NATS subscription, answered at its reply subject."""

    __slots__ = ()

    durable = False
    attempt = 1
    most_attempts: int | None = None
    comes_again = False
    identity: str | None = None
    published_at_s: float | None = None

    def hold_back(self, held_back: bool) -> None:
        pass

    def ack(self) -> None:
        pass

    def nak(self, delay_s: float) -> None:
        pass

    def term(self, reason: str) -> None:
        pass


@implementer(ISource)
class CoreSource(Watched):
    """
    Core NATS subscriptions in one queue group, so that each message reaches one of the connectors that share it.

    What is on its way when the connection breaks is lost: core NATS delivers at most once.
    """

    _log = Logger()

    def __init__(
        self, client: NatsClient, subjects: Sequence[str], queue_group: str, replies: Replies | None = None
    ) -> None:
        super().__init__()
        self._client = client
        self._replies = replies or Replies(client)
        self._subjects = tuple(subjects)
        self._queue_group = queue_group
        self._deliver: Callable[[IDelivery], None] | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._stopped = False
        self._has_told_of_acks = False

    @property
    def description(self) -> str:
        return f"subjects {', '.join(self._subjects) or 'none yet'} in queue group {self._queue_group}"

    @property
    def endpoints(self) -> tuple[tuple[str, str], ...]:
        return tuple((subject, self._queue_group) for subject in self._subjects)

    def start(self, deliver: Callable[[IDelivery], None]) -> None:
        self._deliver = deliver
        self.listen_on(self._subjects)

    def listen_on(self, subjects: Sequence[str]) -> None:
        """Listen on these subjects, and no longer on any other; what is on its way of those still comes."""
        self._subjects = tuple(subjects)
        if self._deliver is None or self._stopped:
            return
        for subject in subjects:
            if subject not in self._subscriptions:
                subscription = self._client.subscribe(subject, self._received, queue=self._queue_group)
                subscription.watch(self._tell)
                self._subscriptions[subject] = subscription
        for subject in self._subscriptions.keys() - set(subjects):
            drained = Deferred.fromCoroutine(self._drain([self._subscriptions.pop(subject)]))
            drained.addErrback(lambda f: self._log.failure("a defect while ending a subscription", f, event="defect"))
        self._tell()

    def _received(self, msg: Msg) -> None:
        if msg.reply is not None and msg.reply.startswith(ACK_PREFIX) and not self._has_told_of_acks:
            self._has_told_of_acks = True
            self._log.warn(
                "messages on {subject} come from a push consumer, which sends each of them again until it is"
                " acknowledged, which a connector of core NATS does not do: take them with --stream {stream} instead",
                subject=msg.subject, stream=msg.reply.split(".")[2], event="push_consumer",
            )  # fmt: skip
        if self._deliver is not None:
            replies = self._replies
            asked = msg.reply
            subject = replies.subject_unasked(msg.subject) if asked is None else replies.reply_subject(asked)
            self._deliver(CoreDelivery(replies, msg, subject))

    @property
    def not_ready(self) -> str | None:
        for subject in self._subjects:
            subscription = self._subscriptions.get(subject)
            if subscription is None or not subscription.confirmed:
                refusal = subscription.error if subscription is not None else None
                return f"subject {subject}: {refusal or 'not subscribed yet'}"
        return None

    def hold(self, held: bool) -> None:
        pass  # what we do not read is lost: the backlog takes what it can

    def stop(self) -> Deferred[None]:
        self._stopped = True
        return Deferred.fromCoroutine(self._drain(list(self._subscriptions.values())))

    async def _drain(self, subscriptions: list[Subscription]) -> None:
        drains = [subscription.drain() for subscription in subscriptions]
        for subscription, drained in zip(subscriptions, drains, strict=True):
            try:
                await drained
            except NatsError as e:
                self._log.warn(
                    "could not drain {subject}: {reason}", subject=subscription.subject, reason=e, event="drain_failed"
                )
