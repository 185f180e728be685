"""Messages in, calls out: limits, attempts, and exactly one settlement for every message."""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from natsconnector.dispatch.adaptive import AdaptiveLimits
from natsconnector.dispatch.attempts import Attempts
from natsconnector.dispatch.backlog import Backlog
from natsconnector.dispatch.gateway_watch import GatewayWatch
from natsconnector.dispatch.intake import Intake
from natsconnector.dispatch.job import Job
from natsconnector.dispatch.order import Order
from natsconnector.dispatch.requesters import Requesters
from natsconnector.dispatch.settlement import Settlement, Stores
from natsconnector.journal.journal import Journal
from natsconnector.model.ending import Ending
from natsconnector.model.limits import AUTO, Limits
from natsconnector.model.outcome import Outcome, unfinished
from natsconnector.model.retries import RetryPolicy
from natsconnector.model.seams import IDelivery, IGateway
from natsconnector.planning.planner import NO_FUNCTION, Planner

_STOPPING = "the connector is stopping"


class Dispatcher:
    """
    Calls what messages ask for, and has them settled.

    A call is *in flight* while the gateway has it. Before that, and between two attempts, it is *pending*. Reading
    never pauses, so what is pending is bounded, and what exceeds it is answered 503. While the gateway is away calls
    wait without using up attempts; a requester on core NATS waits only as long as its call's retries would take.

    :param retries: of calls whose function says nothing else, and of messages that are no call.
    :param max_wait_s: a core message that has waited longer for a slot is answered 503 instead of called.
    :param missing_grace_s: how long a durable message waits for a function, or topic, that is not there.
    :param ordered_by: a header or ``subject``: messages with the same one are called one after the other.
    :param random: gives numbers from 0 to 1, for the jitter of retries.
    """

    _log = Logger()

    def __init__(
        self,
        gateway: IGateway,
        clock: IReactorTime,
        journal: Journal,
        planner: Planner,
        settlement: Settlement,
        *,
        limits: Limits,
        retries: RetryPolicy,
        max_wait_s: float | None = None,
        missing_grace_s: float = 300.0,
        ordered_by: str | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._journal = journal
        self._settlement = settlement
        self._max_wait_s = max_wait_s
        self._backlog: Backlog[Job] = Backlog(limits)
        self._limits = AdaptiveLimits(limits.inflight)
        self._intake = Intake(
            planner,
            self._backlog,
            self._limits,
            clock,
            journal,
            self._begin,
            self._settle,
            defect_attempts=retries.attempts,
        )
        self._attempts = Attempts(clock, self._backlog, self._intake, missing_grace_s, random, self._next_attempt)
        self._order = None if ordered_by is None else Order(ordered_by, clock, self._backlog, self._admit, self._refuse)
        self._hold: Callable[[bool], object] = lambda held: None
        self.watch = GatewayWatch(clock, journal, gateway.probe, self._gateway_changed, random)
        self._requesters = Requesters(clock, self._backlog, self.watch, self._settle, self._tell_if_idle)
        self._calls: dict[Job, Deferred[None]] = {}
        self._is_filling = False
        self._is_stopping = False
        self._stores = Stores(self._tell_if_idle)
        self._idle_waiters: list[Deferred[None]] = []

    @property
    def inflight(self) -> int:
        """Calls the gateway has."""
        return self._backlog.inflight

    @property
    def inflight_by_function(self) -> Mapping[str, int]:
        """Of these, those of each function that has any."""
        return self._backlog.inflight_by_function

    @property
    def inflight_limits(self) -> Mapping[str, int]:
        """How many calls of a function may be in flight, of each whose limit finds itself and has done so."""
        return dict(self._limits)

    @property
    def pending(self) -> int:
        """Calls that wait, and messages for which it is not known yet which functions want them."""
        return self._backlog.pending

    @property
    def pending_bytes(self) -> int:
        """Of what is pending."""
        return self._backlog.pending_bytes

    @property
    def oldest_s(self) -> float:
        """How long the message has waited that waits longest, for a slot or for a first list of functions."""
        oldest_s = self._intake.oldest_s
        return oldest_s if self._order is None else max(oldest_s, self._order.oldest_s)

    def on_hold(self, hold: Callable[[bool], object]) -> None:
        """Have ``hold`` called with True when the gateway goes away, and with False when calls may be made again."""
        self._hold = hold

    def dispatch(self, delivery: IDelivery) -> None:
        """Take a message on. It is settled sooner or later, whatever happens."""
        self._journal.received(delivery, self._intake.way(delivery))
        if self._order is None:
            self._admit(delivery, self._clock.seconds())
        else:
            self._order.take(delivery, self._clock.seconds())

    def functions_are_known(self) -> None:
        """Go on with the messages that came before it was known which functions want them."""
        for delivery, received_at in self._intake.take_unplanned():
            self._admit(delivery, received_at)

    def when_idle(self) -> Deferred[None]:
        """Fires when every message is settled. Cancelling it is harmless."""
        waiter: Deferred[None] = Deferred(lambda d: self._idle_waiters.remove(d))
        self._idle_waiters.append(waiter)
        self._tell_if_idle()
        return waiter

    def give_up(self) -> None:
        """Settle all that is left as 503, calls in flight included, and everything that still comes."""
        self._is_stopping = True
        self.watch.stop()
        self._requesters.stop()
        if self._order is not None:
            self._order.stop()
        self.functions_are_known()
        for job in [*self._backlog.take_out(lambda job: True), *self._attempts.take_out()]:
            self._settle(job, unfinished(_STOPPING))
        for call in list(self._calls.values()):
            call.cancel()
        self._stores.cancel()
        self._tell_if_idle()

    # In

    def _admit(self, delivery: IDelivery, received_at: float) -> None:
        outcome = unfinished(_STOPPING) if self._is_stopping else self._intake.take(delivery, received_at)
        if outcome is None:
            if self._backlog.pending:
                self._fill()
            return
        if outcome.status == NO_FUNCTION and not outcome.unfinished:
            # On the topic of a durable message there may be a function again in a moment.
            delay_s = self._attempts.topic_delay_s(delivery)
            if delay_s is not None:
                self._journal.nobody_wants(delivery.subject)
                outcome = unfinished(outcome.failure or "", retry_after_s=delay_s)
        self._refuse(delivery, received_at, outcome)
        self._tell_if_idle()

    def _refuse(self, delivery: IDelivery, received_at: float, outcome: Outcome | None = None) -> None:
        outcome = outcome or self._intake.overloaded()
        elapsed_s = self._clock.seconds() - received_at
        self._end(Ending(delivery, None, outcome, delivery.attempt - 1, elapsed_s))

    # Calls

    def _fill(self) -> None:
        """Make calls while slots are free."""
        if self._is_filling:  # an outcome that is there at once comes back here: the loop below goes on with it
            return
        self._is_filling = True
        try:
            while self.watch.allows_call and (job := self._backlog.next_job()) is not None:
                self._start(job)
        finally:
            self._is_filling = False
        if self._journal.is_overloaded and self._backlog.is_relieved:
            self._journal.relieved()
        self._tell_if_idle()

    def _begin(self, job: Job) -> bool:
        """Make a call at once, if no other one waits."""
        if self._is_filling or not self.watch.is_up or not self._backlog.begin(job):
            return False
        self._start(job)
        return True

    def _start(self, job: Job) -> None:
        now_s = self._clock.seconds()
        why_not = job.why_not(now_s, self._max_wait_s)
        if why_not is not None:
            self._backlog.end(job)
            self._settle(job, why_not)
            return
        job.attempt += 1
        job.begun_at = now_s
        self._journal.calls.begins(now_s - job.queued_at)
        self.watch.call_begins()
        self._journal.calling(job.planned.call)
        try:
            call = self._gateway.call(job.planned.call)
        except Exception:
            self._call_ended(Failure(), job)
            return
        ended: Deferred[None] = call.addBoth(self._call_ended, job)
        if not ended.called:
            self._calls[job] = ended

    def _call_ended(self, result: Outcome | Failure, job: Job) -> None:
        self._backlog.end(job)
        self._calls.pop(job, None)
        try:
            if isinstance(result, Failure):
                result.raiseException()
            else:
                now_s, queued = self._clock.seconds(), job.planned.call.asynchronous
                if job.planned.terms.max_inflight == AUTO:
                    self._adapt(job, result, now_s)
                self._journal.calls.ended(job.function, result, now_s - job.begun_at, now_s, queued=queued)
                self._ended(result, job)
        except Exception:
            self._log.failure("a defect with the message on {subject}", subject=job.delivery.subject, event="defect")
            if not job.is_over:
                self._settle(job, self._intake.after_defect(job.delivery))
        self._fill()

    def _ended(self, outcome: Outcome, job: Job) -> None:
        if self._is_stopping:
            self._settle(job, outcome)
        elif self.watch.call_ended(job.function, outcome) and outcome.not_executed and self._attempts.may_wait(job):
            job.attempt -= 1
            self._add_again(job)
        elif (delay_s := self._attempts.delay_s(job, outcome)) is None:
            self._settle(job, outcome)
        elif job.delivery.comes_again:
            self._settlement.try_later(job.delivery, job.planned.call, outcome, job.attempt, delay_s, job.function)
            job.is_over = True
        else:
            self._journal.retrying(job.delivery, job.planned.call, outcome, job.attempt, delay_s, job.function)
            self._attempts.wait(job, delay_s)

    def _adapt(self, job: Job, outcome: Outcome, now_s: float) -> None:
        """The limit of a function finds itself by what became of its calls."""
        inflight = self._backlog.inflight_by_function.get(job.function, 0) + 1  # its own slot is free already
        if self._limits.ended(job.function, outcome, job.begun_at, now_s, inflight):
            self._backlog.limit_changed(job.function)

    def _next_attempt(self, job: Job) -> None:
        self._add_again(job)
        self._fill()

    def _add_again(self, job: Job) -> None:
        job.queued_at = self._clock.seconds()
        self._backlog.add(job)

    # While the gateway is away

    def _gateway_changed(self) -> None:
        self._hold(not self.watch.allows_call)
        self._requesters.gateway_changed()
        self._fill()

    # Out

    def _settle(self, job: Job, outcome: Outcome) -> None:
        job.is_over = True
        elapsed_s = self._clock.seconds() - job.received_at
        self._end(Ending(job.delivery, job.planned.call, outcome, job.attempt, elapsed_s, job.function))

    def _end(self, ending: Ending) -> None:
        store = self._settlement.settle(ending)
        if store is not None:
            self._stores.add(store)

    def _tell_if_idle(self) -> None:
        if self._backlog.inflight or self.pending or self._stores:
            return
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            waiter.callback(None)
