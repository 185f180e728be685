"""Messages in, calls out: limits, retries, and exactly one settlement for every message."""

from __future__ import annotations

import random as _random
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from natsconnector.dispatch.backlog import Backlog, Limits
from natsconnector.dispatch.fanout import FanOut
from natsconnector.dispatch.settlement import Settlement
from natsconnector.journal.journal import Journal
from natsconnector.model.call import FunctionCall, Refused
from natsconnector.model.ending import Ending
from natsconnector.model.outcome import Outcome, failed, unfinished
from natsconnector.model.retries import RetryPolicy
from natsconnector.model.seams import IDelivery, IGateway
from natsconnector.planning.planner import PlannedCall, Planner

_STOPPING = "the connector is stopping"
# Deliveries that found the connector stopping count as attempts too, though they are none.
_SPARE_DELIVERIES = 10
# After which a durable message that found no room comes again.
_OVERLOAD_S = 1.0
_DEFECT = "the connector met a defect of its own"


@dataclass(slots=True, eq=False)
class _Job:
    """One call of a message, on its way to its end."""

    delivery: IDelivery
    received_at: float
    call: FunctionCall
    function: str
    max_inflight: int | None
    retries: RetryPolicy
    attempt: int
    queued_at: float
    settled: bool = False

    @property
    def size_bytes(self) -> int:
        return len(self.delivery.payload)

    def park(self, parked: bool) -> None:
        self.delivery.park(parked)


@dataclass(frozen=True, slots=True)
class _Unplanned:
    """A message that came before it was known which functions want it."""

    delivery: IDelivery
    received_at: float

    @property
    def size_bytes(self) -> int:
        return len(self.delivery.payload)


class Dispatcher:
    """
    Calls what messages ask for, and settles them.

    A call is *in flight* while the gateway has it. Before that, and between two attempts, it is *pending*. Reading
    never pauses, so what is pending is bounded, and what exceeds it is answered 503.

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
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._journal = journal
        self._planner = planner
        self._settlement = settlement
        self._limits = limits
        self._retries = retries
        self._random = random
        self._backlog: Backlog[_Job] = Backlog(limits)
        self._unplanned: list[_Unplanned] = []
        self._between_attempts: dict[_Job, IDelayedCall] = {}
        self._calls: dict[_Job, Deferred[Outcome]] = {}
        self._filling = False
        self._stopping = False
        self._burials: set[Deferred[None]] = set()
        self._idle_waiters: list[Deferred[None]] = []

    @property
    def inflight(self) -> int:
        """Calls the gateway has."""
        return self._backlog.inflight

    @property
    def pending(self) -> int:
        """Calls that wait, and messages for which it is not known yet which functions want them."""
        return self._backlog.pending

    def dispatch(self, delivery: IDelivery) -> None:
        """Take a message on. It is settled sooner or later, whatever happens."""
        self._journal.received += 1
        self._accept(delivery, self._clock.seconds())

    def functions_are_known(self) -> None:
        """Go on with the messages that came before it was known which functions want them."""
        unplanned, self._unplanned = self._unplanned, []
        for each in unplanned:
            self._backlog.take_back(each)
            self._accept(each.delivery, each.received_at)

    def when_idle(self) -> Deferred[None]:
        """Fires when every message is settled. Cancelling it is harmless."""
        waiter: Deferred[None] = Deferred(lambda d: self._idle_waiters.remove(d))
        self._idle_waiters.append(waiter)
        self._tell_if_idle()
        return waiter

    def give_up(self) -> None:
        """Settle all that is left as 503, calls in flight included, and everything that still comes."""
        self._stopping = True
        self.functions_are_known()
        for timer in self._between_attempts.values():
            timer.cancel()
        between, self._between_attempts = self._between_attempts, {}
        for job in between:
            self._backlog.take_back(job)
        for job in [*self._backlog.clear(), *between]:
            self._settle(job, unfinished(_STOPPING))
        for call in list(self._calls.values()):
            call.cancel()
        for burial in list(self._burials):
            burial.cancel()
        self._tell_if_idle()

    def _accept(self, delivery: IDelivery, received_at: float) -> None:
        can_plan = self._planner.is_ready_for(delivery)
        has_room = self._backlog.has_room_for if can_plan else self._backlog.may_wait
        if self._stopping:
            outcome = unfinished(_STOPPING)
        elif not has_room(len(delivery.payload)):
            outcome = self._overloaded()
        elif not can_plan:
            unplanned = _Unplanned(delivery, received_at)
            self._unplanned.append(unplanned)
            self._backlog.set_aside(unplanned)
            return
        else:
            try:
                jobs = self._jobs(delivery, self._planner.plan(delivery), received_at)
            except Refused as e:
                outcome = failed(e.code, e.reason, not_executed=True, final=True)
            except Exception:
                self._log.failure("a defect met the message on {subject}", subject=delivery.subject)
                outcome = failed(500, _DEFECT, final=True)
            else:
                for job in jobs:
                    # Of what is durable its source bounds how much comes; each that is left costs it a delivery.
                    if delivery.durable or self._backlog.has_room(job):
                        self._backlog.add(job)
                    else:
                        self._settle(job, self._overloaded())
                self._fill()
                return
        elapsed_s = self._clock.seconds() - received_at
        self._end(Ending(delivery, None, outcome, delivery.attempt - 1, elapsed_s))

    def _overloaded(self) -> Outcome:
        self._journal.shed(self.pending, self._backlog.pending_bytes)
        return unfinished("the connector is overloaded: its backlog is full", retry_after_s=_OVERLOAD_S)

    def _jobs(self, delivery: IDelivery, planned: list[PlannedCall], received_at: float) -> list[_Job]:
        parts = [delivery]
        if len(planned) > 1:
            fan_out = FanOut(
                delivery,
                [each.call.function for each in planned],
                lambda reason: self._journal.answer_lost(delivery.subject, reason),
            )
            parts = [*fan_out.parts]
        return [
            _Job(
                part,
                received_at,
                each.call,
                each.counted_as,
                each.options.max_inflight,
                each.options.retries(self._retries),
                part.attempt - 1,
                queued_at=received_at,
            )
            for part, each in zip(parts, planned, strict=True)
        ]

    def _fill(self) -> None:
        """Make calls while slots are free."""
        if self._filling:  # an outcome that is there at once comes back here: the loop below goes on with it
            return
        self._filling = True
        try:
            while (job := self._backlog.take()) is not None:
                self._start(job)
        finally:
            self._filling = False
        if self._backlog.is_relieved:
            self._journal.relieved()
        self._tell_if_idle()

    def _start(self, job: _Job) -> None:
        waited_s = self._clock.seconds() - job.queued_at
        if self._limits.max_wait_s is not None and waited_s > self._limits.max_wait_s and not job.delivery.durable:
            reason = f"the message waited {waited_s:.1f} s in the connector's backlog, longer than --max-wait"
            self._skip(job, unfinished(reason))
            return
        if job.attempt >= 2 * job.retries.attempts + _SPARE_DELIVERIES:
            reason = f"delivered {job.attempt} times without an end: it may be what ends the connector"
            self._skip(job, failed(500, reason, final=True))
            return
        job.attempt += 1
        self._backlog.begin(job)
        self._journal.calling(job.call)
        call = maybeDeferred(self._gateway.call, job.call)
        self._calls[job] = call
        call.addBoth(self._slot_is_free, job)
        call.addCallback(self._ended, job)
        call.addErrback(self._broke, job)
        call.addCallback(lambda _: self._fill())

    def _skip(self, job: _Job, outcome: Outcome) -> None:
        self._backlog.skip(job)
        self._settle(job, outcome)

    def _slot_is_free(self, result: Outcome | Failure, job: _Job) -> Outcome | Failure:
        self._backlog.end(job)
        del self._calls[job]
        return result

    def _ended(self, outcome: Outcome, job: _Job) -> None:
        delay_s = None if self._stopping else self._delay_s(job, outcome)
        if delay_s is None:
            self._settle(job, outcome)
            return
        self._journal.retrying(job.call, outcome, job.attempt, delay_s)
        if job.delivery.durable and not job.delivery.shared:
            # It waits where it survives us, and comes again as a message of its own.
            job.settled = True
            job.delivery.nak(delay_s)
        else:
            self._backlog.set_aside(job)
            self._between_attempts[job] = self._clock.callLater(delay_s, self._next_attempt, job)

    def _delay_s(self, job: _Job, outcome: Outcome) -> float | None:
        """How long to wait for the next attempt; None when there is none."""
        if not job.delivery.durable and not self._backlog.may_wait(job.size_bytes):
            return None
        limit = job.delivery.most_attempts
        if limit is not None and job.attempt >= limit and not job.delivery.shared:
            return None
        return job.retries.delay_s(outcome, job.attempt, self._random)

    def _next_attempt(self, job: _Job) -> None:
        del self._between_attempts[job]
        self._backlog.take_back(job)
        job.queued_at = self._clock.seconds()
        self._backlog.add(job)
        self._fill()

    def _broke(self, failure: Failure, job: _Job) -> None:
        """A defect of our own. Its message is answered all the same."""
        self._log.failure("a defect met the message on {subject}", failure, subject=job.delivery.subject)
        if not job.settled:
            self._settle(job, failed(500, _DEFECT, final=True))

    def _settle(self, job: _Job, outcome: Outcome) -> None:
        job.settled = True
        elapsed_s = self._clock.seconds() - job.received_at
        self._end(Ending(job.delivery, job.call, outcome, job.attempt, elapsed_s))

    def _end(self, ending: Ending) -> None:
        burial = self._settlement.settle(ending)
        if burial is not None:
            self._burials.add(burial)
            burial.addErrback(lambda f: self._log.failure("a defect met a dead letter", f))
            burial.addCallback(lambda _: self._burial_is_over(burial))

    def _burial_is_over(self, burial: Deferred[None]) -> None:
        self._burials.discard(burial)
        self._tell_if_idle()

    def _tell_if_idle(self) -> None:
        if self._backlog.inflight or self.pending or self._burials:
            return
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            waiter.callback(None)
