"""All subscriptions of a client: who gets which message, and which of them the server has taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from natsconnector.nats.backoff import Backoff
from natsconnector.nats.errors import PermissionsViolation, ServerError, SubscriptionEnded, SubscriptionRefused
from natsconnector.nats.outage import Outage
from natsconnector.nats.subscription import Subscription
from natsconnector.nats.wire import encode
from natsconnector.nats.wire.events import Msg, Publish

#: Pauses before a refused subscription is asked for again.
RETRY_S = (0.5, 30.0)

_TELL_AGAIN_S = 60.0


class _Attempt:
    """One ``SUB`` and the ``PING`` behind it."""

    __slots__ = ("refused", "subscription")

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.refused = False


class Subscriptions:
    """
    All subscriptions of a client, by sid. Sids are never used twice, not even on another connection.

    A ``PING`` follows each ``SUB``. Its ``PONG`` tells that the server has taken the subscription, unless it has said
    no before; and since the server works in order, a refusal that names no subject belongs to the oldest
    ``SUB`` whose ``PONG`` has not come.

    :param random: for the jitter of retries.
    :param send: takes a frame to the server, if there is one.
    :param ask: the same with a PING behind the frame; fires with its PONG. None if there is no connection.
    :param confirm: fires when the server has taken all that was sent.
    :param publish: as ``Session.publish``, for answers to messages.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        random: Random,
        send: Callable[[bytes], None],
        ask: Callable[[bytes], Deferred[None] | None],
        confirm: Callable[[], Deferred[None]],
        publish: Publish,
    ) -> None:
        self.send = send
        self.confirm = confirm
        self._publish = publish
        self._clock = clock
        self._ask_server = ask
        self._by_sid: dict[int, Subscription] = {}
        self._sids = count(1)
        self._attempts: deque[_Attempt] = deque()
        self._refused: dict[Subscription, Outage] = {}
        self._backoff = Backoff(*RETRY_S, random)
        self._again: IDelayedCall | None = None

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_sid.values())

    def add(self, subject: str, queue: str | None, callback: Callable[[Msg], object]) -> Subscription:
        """
        Subscribe.

        :raises BadSubject: before anything is sent.
        """
        sid = next(self._sids)
        encode.subscribe(subject, queue, sid)
        subscription = self._by_sid[sid] = Subscription(self, sid, subject, queue, callback)
        self._ask(subscription)
        return subscription

    def has(self, subscription: Subscription) -> bool:
        """Whether it is still there."""
        return subscription.sid in self._by_sid

    def remove(self, subscription: Subscription) -> None:
        """Forget it; messages that still come for it are dropped."""
        if self._by_sid.pop(subscription.sid, None) is not None:
            self._works(subscription)
            subscription.has_ended(SubscriptionEnded(subscription.subject))

    def clear(self) -> None:
        """Forget all subscriptions; everything that waits for them fails or ends."""
        subscriptions = list(self)
        self._by_sid.clear()
        self._refused.clear()
        self.pause()
        for subscription in subscriptions:
            subscription.give_up()

    def deliver(self, msg: Msg) -> None:
        """Give a message to its subscription."""
        subscription = self._by_sid.get(msg.sid)
        if subscription is not None:
            msg._publish = self._publish
            subscription.deliver(msg)

    def callback_failed(self, failure: Failure, subject: str) -> None:
        """Log what a callback has raised, or its Deferred failed with."""
        self._log.failure(
            "the callback of subscription {subject} has failed", failure=failure, subject=subject, event="defect"
        )

    # One connection after the other

    def began(self) -> None:
        """Ask a new server for all."""
        for subscription in list(self):
            self._ask(subscription)

    def ended(self) -> None:
        """The connection has ended."""
        self.pause()
        self._attempts.clear()
        for subscription in list(self):
            subscription.is_gone()

    def pause(self) -> None:
        """Do not ask again on this connection for what was refused."""
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def leave(self, but: Subscription | None) -> None:
        """End the messages of all, ``but`` of one, on this connection; the next one has them again."""
        self.pause()
        for each in self:
            if each is not but:
                self.send(encode.unsubscribe(each.sid))

    def refuse(self, error: ServerError) -> bool:
        """Note at its subscription that the server refuses it; False if the error is about none."""
        if isinstance(error, PermissionsViolation):
            subscription = self._named(error) if error.operation == "subscription" else None
        elif isinstance(error, SubscriptionRefused):
            subscription = self._oldest(lambda _: True)
        else:
            return False
        if subscription is None:
            return False
        if self.has(subscription):
            self._is_refused(subscription, error)
        return True

    # Inside

    def _ask(self, subscription: Subscription) -> None:
        frame = subscription.frame()
        if frame is None or (answered := self._ask_server(frame)) is None:
            return
        attempt = _Attempt(subscription)
        self._attempts.append(attempt)
        # An attempt that fails has ended with its connection, which the owner is told of.
        answered.addCallbacks(lambda _: self._answered(attempt), lambda _: None)

    def _answered(self, attempt: _Attempt) -> None:
        if not self._attempts or self._attempts[0] is not attempt:
            return
        self._attempts.popleft()
        subscription = attempt.subscription
        if attempt.refused or not self.has(subscription):
            return
        outage = self._works(subscription)
        if outage is not None:
            self._log.info(
                "the NATS server takes the subscription to {subject} again, after {away_s:.1f} s",
                subject=subscription.subject,
                away_s=outage.lasted_s(self._clock.seconds()),
                event="subscription_taken",
            )
        subscription.is_taken()

    def _works(self, subscription: Subscription) -> Outage | None:
        outage = self._refused.pop(subscription, None)
        if not self._refused:
            self.pause()
            self._backoff.reset()
        return outage

    def _named(self, error: PermissionsViolation) -> Subscription | None:
        """The subscription that a refusal names: by its sid when the server takes a right back."""
        if error.sid is not None:
            # The server may have taken a SUB just before: its PONG must not confirm the subscription.
            for attempt in self._attempts:
                attempt.refused = attempt.refused or attempt.subscription.sid == error.sid
            return self._by_sid.get(error.sid)

        def fits(each: Subscription) -> bool:
            return (each.subject, each.queue) == (error.subject, error.queue)

        return self._oldest(fits) or next((each for each in self if each.confirmed and fits(each)), None)

    def _oldest(self, fits: Callable[[Subscription], bool]) -> Subscription | None:
        """The subscription asked for first of those without an answer, which is refused by this."""
        for attempt in self._attempts:
            if not attempt.refused and fits(attempt.subscription):
                attempt.refused = True
                return attempt.subscription
        return None

    def _is_refused(self, subscription: Subscription, error: ServerError) -> None:
        if not subscription.is_asked_for_again:
            subscription.is_refused(error)
            return
        now_s = self._clock.seconds()
        outage = self._refused.setdefault(subscription, Outage(now_s, _TELL_AGAIN_S))
        if outage.is_news(error.message, now_s):
            self._log.error(
                "the NATS server refuses the subscription to {subject}: {reason}; the client asks again for ever",
                subject=subscription.subject,
                reason=error.message,
                event="subscription_refused",
            )
        if self._again is None:
            self._again = self._clock.callLater(self._backoff.next_s(), self._ask_again)
        subscription.is_refused(error)

    def _ask_again(self) -> None:
        self._again = None
        for subscription in list(self._refused):
            self._ask(subscription)
