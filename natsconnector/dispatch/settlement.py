"""How a message ends: answered, acknowledged, left to a later delivery, or put to the dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from natsconnector.journal.journal import Journal
from natsconnector.model.call import FunctionCall
from natsconnector.model.dead_letter import letter_headers
from natsconnector.model.ending import Ending
from natsconnector.model.headers import Header
from natsconnector.model.outcome import TOO_LARGE, Outcome, defective, failed
from natsconnector.model.reply import reply_to
from natsconnector.model.seams import IDeadLetters, IDelivery, ReplyNotSent, ReplyTooLarge

# How often storing a dead letter is tried while its message stays unacknowledged here. Then the message goes back to
# its stream, so that it frees its slot.
_STORE_AGAIN_S = (1.0, 2.0, 4.0, 8.0, 16.0)
_LATER_S = 30.0
# Only somebody who allows larger messages can help there.
_LATER_TOO_LARGE_S = 600.0


class Settlement:
    """
    Brings messages to their end: the one room that acknowledges. What it does with a message:

    ========================  ==============================  ===========================================
    outcome                   core NATS                       durable
    ========================  ==============================  ===========================================
    success                   reply                           reply, ack
    another attempt           (tried again in memory)         nak with the delay
    not finished here         reply (503)                     nak
    failed for good           dead letter if any, reply       dead letter, then reply, term
    the same, not stored      reply                           nak with a delay
    a defect of our own       dead letter if any, reply       dead letter, then reply, term; without a place
                                                              for dead letters nak with a delay, for ever
    ========================  ==============================  ===========================================

    :param dead_letters: where messages go that failed for good; None when there is no such place.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, journal: Journal, dead_letters: IDeadLetters | None = None) -> None:
        self._clock = clock
        self._journal = journal
        self._dead_letters = dead_letters
        self._store_fails = False

    def settle(self, ending: Ending) -> Deferred[None] | None:
        """
        End a message as its outcome says.

        :return: None when the message has ended; otherwise a Deferred that fires when it has. Cancelling that leaves a
            durable message to a later delivery.
        """
        try:
            if self._dead_letters is None or ending.outcome.ok or ending.outcome.unfinished:
                self._end(ending)
                return None
        except Exception:
            self._rescue(ending)
            return None
        return Deferred.fromCoroutine(self._store_and_end(self._dead_letters, ending))

    def try_later(
        self, delivery: IDelivery, call: FunctionCall, outcome: Outcome, attempt: int, delay_s: float, full_name: str
    ) -> None:
        """Give a durable message back to its stream for another attempt: the stream outlives this process."""
        self._journal.retrying(delivery, call, outcome, attempt, delay_s, full_name)
        delivery.nak(delay_s)

    def _rescue(self, ending: Ending, *, is_answered: bool = False) -> None:
        """
        A defect of our own met the end of a message: a durable one is left to a later delivery.

        A message on core NATS does not come again, so that its requester is told.
        """
        delivery = ending.delivery
        self._log.failure("a defect while settling a message on {subject}", subject=delivery.subject, event="defect")
        if delivery.wants_answer and not delivery.durable and not is_answered:
            try:
                delivery.answer(reply_to(defective(), ending.call))
            except Exception:
                self._log.failure("a defect in the answer on {subject}", subject=delivery.subject, event="defect")
        delivery.nak(_LATER_S)

    def _end(self, ending: Ending, stored: str | None = None) -> None:
        delivery, outcome = ending.delivery, ending.outcome
        if delivery.durable and (outcome.unfinished or (outcome.defect and stored is None)):
            self._leave(ending, outcome.retry_after_s or (_LATER_S if outcome.defect else 0.0))
            return
        told = self._answer(ending)
        try:
            if outcome.ok:
                delivery.ack()
            elif outcome.unfinished:
                delivery.nak(0.0)
            else:
                delivery.term(outcome.error(ending.call) or "")
        except Exception:
            self._rescue(ending, is_answered=True)
            return
        self._note(ending, told, stored)

    def _note(self, ending: Ending, told: Ending, stored: str | None) -> None:
        """Tell the journal. The message has its end, which a defect there must not give it a second time."""
        try:
            if ending.delivery.durable and not ending.outcome.ok and stored is None:
                self._journal.lost(ending)
            else:
                self._journal.ended(told, stored)
        except Exception:
            self._log.failure(
                "a defect while noting the end of a message on {subject}",
                subject=ending.delivery.subject, event="defect",
            )  # fmt: skip

    def _leave(self, ending: Ending, delay_s: float) -> None:
        ending.delivery.nak(delay_s)
        self._journal.left(ending)

    def _answer(self, ending: Ending) -> Ending:
        """Tell whoever asked; returns the ending as it was told."""
        delivery, call = ending.delivery, ending.call
        answers_later = call is not None and call.answers_later and ending.outcome.ok
        if delivery.wants_answer and not answers_later:
            try:
                try:
                    delivery.answer(reply_to(ending.outcome, call))
                except ReplyTooLarge as e:
                    ending = replace(ending, outcome=failed(TOO_LARGE, str(e), final=True))
                    delivery.answer(reply_to(ending.outcome, call))
            except ReplyNotSent as e:
                self._journal.reply_lost(delivery.subject, e)
        return ending

    async def _store_and_end(self, place: IDeadLetters, ending: Ending) -> None:
        try:
            later_s = await self._store(place, ending)
            if later_s is None or not ending.delivery.durable:
                self._end(ending, place.description if later_s is None else None)
            else:
                self._leave(ending, later_s)
        except CancelledError:
            if ending.delivery.durable:
                self._leave(ending, 0.0)
            else:
                self._end(ending)
        except Exception:
            self._rescue(ending)

    async def _store(self, place: IDeadLetters, ending: Ending) -> float | None:
        """Store a dead letter; None when it is stored, otherwise how long to leave its message in the stream."""
        delivery = ending.delivery
        headers = _letter_headers(ending, delivery.headers)
        waits = iter(_STORE_AGAIN_S if delivery.durable and not self._store_fails else ())
        while True:
            try:
                await place.publish(delivery.payload, headers)
                self._store_fails = False
                self._journal.stored(ending)
                return None
            except ReplyTooLarge as e:
                without = _letter_headers(ending, ())
                if len(without) == len(headers):
                    self._journal.not_stored(ending, str(e))
                    return _LATER_TOO_LARGE_S
                headers = without
            except ReplyNotSent as e:
                self._journal.not_stored(ending, str(e))
                wait_s = next(waits, None)
                if wait_s is None:
                    self._store_fails = True
                    return _LATER_S
                await deferLater(self._clock, wait_s)


class Stores:
    """
    Dead letters that are being stored.

    :param over: called when one of them is no longer.
    """

    _log = Logger()

    def __init__(self, over: Callable[[], None]) -> None:
        self._over = over
        self._stores: set[Deferred[None]] = set()

    def __bool__(self) -> bool:
        return bool(self._stores)

    def add(self, store: Deferred[None]) -> None:
        """Follow one that :meth:`Settlement.settle` began."""
        self._stores.add(store)
        store.addErrback(lambda f: self._log.failure("a defect while storing a dead letter", f, event="defect"))
        store.addCallback(lambda _: self._ended(store))

    def cancel(self) -> None:
        """Store no more: messages of a stream are left to a later delivery."""
        for store in list(self._stores):
            store.cancel()

    def _ended(self, store: Deferred[None]) -> None:
        self._stores.discard(store)
        self._over()


def _letter_headers(ending: Ending, original: Iterable[Header]) -> list[Header]:
    delivery, now_s = ending.delivery, time.time()
    return letter_headers(
        original,
        subject=delivery.subject,
        function=ending.call.function if ending.call is not None else None,
        status=ending.outcome.status,
        reason=ending.outcome.error(ending.call) or "",
        attempts=ending.attempts,
        first_time_s=delivery.published_at_s or now_s - ending.elapsed_s,
        last_time_s=now_s,
        identity=delivery.identity,
    )
