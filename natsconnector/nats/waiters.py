"""Deferreds that wait for one thing, as many as are asked for."""

from __future__ import annotations

from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class Waiters(Generic[T]):
    """Hands out Deferreds and fires all of them together; a cancelled one is forgotten."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[T]] = []

    def wait(self) -> Deferred[T]:
        """A Deferred of the next ``fire`` or ``fail``."""
        waiter: Deferred[T] = Deferred(self._forget)
        self._waiting.append(waiter)
        return waiter

    def _forget(self, waiter: Deferred[T]) -> None:
        # While the waiters are being fired the list is empty already.
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def fire(self, outcome: T) -> None:
        """Fire all Deferreds that wait now with the outcome."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            # A waiter's callback may cancel another one.
            if not waiter.called:
                waiter.callback(outcome)

    def fail(self, error: Exception) -> None:
        """Fail all Deferreds that wait now with the error."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.errback(error)
