"""Messages of a stream wait until older ones that are somewhere else have ended, or have come, too."""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.interfaces import IReactorTime

from natsconnector.messages.in_hand import JetStreamDelivery


class Gate:
    """
    Keeps the order of a stream where what was delivered before is not known: after a start, on a new connection, and
    when this connector takes over from another one. Older messages may be in hand of another connector, or lost with a
    connection; the server delivers the latter again, but after newer ones.

    So nothing is pulled for an ack wait, after which the server delivers what nobody works on before anything newer.
    What comes all the same waits, until nothing is unacknowledged but what is in hand here, and goes on by its sequence
    in the stream.

    :param deliver: takes the messages that need not wait.
    """

    def __init__(self, clock: IReactorTime, deliver: Callable[[JetStreamDelivery], object]) -> None:
        self._clock = clock
        self._deliver = deliver
        self._waiting: list[JetStreamDelivery] | None = None
        self._until_s = 0.0

    @property
    def allows_pull(self) -> bool:
        return self._waiting is None or self._clock.seconds() >= self._until_s

    def close(self, ack_wait_s: float) -> None:
        """Let wait what comes from now on."""
        self._until_s = self._clock.seconds() + ack_wait_s
        if self._waiting is None:
            self._waiting = []

    def take(self, delivery: JetStreamDelivery) -> None:
        """Hand a message on, now or later."""
        if self._waiting is None:
            self._deliver(delivery)
        else:
            self._waiting.append(delivery)
            delivery.hold_back(True)  # there has to be room for the older ones

    def looked(self, unacknowledged: int, before: Collection[object], now: Collection[object]) -> None:
        """
        The server has told how many messages are unacknowledged.

        :param before: what was in hand when it was asked.
        :param now: what is in hand now. What was there all the time is what the server surely counted.
        """
        if unacknowledged <= sum(name in now for name in before):
            for delivery in self._open():
                self._deliver(delivery)

    def stop(self) -> None:
        """Give back what waits."""
        for delivery in self._open():
            delivery.nak(0.0)

    def _open(self) -> list[JetStreamDelivery]:
        waiting, self._waiting = self._waiting or [], None
        for delivery in waiting:
            delivery.hold_back(False)
        return sorted(waiting, key=lambda each: each.where.stream_sequence)
