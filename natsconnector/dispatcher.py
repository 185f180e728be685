"""Messages in, calls out: limits, backlog, retries, and exactly one settlement for every message."""

from __future__ import annotations

import random as _random
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from natsconnector.calls import FunctionCall, Malformed, Refused, call_id, parse_envelope
from natsconnector.interfaces import AnswerNotSent, AnswerTooLarge, IDelivery, IGateway
from natsconnector.journal import Journal
from natsconnector.outcome import TOO_LARGE, Outcome, RetryPolicy, answer, failed, overloaded
from natsconnector.permissions import Permissions


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work is taken on."""

    inflight: int = 100
    """Calls at the gateway at once."""
    pending_messages: int = 65536
    pending_bytes: int = 64 << 20
    """Of payload, in the backlog."""
    max_wait_s: float | None = None
    """In the backlog; a message that waited longer is not called any more."""


@dataclass(slots=True, eq=False)
class _Job:
    """A message on its way to its settlement."""

    delivery: IDelivery
    received_at: float
    call: FunctionCall | None = None
    """None as long as, or because, the message is not understood."""
    attempt: int = 0
    queued_at: float = 0.0
    settled: bool = False


_STOPPING = "the connector is stopping"


class Dispatcher:
    """
    Calls what messages ask for, and settles them.

    A message is *in flight* while the gateway has its call. Before that, and between two attempts, it is *pending*:
    the backlog. Reading never pauses, so the backlog is bounded, and what exceeds it is answered 503.

    :param random: gives numbers from 0 to 1, for the jitter of retries.
    """

    _log = Logger()

    def __init__(
        self,
        gateway: IGateway,
        clock: IReactorTime,
        journal: Journal,
        *,
        limits: Limits,
        retries: RetryPolicy,
        permissions: Permissions,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._journal = journal
        self._limits = limits
        self._retries = retries
        self._permissions = permissions
        self._random = random
        self._backlog: deque[_Job] = deque()
        self._between_attempts: dict[_Job, IDelayedCall] = {}
        self._calls: dict[_Job, Deferred[Outcome]] = {}
        self._inflight = 0
        self._pending_bytes = 0
        self._filling = False
        self._stopping = False
        self._idle_waiters: list[Deferred[None]] = []

    @property
    def inflight(self) -> int:
        """Calls the gateway has."""
        return self._inflight

    @property
    def pending(self) -> int:
        """Messages that wait for a call."""
        return len(self._backlog) + len(self._between_attempts)

    def dispatch(self, delivery: IDelivery) -> None:
        """Take a message on. It is settled sooner or later, whatever happens."""
        self._journal.received += 1
        job = _Job(delivery, self._clock.seconds())
        try:
            job.call = self._call_of(delivery)
        except Refused as e:
            self._settle(job, failed(e.code, e.reason, not_executed=True, final=True))
            return
        except Exception:
            self._broke(Failure(), job)
            return
        if self._stopping:
            self._settle(job, overloaded(_STOPPING))
        elif self._has_room_for(delivery):
            self._enqueue(job)
            self._fill()
        else:
            self._journal.shed(self.pending, self._pending_bytes)
            self._settle(job, overloaded("the connector is overloaded: its backlog is full"))

    def when_idle(self) -> Deferred[None]:
        """Fires when every message is settled. Cancelling it is harmless."""
        waiter: Deferred[None] = Deferred(lambda d: self._idle_waiters.remove(d))
        self._idle_waiters.append(waiter)
        self._tell_if_idle()
        return waiter

    def give_up(self) -> None:
        """Settle all that is left as 503, calls in flight included, and everything that still comes."""
        self._stopping = True
        left = [*self._backlog, *self._between_attempts]
        for timer in self._between_attempts.values():
            timer.cancel()
        self._backlog.clear()
        self._between_attempts.clear()
        self._pending_bytes = 0
        for job in left:
            self._settle(job, overloaded(_STOPPING))
        for call in list(self._calls.values()):
            call.cancel()
        self._tell_if_idle()

    def _call_of(self, delivery: IDelivery) -> FunctionCall:
        if delivery.header_error is not None:
            raise Malformed(f"the message's header block is malformed: {delivery.header_error}")
        call = parse_envelope(delivery.payload)
        self._permissions.check(call)
        return replace(call, call_id=call_id(delivery.headers) or str(uuid.uuid4()))

    def _has_room_for(self, delivery: IDelivery) -> bool:
        if self._inflight < self._limits.inflight and not self._backlog:
            return True
        return (
            self.pending < self._limits.pending_messages
            and self._pending_bytes + len(delivery.payload) <= self._limits.pending_bytes
        )

    def _enqueue(self, job: _Job) -> None:
        job.queued_at = self._clock.seconds()
        self._pending_bytes += len(job.delivery.payload)
        self._backlog.append(job)

    def _taken_from_backlog(self) -> _Job:
        job = self._backlog.popleft()
        self._pending_bytes -= len(job.delivery.payload)
        return job

    def _fill(self) -> None:
        """Start calls while slots are free."""
        if self._filling:  # an outcome that is there at once comes back here: the loop below goes on with it
            return
        self._filling = True
        try:
            while self._backlog and self._inflight < self._limits.inflight:
                self._start(self._taken_from_backlog())
        finally:
            self._filling = False
        self._journal.room(self.pending, self._limits.pending_messages)
        self._tell_if_idle()

    def _start(self, job: _Job) -> None:
        waited_s = self._clock.seconds() - job.queued_at
        if self._limits.max_wait_s is not None and waited_s > self._limits.max_wait_s:
            reason = f"the message waited {waited_s:.1f} s in the connector's backlog, longer than --max-wait"
            self._settle(job, overloaded(reason))
            return
        assert job.call is not None
        job.attempt += 1
        self._inflight += 1
        self._journal.calling(job.call)
        call = self._gateway.call(job.call)
        self._calls[job] = call
        call.addBoth(self._slot_is_free, job)
        call.addCallback(self._ended, job)
        call.addErrback(self._broke, job)
        call.addCallback(lambda _: self._fill())

    def _slot_is_free(self, result: Outcome | Failure, job: _Job) -> Outcome | Failure:
        self._inflight -= 1
        del self._calls[job]
        return result

    def _ended(self, outcome: Outcome, job: _Job) -> None:
        delay_s = None if self._stopping else self._retries.delay_s(outcome, job.attempt, self._random)
        if delay_s is None:
            self._settle(job, outcome)
        else:
            self._journal.retrying(job.call, outcome, job.attempt, delay_s)
            self._pending_bytes += len(job.delivery.payload)
            self._between_attempts[job] = self._clock.callLater(delay_s, self._next_attempt, job)

    def _next_attempt(self, job: _Job) -> None:
        del self._between_attempts[job]
        self._pending_bytes -= len(job.delivery.payload)
        self._enqueue(job)
        self._fill()

    def _broke(self, failure: Failure, job: _Job) -> None:
        """A defect of our own. Its message is answered all the same."""
        self._log.failure("a defect met the message on {subject}", failure, subject=job.delivery.subject)
        if not job.settled:
            self._settle(job, failed(500, "the connector met a defect of its own", final=True))

    def _settle(self, job: _Job, outcome: Outcome) -> None:
        job.settled = True
        delivery = job.delivery
        if delivery.wants_answer:
            try:
                try:
                    delivery.answer(*answer(outcome, job.call))
                except AnswerTooLarge as e:
                    outcome = failed(TOO_LARGE, str(e), final=True)
                    delivery.answer(*answer(outcome, job.call))
            except AnswerNotSent as e:
                self._journal.answer_lost(delivery.subject, job.call, str(e))
        self._journal.settled(delivery.subject, job.call, outcome, job.attempt, self._clock.seconds() - job.received_at)

    def _tell_if_idle(self) -> None:
        if self._inflight or self.pending:
            return
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            waiter.callback(None)
