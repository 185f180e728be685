"""How a message ends: answered, acknowledged, left to a later delivery, or put to the dead letters."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from natsconnector.journal.journal import Journal
from natsconnector.model.dead_letter import letter_headers
from natsconnector.model.ending import Ending
from natsconnector.model.headers import Header
from natsconnector.model.outcome import TOO_LARGE, failed
from natsconnector.model.reply import answer
from natsconnector.model.seams import IDeadLetters, ReplyNotSent, ReplyTooLarge

# A dead letter is tried again while its message waits here; after that the message is left to a later delivery, so
# that it does not hold a place of those that could be worked on.
_BURY_AGAIN_S = (1.0, 2.0, 4.0, 8.0, 16.0)
_COME_AGAIN_S = 30.0
# Only somebody who allows larger messages can help there.
_COME_AGAIN_TOO_LARGE_S = 600.0


class Settlement:
    """
    Brings messages to their end.

    :param dead_letters: where those go that failed for good; None when there is no such place.
    """

    def __init__(self, clock: Any, journal: Journal, dead_letters: IDeadLetters | None = None) -> None:
        self._clock = clock
        self._journal = journal
        self._dead_letters = dead_letters
        self._place_fails = False

    def settle(self, ending: Ending) -> Deferred[None] | None:
        """
        End a message as its outcome says.

        :return: None when it has ended; otherwise what fires when it has. Cancelling that leaves a durable message to
            a later delivery.
        """
        if self._dead_letters is None or ending.outcome.ok or ending.outcome.unfinished:
            self._end(ending)
            return None
        return Deferred.fromCoroutine(self._bury_and_end(self._dead_letters, ending))

    def _end(self, ending: Ending, *, buried: bool = False) -> None:
        delivery, outcome = ending.delivery, ending.outcome
        if outcome.unfinished and delivery.durable:
            delivery.nak(outcome.retry_after_s or 0.0)
            self._journal.left(ending)
            return
        told = self._answer(ending)
        if outcome.ok:
            delivery.ack()
        elif outcome.unfinished:
            delivery.nak(0.0)
        else:
            delivery.term(outcome.error(ending.call) or "")
            if delivery.durable and not buried:
                self._journal.lost(ending)
                return
        self._journal.settled(told)

    def _answer(self, ending: Ending) -> Ending:
        """Tell whoever asked; returns the ending as it was told."""
        delivery, call = ending.delivery, ending.call
        if delivery.wants_answer:
            try:
                try:
                    delivery.answer(*answer(ending.outcome, call))
                except ReplyTooLarge as e:
                    ending = replace(ending, outcome=failed(TOO_LARGE, str(e), final=True))
                    delivery.answer(*answer(ending.outcome, call))
            except ReplyNotSent as e:
                self._journal.answer_lost(delivery.subject, str(e))
        return ending

    async def _bury_and_end(self, place: IDeadLetters, ending: Ending) -> None:
        durable = ending.delivery.durable
        try:
            come_again_s = await self._bury(place, ending)
        except CancelledError:
            come_again_s = 0.0
        except Exception:
            ending.delivery.nak(_COME_AGAIN_S)  # a defect of our own must not hold its place for ever
            raise
        if come_again_s is None or not durable:
            self._end(ending, buried=come_again_s is None)
        else:
            ending.delivery.nak(come_again_s)
            self._journal.left(ending)

    async def _bury(self, place: IDeadLetters, ending: Ending) -> float | None:
        """Put a message to the dead letters; None when it is there, otherwise how long to leave it in its stream."""
        delivery = ending.delivery
        headers = _letter_headers(ending, delivery.headers)
        waits = iter(_BURY_AGAIN_S if delivery.durable and not self._place_fails else ())
        while True:
            try:
                await place.publish(delivery.payload, headers)
                self._place_fails = False
                return None
            except ReplyTooLarge as e:
                without = _letter_headers(ending, ())
                if len(without) == len(headers):
                    self._journal.dead_letter_failed(ending, str(e))
                    return _COME_AGAIN_TOO_LARGE_S
                headers = without
            except ReplyNotSent as e:
                self._journal.dead_letter_failed(ending, str(e))
                wait_s = next(waits, None)
                if wait_s is None:
                    self._place_fails = True
                    return _COME_AGAIN_S
                await deferLater(self._clock, wait_s)


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
