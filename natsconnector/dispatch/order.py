"""Messages of one key are called one after the other, in the order of their coming."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from natsconnector.dispatch.backlog import Backlog
from natsconnector.dispatch.job import Arrival, Job
from natsconnector.model.seams import IDelivery
from natsconnector.model.wrapped import WrappedDelivery

SUBJECT = "subject"


def key_of(delivery: IDelivery, ordered_by: str) -> str | None:
    """
    What a message is ordered by; None when it is not.

    :param ordered_by: the name of a header, in any case, or ``subject``.
    """
    if ordered_by == SUBJECT:
        return delivery.subject
    wanted = ordered_by.lower()
    return next((value for name, value in delivery.headers if name.lower() == wanted), None) or None


class Order:
    """
    Hands on the messages of a key one by one, each when the one before it has ended; those of other keys go side by
    side. A message for another attempt stays here, also one of a stream: given back, it would be overtaken.

    What waits here is pending as what waits for a slot is. There are as many keys as messages at the most.

    :param admit: takes a message on; called with the time it came.
    :param shed: ends a message for which there is no room.
    """

    def __init__(
        self,
        ordered_by: str,
        clock: IReactorTime,
        backlog: Backlog[Job],
        admit: Callable[[IDelivery, float], None],
        shed: Callable[[IDelivery, float], None],
    ) -> None:
        self._ordered_by = ordered_by
        self._clock = clock
        self._backlog = backlog
        self._admit = admit
        self._shed = shed
        # Of each key that has a message under way those that wait for its end.
        self._keys: dict[str, deque[Arrival]] = {}
        self._free: list[str] = []
        self._next: IDelayedCall | None = None
        self._later: dict[Ordered, IDelayedCall] = {}
        self._is_stopping = False

    @property
    def oldest_s(self) -> float:
        """How long the message has waited that waits longest for another one of its key."""
        now_s = self._clock.seconds()
        return now_s - min((queue[0].received_at for queue in self._keys.values() if queue), default=now_s)

    def take(self, delivery: IDelivery, received_at: float) -> None:
        """Hand a message on, now or when it is its turn."""
        key = key_of(delivery, self._ordered_by)
        if key is None or self._is_stopping:
            self._admit(delivery, received_at)
            return
        queue = self._keys.get(key)
        if queue is None:
            self._keys[key] = deque()
            self._admit(Ordered(self, delivery, key), received_at)
        elif delivery.durable or self._backlog.may_wait(delivery.size_bytes):
            waiting = Arrival(delivery, received_at)
            self._backlog.count_pending(waiting)
            queue.append(waiting)
            delivery.hold_back(True)
        else:
            self._shed(delivery, received_at)

    def ended(self, key: str) -> None:
        """The message under way of a key has ended."""
        if self._is_stopping:
            return
        if not self._keys[key]:
            del self._keys[key]
            return
        self._free.append(key)
        if self._next is None:
            # Not at once: the end of a message must not depend on the beginning of another one.
            self._next = self._clock.callLater(0, self._go_on)

    def again(self, ordered: Ordered, delay_s: float) -> None:
        """Hand a message on again after a while."""
        self._backlog.count_pending(ordered)
        self._later[ordered] = self._clock.callLater(delay_s, self._is_due, ordered)

    @property
    def is_stopping(self) -> bool:
        return self._is_stopping

    def stop(self) -> None:
        """Hand on all that waits, whose end is all that is wanted now."""
        self._is_stopping = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        later, self._later = self._later, {}
        for ordered, timer in later.items():
            timer.cancel()
            self._backlog.uncount_pending(ordered)
            self._admit(ordered, self._clock.seconds())
        keys, self._keys = self._keys, {}
        for key, queue in keys.items():
            while queue:
                self._release(key, queue)

    def _go_on(self) -> None:
        self._next = None
        free, self._free = self._free, []
        for key in free:
            self._release(key, self._keys[key])

    def _release(self, key: str, queue: deque[Arrival]) -> None:
        waiting = queue.popleft()
        self._backlog.uncount_pending(waiting)
        waiting.delivery.hold_back(False)
        self._admit(Ordered(self, waiting.delivery, key), waiting.received_at)

    def _is_due(self, ordered: Ordered) -> None:
        del self._later[ordered]
        self._backlog.uncount_pending(ordered)
        self._admit(ordered, self._clock.seconds())


@implementer(IDelivery)
class Ordered(WrappedDelivery):
    """
    A message that others of its key wait for.

    :ivar attempt: deliveries, and how often it was handed on again here.
    """

    # What is to come again does so from here.
    most_attempts: int | None = None

    def __init__(self, order: Order, delivery: IDelivery, key: str) -> None:
        super().__init__(delivery)
        self._order = order
        self._key = key
        self._again = 0

    @property
    def attempt(self) -> int:  # type: ignore[override]  # nobody sets it
        return self._delivery.attempt + self._again

    def ack(self) -> None:
        self._delivery.ack()
        self._order.ended(self._key)

    def nak(self, delay_s: float) -> None:
        if self.durable and not self._order.is_stopping:
            self._again += 1
            self._order.again(self, delay_s)
        else:
            self._delivery.nak(delay_s)
            self._order.ended(self._key)

    def term(self, reason: str) -> None:
        self._delivery.term(reason)
        self._order.ended(self._key)
