"""Messages come in: planned, and taken into the backlog as far as there is room."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from natsconnector.dispatch.adaptive import AdaptiveLimits
from natsconnector.dispatch.backlog import Backlog
from natsconnector.dispatch.fanout import AnswerRoom, FanOut
from natsconnector.dispatch.job import Arrival, Job, job_of
from natsconnector.journal.journal import Journal
from natsconnector.model.call import Refused
from natsconnector.model.outcome import Outcome, defective, failed, unfinished
from natsconnector.model.retries import doubled_s
from natsconnector.model.seams import IDelivery
from natsconnector.planning.planner import PlannedCall, Planner

# After which a durable message that found no room comes again.
_OVERLOAD_S = 1.0
_DEFECT_WAIT_S = (1.0, 120.0)


class Intake:
    """
    Turns messages into jobs.

    :param begin: makes the call of a job at once if it need not wait; tells whether it did.
    :param settle: ends a job that found no room.
    :param defect_attempts: after how many deliveries a durable message that meets a defect of ours has failed for good.
    """

    _log = Logger()

    def __init__(
        self,
        planner: Planner,
        backlog: Backlog[Job],
        limits: AdaptiveLimits,
        clock: IReactorTime,
        journal: Journal,
        begin: Callable[[Job], bool],
        settle: Callable[[Job, Outcome], None],
        *,
        defect_attempts: int,
    ) -> None:
        self._planner = planner
        self._backlog = backlog
        self._limits = limits
        self._clock = clock
        self._journal = journal
        self._begin = begin
        self._settle = settle
        self._defect_attempts = defect_attempts
        # Messages that came before it was known which functions they are for.
        self._unplanned: list[Arrival] = []
        self._answers = AnswerRoom(backlog.most_bytes)

    def take(self, delivery: IDelivery, received_at: float) -> Outcome | None:
        """Take the calls of a message into the backlog; returns why it gets none, if so."""
        # A stream source hands over only what there is room for, so we accept it always: refusing a message would use
        # up one of its deliveries.
        if not delivery.durable and not self._backlog.has_room_for(delivery.size_bytes):
            return self.overloaded()
        try:
            planned = self._planner.plan(delivery)
        except Refused as e:
            return failed(e.code, e.reason, not_executed=True, final=True)
        except Exception:
            self._log.failure(
                "a defect while planning the message on {subject}", subject=delivery.subject, event="defect"
            )
            return self.after_defect(delivery)
        if delivery.skipped_headers:
            self._journal.headers_skipped(delivery.subject, delivery.skipped_headers)
        if planned is None:
            return self._take_unplanned(Arrival(delivery, received_at))
        for part, each in zip(self._parts(delivery, planned), planned, strict=True):
            job = job_of(part, each, received_at, self._limits)
            if not self._begin(job):
                if delivery.durable or self._backlog.has_room(job):
                    self._backlog.add(job)
                else:
                    self._settle(job, self.overloaded())
        return None

    def way(self, delivery: IDelivery) -> str:
        """By which way a message asks for calls."""
        return self._planner.way(delivery.subject)

    def is_missing(self, job: Job, outcome: Outcome) -> bool:
        """Whether a call failed because its function is not deployed."""
        return outcome.not_deployed or (outcome.status == 404 and self._planner.is_missing(job.function))

    def take_unplanned(self) -> list[Arrival]:
        """Give back the messages that came before it was known which functions want them."""
        unplanned, self._unplanned = self._unplanned, []
        for each in unplanned:
            self._backlog.uncount_pending(each)
        return unplanned

    @property
    def oldest_s(self) -> float:
        """How long the message has waited that waits longest, for a slot or for a first list of functions."""
        now_s = self._clock.seconds()
        waiting = [job.queued_at for job in self._backlog.first_of_each()]
        waiting += [each.received_at for each in self._unplanned[:1]]
        return now_s - min(waiting, default=now_s)

    def after_defect(self, delivery: IDelivery) -> Outcome:
        """
        The outcome of a message that met a defect of ours. A durable message is not lost by the defect: the message
        stays in its stream, with a growing delay, and goes to the dead letters in the end.
        """
        defect = defective()
        most = min(self._defect_attempts, delivery.most_attempts or self._defect_attempts)
        if delivery.durable and delivery.attempt < most:
            delay_s = doubled_s(*_DEFECT_WAIT_S, delivery.attempt - 1)
            return unfinished(defect.failure or "", not_executed=False, retry_after_s=delay_s)
        return defect

    def _take_unplanned(self, unplanned: Arrival) -> Outcome | None:
        if not unplanned.delivery.durable and not self._backlog.may_wait(unplanned.size_bytes):
            return self.overloaded()
        self._unplanned.append(unplanned)
        self._backlog.count_pending(unplanned)
        return None

    def _parts(self, delivery: IDelivery, planned: list[PlannedCall]) -> list[IDelivery]:
        if len(planned) == 1:
            return [delivery]
        functions = [each.call.function for each in planned]
        not_sent = partial(self._journal.reply_lost, delivery.subject)
        fan_out = FanOut(delivery, functions, not_sent, self._answers)
        return [*fan_out.parts]

    def overloaded(self) -> Outcome:
        """The outcome of a message that finds no room."""
        backlog = self._backlog
        # Finding the oldest call and the busiest function takes a look at each function that waits, so it is done once
        # for an episode of overload.
        is_told = self._journal.is_overloaded
        oldest_s, busiest = (0.0, None) if is_told else (self.oldest_s, backlog.busiest)
        self._journal.shed(backlog.pending, backlog.pending_bytes, oldest_s, busiest)
        return unfinished("the connector is overloaded: its backlog is full", retry_after_s=_OVERLOAD_S)
