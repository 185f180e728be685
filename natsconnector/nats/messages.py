"""A subscription as something to loop over."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from natsconnector.nats.subscription import Subscription
from natsconnector.nats.wire.events import Msg


class Messages:
    """
    The messages of one subscription in their order, for one ``async for``. Made by ``NatsClient.messages``.

    The loop ends when the subscription does, after the messages that wait. A drain waits until the loop has worked off
    what there is. A loop that is left early leaves the subscription open: use ``async with``, or ``unsubscribe()``.

    :param most: so many messages may wait, and so many bytes; what comes beyond is dropped.
    :ivar subscription: where they come from.
    :ivar dropped: how many found no room.
    """

    _log = Logger()

    subscription: Subscription

    def __init__(self, most: int, most_bytes: int) -> None:
        self.dropped = 0
        self._has_ended = False
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: deque[tuple[Msg, Deferred[None]]] = deque()
        self._bytes = 0
        self._wake: Deferred[None] | None = None
        self._in_hand: Deferred[None] | None = None
        self._is_full = False

    def follow(self, subscription: Subscription) -> None:
        """Take the messages of this subscription, which has :meth:`received` for its callback."""
        self.subscription = subscription
        subscription.when_ended().addCallback(self._ended)

    def unsubscribe(self) -> None:
        """End the subscription; what waits is dropped, and the loop ends."""
        self.subscription.unsubscribe()
        while self._waiting:
            self._waiting.popleft()[1].callback(None)
        self._bytes = 0
        self._finish()

    def received(self, msg: Msg) -> Deferred[None] | None:
        """The subscription's callback. What it returns fires when the loop has worked off the message."""
        size = len(msg.payload) + len(msg.header_block)
        if len(self._waiting) >= self._most or (self._waiting and self._bytes + size > self._most_bytes):
            self.dropped += 1
            if not self._is_full:
                self._is_full = True
                self._log.warn(
                    "messages on {subject} come faster than they are taken: {pending} wait, further ones are dropped",
                    subject=self.subscription.subject, pending=len(self._waiting), event="messages_dropped",
                )  # fmt: skip
            return None
        done: Deferred[None] = Deferred()
        self._waiting.append((msg, done))
        self._bytes += size
        self._look()
        return done

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Msg:
        self._finish()
        if not self._waiting:
            self._is_full = False
            if not self._has_ended:
                self._wake = Deferred()
                await self._wake
            if not self._waiting:
                raise StopAsyncIteration
        msg, self._in_hand = self._waiting.popleft()
        self._bytes -= len(msg.payload) + len(msg.header_block)
        return msg

    async def __aenter__(self) -> Messages:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.unsubscribe()

    def _ended(self, _: None) -> None:
        self._has_ended = True
        self._look()

    def _look(self) -> None:
        if self._wake is not None and not self._wake.called:
            self._wake.callback(None)

    def _finish(self) -> None:
        in_hand, self._in_hand = self._in_hand, None
        if in_hand is not None:
            in_hand.callback(None)
