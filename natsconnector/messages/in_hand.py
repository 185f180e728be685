"""The messages of a stream that the connector has taken and not settled yet."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from natsconnector.messages.delivery import MessageDelivery
from natsconnector.messages.past import Name, Past
from natsconnector.messages.replies import Replies
from natsconnector.messages.room import Room
from natsconnector.model.retries import doubled_s
from natsconnector.model.seams import IDelivery
from natsconnector.nats import Msg, NatsClient, NatsError, PermissionsViolation
from natsconnector.nats.jetstream import ACK, ACK_PREFIX, IN_PROGRESS, Position, nak, term

REPLY_SUBJECT = "X-Reply-Subject"

_LEAST_KEEP_ALIVE_S = 0.1
_TELL_AGAIN_S = 600.0
_REFUSED_S = (1.0, 30.0)


class InHand:
    """
    The ledger of unsettled messages: which there are, how many more there is room for, and which acknowledgements go
    out. Messages that take long are kept alive by acknowledgements of progress.

    :param room: what messages may take up, maybe together with those of other consumers.
    :param has_room: called when there is room again.
    :param server_version: tells the version of the server that has the stream, as far as it is known.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        client: NatsClient,
        room: Room,
        has_room: Callable[[], object],
        server_version: Callable[[], str | None],
        replies: Replies,
    ) -> None:
        self.client = client
        self.replies = replies
        self._told_s = -_TELL_AGAIN_S
        self._room = room
        room.enter()
        self._has_room = has_room
        self._server_version = server_version
        self.unsettled: dict[Name, JetStreamDelivery] = {}
        self.past = Past()
        self._held_back: set[JetStreamDelivery] = set()
        self._keep_alive = LoopingCall(self._tell_progress)
        self._keep_alive.clock = clock
        self._is_stopping = False
        self._clock = clock
        self._refusals = 0
        self._told = 0  # how often the server has refused an acknowledgement
        self._is_asking = False
        self._pause: IDelayedCall | None = None
        self._unwatch = client.watch_refused_publishes(self._refused)
        self.refusal: str | None = None
        """Why acknowledgements do not reach the server, as far as it has told; None when they do."""
        self.most_deliveries: int | None = None
        """After how many deliveries the consumer gives a message up; None: never."""

    @property
    def free(self) -> int:
        """How many messages may come now."""
        if self.refusal is not None:
            # While acknowledgements are refused every message would be called again: taking one at a time shows whether
            # they still are.
            return 0 if self._pause is not None or self._is_asking or self.unsettled else 1
        return self._room.share(self._has_room)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in hand."""
        return not self.unsettled

    @property
    def oldest_s(self) -> float:
        """Since the oldest message was published that is in hand or was given back, in seconds; 0 without any."""
        oldest_ns = self.past.oldest_ns(self.unsettled)
        return 0.0 if oldest_ns is None else max(0.0, self._clock.seconds() - oldest_ns / 1e9)

    def take(self, msg: Msg, where: Position) -> JetStreamDelivery | None:
        """The delivery of a message that came; None when the message is being worked on, or has had its end here."""
        name = _name(where)
        known = self.unsettled.get(name)
        if known is not None:
            known.came_again(msg, where)
            return None
        done = self.past.came(name)
        if done is not None:
            self.acknowledge(msg.reply or "", done)
            return None
        delivery = self.unsettled[name] = JetStreamDelivery(self, msg, where)
        self._room.take(delivery.size_bytes)
        return delivery

    def hold_back(self, delivery: JetStreamDelivery, held_back: bool) -> None:
        """A delivery that is held back makes room for another one, as far as that is bounded."""
        if held_back:
            self._held_back.add(delivery)
            self._room.hold_back(delivery.size_bytes)
            self._has_room()
        elif delivery in self._held_back:
            self._held_back.remove(delivery)
            self._room.go_on(delivery.size_bytes)

    def acknowledge(self, ack_subject: str, verb: bytes) -> None:
        """Publish an acknowledgement; without a connection it goes out with the next one, where it counts as well."""
        try:
            self.client.publish(ack_subject, verb)
        except NatsError as e:
            self._log.warn("an acknowledgement is lost, its message comes again: {reason}", reason=e, event="ack_lost")
            return
        if self.refusal is not None and verb is not IN_PROGRESS:
            self._is_asking = True
            asked = self.client.flush()
            asked.addCallback(self._answered, self._told)
            asked.addErrback(self._not_answered)

    def tell_of_reply_subject(self, asked: str, subject: str) -> None:
        """Say that a reply goes nowhere, every ten minutes at the most: publishers write such headers."""
        if self._clock.seconds() - self._told_s >= _TELL_AGAIN_S:
            self._told_s = self._clock.seconds()
            self._log.warn(
                "a message on {subject} asks for its reply on {reply_subject}, which --reply-allow does not name, or"
                " where the connector itself listens: the message gets no reply",
                subject=subject, reply_subject=asked[:100], event="reply_not_allowed",
            )  # fmt: skip

    def settled(self, delivery: JetStreamDelivery, done: bytes | None = None) -> None:
        """
        A delivery is no longer in hand: there is room for another one.

        :param done: the acknowledgement that ended the message for good; None if the message is to come again.
        """
        name = _name(delivery.where)
        is_known = self.unsettled.pop(name, None) is not None
        if done is not None:
            self.past.done(name, done)
        else:
            self.past.given_back(name)
        self.hold_back(delivery, False)
        if is_known:
            self._room.give_back(delivery.size_bytes)
        self._has_room()
        self._stop_if_empty()

    def term(self, reason: str) -> bytes:
        """The acknowledgement that ends a message, with the reason where the server knows such."""
        return term(reason, self._server_version())

    def keep_alive(self, interval_s: float) -> None:
        """Tell the server from now on, at this interval, that what is in hand is being worked on."""
        if self._keep_alive.running:
            self._keep_alive.stop()
        self._keep_alive.start(max(interval_s, _LEAST_KEEP_ALIVE_S), now=False).addErrback(
            lambda f: self._log.failure("a defect while telling the server of progress", f, event="defect")
        )

    def stop(self) -> None:
        """Take no more. What is in hand is kept alive until it is settled."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._room.leave(self._has_room)
        self._unwatch()
        self._end_pause()
        self._stop_if_empty()

    def _refused(self, error: PermissionsViolation) -> None:
        """The server refuses a publish: if that is one of an acknowledgement, messages would come again and again."""
        if not error.subject.startswith(ACK_PREFIX) or self._is_stopping:
            return
        if self.refusal is None:
            self.refusal = (
                "the server refuses acknowledgements, so that messages would be called again and again: allow this user"
                " to publish to $JS.ACK.STREAM.CONSUMER.> and $JS.ACK.*.*.STREAM.CONSUMER.>"
            )
            self._log.error(self.refusal + ": {reason}", reason=error.message, event="acks_refused")
        self._told += 1
        if self._pause is None:  # one for all that were under way
            self._pause = self._clock.callLater(doubled_s(*_REFUSED_S, self._refusals), self._try_again)
            self._refusals += 1
        self._has_room()

    def _try_again(self) -> None:
        self._pause = None
        self._has_room()

    def _answered(self, _: None, told: int) -> None:
        """The server has answered a PING behind an acknowledgement: it has taken that if it has refused none since."""
        self._is_asking = False
        if self.refusal is None or self._told != told:
            return
        self._log.info("the server takes acknowledgements again", event="acks_taken")
        self.refusal, self._refusals = None, 0
        self._end_pause()
        self._has_room()

    def _not_answered(self, failure: Failure) -> None:
        failure.trap(NatsError)
        self._is_asking = False
        self._has_room()

    def _end_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _stop_if_empty(self) -> None:
        if self._is_stopping and not self.unsettled and self._keep_alive.running:
            self._keep_alive.stop()

    def _tell_progress(self) -> None:
        if self.client.ready:
            for delivery in self.unsettled.values():
                delivery.in_progress()


@implementer(IDelivery)
class JetStreamDelivery(MessageDelivery):
    """
    A message of a stream. The server has answered its publisher already, so the outcome goes to the subject that the
    message's header ``X-Reply-Subject`` names, else where the operator sends it, if anywhere.
    """

    __slots__ = ("_ack_subject", "_in_hand", "attempt", "where")

    durable = True
    comes_again = True

    def __init__(self, in_hand: InHand, msg: Msg, where: Position) -> None:
        replies, asked = in_hand.replies, msg.headers.get(REPLY_SUBJECT) if msg.header_block else None
        subject = replies.subject_of_header(asked) if asked else replies.subject_unasked(msg.subject)
        super().__init__(replies, msg, subject)
        if asked and self.reply_subject is None:
            in_hand.tell_of_reply_subject(asked, msg.subject)
        self._in_hand = in_hand
        self._ack_subject = msg.reply or ""
        self.where = where
        self.attempt = where.delivered

    @property
    def most_attempts(self) -> int | None:
        return self._in_hand.most_deliveries

    @property
    def identity(self) -> str | None:
        return f"{self.where.stream}-{self.where.stream_sequence}"

    @property
    def published_at_s(self) -> float | None:
        return self.where.timestamp_ns / 1e9

    def hold_back(self, held_back: bool) -> None:
        self._in_hand.hold_back(self, held_back)

    def ack(self) -> None:
        self._settle(ACK, ACK)

    def nak(self, delay_s: float) -> None:
        self._settle(nak(delay_s), None)

    def term(self, reason: str) -> None:
        self._settle(verb := self._in_hand.term(reason), verb)

    def in_progress(self) -> None:
        """Tell the server that the message is still being worked on, so that it waits on."""
        self._in_hand.acknowledge(self._ack_subject, IN_PROGRESS)

    def came_again(self, msg: Msg, where: Position) -> None:
        """
        The server delivered this message again while we work on it: the ack wait was over, or the server was restarted.
        From now on we acknowledge the new delivery.
        """
        self._ack_subject = msg.reply or ""
        self.attempt = where.delivered
        self.in_progress()

    def _settle(self, verb: bytes, done: bytes | None) -> None:
        self._in_hand.acknowledge(self._ack_subject, verb)
        self._in_hand.settled(self, done)


def _name(where: Position) -> Name:
    """What tells a message from all others, those of a stream that was removed and made again included."""
    return where.stream_sequence, where.timestamp_ns
