"""One line a minute that says what became of the traffic, as long as there is any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import LogLevel

from natsconnector.journal.counts import AnotherAttempt, Counts
from natsconnector.journal.words import by_status

_INTERVAL_S = 60.0


class Report:
    """
    Tells the counts of each minute in which something happened.

    :param waiting: the messages that wait for another attempt.
    :param tell: writes a log line.
    """

    def __init__(
        self, clock: IReactorTime, counts: Counts, waiting: AnotherAttempt, tell: Callable[..., object]
    ) -> None:
        self._clock = clock
        self._counts = counts
        self._waiting = waiting
        self._tell = tell
        self._timer: IDelayedCall | None = None
        self._before = self._snapshot()
        self.work: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """Tells how many calls are in flight, and how many wait."""

    def begin(self) -> None:
        """A message came: a minute begins, unless one is running."""
        if self._timer is None:
            self._timer = self._clock.callLater(_INTERVAL_S, self._minute_over)

    def stop(self) -> None:
        """Report no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _minute_over(self) -> None:
        self._timer = None
        now, before = self._snapshot(), self._before
        self._before = now
        inflight, pending = self.work()
        another = self._waiting.look(self._clock.seconds()).messages
        if now == before and not (inflight or pending or another):
            return
        self.begin()
        failed = now.failed - before.failed
        fields: dict[str, Any] = {
            "received": now.received - before.received,
            "succeeded": now.succeeded - before.succeeded,
            "failed": failed.total(),
            "statuses": {str(status): count for status, count in sorted(failed.items())} or None,
            "retried": now.retries - before.retries,
            "inflight": inflight,
            "pending": pending,
            "waiting": another,
        }
        self._tell(
            LogLevel.info,
            "report",
            "in the last minute: {received} messages received; {succeeded} calls succeeded, {failed} failed"
            + by_status(failed)
            + ", {retried} attempts are tried again; now {inflight} in flight, {pending} waiting for a slot,"
            " {waiting} for another attempt",
            **fields,
        )

    def _snapshot(self) -> Counts:
        counts = self._counts
        return Counts(
            counts.received, counts.redelivered, counts.succeeded, counts.failed.copy(), retries=counts.retries
        )
