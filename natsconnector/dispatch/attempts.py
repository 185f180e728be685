"""Further attempts: whether there is one, when, and what waits for it in memory."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from natsconnector.dispatch.backlog import Backlog
from natsconnector.dispatch.intake import Intake
from natsconnector.dispatch.job import Job, is_last
from natsconnector.dispatch.missing import Missing
from natsconnector.model.outcome import Outcome
from natsconnector.model.seams import IDelivery


class Attempts:
    """
    Decides about the next attempt of a call, and keeps those that are made in memory until their time.

    :param missing_grace_s: how long a durable message waits for a function, or topic, that is not there.
    :param random: gives numbers from 0 to 1.
    :param again: called with a call whose next attempt is due.
    """

    def __init__(
        self,
        clock: IReactorTime,
        backlog: Backlog[Job],
        intake: Intake,
        missing_grace_s: float,
        random: Callable[[], float],
        again: Callable[[Job], None],
    ) -> None:
        self._clock = clock
        self._backlog = backlog
        self._intake = intake
        self._missing = Missing(missing_grace_s)
        self._random = random
        self._again = again
        self._waiting: dict[Job, IDelayedCall] = {}

    def may_wait(self, job: Job) -> bool:
        """Whether there is room for a call that waits for its next attempt."""
        return job.delivery.durable or self._backlog.may_wait(job.size_bytes)

    def delay_s(self, job: Job, outcome: Outcome) -> float | None:
        """How long to wait for the next attempt; None when there is none."""
        if outcome.ok:
            self._missing.found(job.function)
            return None
        if not self._intake.is_missing(job, outcome):
            self._missing.found(job.function)
        elif job.delivery.comes_again and not is_last(job.delivery, job.attempt):
            return self._missing.delay_s(job.function, job.attempt, self._clock.seconds())
        if not self.may_wait(job) or is_last(job.delivery, job.attempt):
            return None
        return job.planned.terms.retries.delay_s(outcome, job.attempt, self._random)

    def topic_delay_s(self, delivery: IDelivery) -> float | None:
        """How long a message is to wait whose topic no function wants; None when it is not to."""
        if not delivery.comes_again or is_last(delivery, delivery.attempt):
            return None
        return self._missing.delay_s(f"topic {delivery.subject}", delivery.attempt, self._clock.seconds())

    def wait(self, job: Job, delay_s: float) -> None:
        """Have a call made again after a while; until then it counts as pending."""
        self._backlog.count_pending(job)
        self._waiting[job] = self._clock.callLater(delay_s, self._due, job)

    def take_out(self) -> list[Job]:
        """Give back all that wait."""
        waiting, self._waiting = self._waiting, {}
        for job, timer in waiting.items():
            timer.cancel()
            self._backlog.uncount_pending(job)
        return [*waiting]

    def _due(self, job: Job) -> None:
        del self._waiting[job]
        self._backlog.uncount_pending(job)
        self._again(job)
