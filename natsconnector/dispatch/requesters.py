"""Requesters while the gateway is away: each waits as long as the retries of the call would take, and is told then."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from natsconnector.dispatch.backlog import Backlog
from natsconnector.dispatch.gateway_watch import GatewayWatch
from natsconnector.dispatch.job import Job
from natsconnector.model.outcome import BAD_GATEWAY, Outcome, failed

_LOOK_S = 0.25


class Requesters:
    """
    Looks again and again for those who have waited long enough, and has them answered.

    :param settle: ends a call with an outcome. :param looked: called after each look.
    """

    def __init__(
        self,
        clock: IReactorTime,
        backlog: Backlog[Job],
        watch: GatewayWatch,
        settle: Callable[[Job, Outcome], None],
        looked: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._backlog = backlog
        self._watch = watch
        self._settle = settle
        self._looked = looked
        self._timer: IDelayedCall | None = None

    def gateway_changed(self) -> None:
        """The gateway has gone away, or is back: look while it is away."""
        self.stop()
        if not self._watch.is_up:
            self._timer = self._clock.callLater(_LOOK_S, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        now_s = self._clock.seconds()
        for job in self._backlog.take_out(lambda job: self._is_out_of_patience(job, now_s)):
            self._settle(job, failed(BAD_GATEWAY, self._watch.reason, not_executed=True))
        # Where many calls wait a look takes long: most of the time is for others.
        took_s = self._clock.seconds() - now_s
        self._timer = self._clock.callLater(max(_LOOK_S, 10 * took_s), self._look)
        self._looked()

    def _is_out_of_patience(self, job: Job, now_s: float) -> bool:
        if not job.delivery.wants_answer or job.delivery.durable:
            return False
        return now_s - max(job.received_at, self._watch.since) >= job.planned.terms.retries.patience_s
