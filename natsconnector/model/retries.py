"""Whether an attempt is followed by another one, and when. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from natsconnector.model.outcome import Outcome


def doubled_s(first_s: float, most_s: float, times: int) -> float:
    """``first_s``, doubled so many times, but never more than ``most_s``."""
    # The exponent is bounded because a float is not: 2.0 ** 1024 raises.
    return min(first_s * 2.0 ** min(times, 64), most_s)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    When an attempt is followed by another one.

    What was surely not executed is tried again, and so are the statuses in ``codes``. The user who puts 502 or 504
    there accepts that a call whose connection broke, or that timed out, may run twice.
    """

    attempts: int = 3
    """In total, the first included."""
    codes: frozenset[int] = frozenset({429, 503})
    wait_s: float = 0.5
    max_wait_s: float = 120.0
    backoff: str = "full"
    """``exponential``, or with ``full`` or ``equal`` jitter."""

    def delay_s(self, outcome: Outcome, attempt: int, random: Callable[[], float]) -> float | None:
        """
        How long to wait before the next attempt; None when ``outcome`` stands.

        :param attempt: the number of the attempt that ended so, from 1.
        :param random: gives numbers from 0 to 1.
        """
        if outcome.ok or outcome.final or outcome.unfinished or attempt >= self.attempts:
            return None
        if not outcome.not_executed and outcome.status not in self.codes:
            return None
        if outcome.retry_after_s is not None:
            return min(max(outcome.retry_after_s, self.wait_s), self.max_wait_s)
        delay = doubled_s(self.wait_s, self.max_wait_s, attempt - 1)
        if self.backoff == "full":
            return delay * random()
        if self.backoff == "equal":
            return delay / 2 + delay / 2 * random()
        return delay

    @property
    def patience_s(self) -> float:
        """All its waits together, without jitter: how long a requester is to wait for the end of an outage."""
        return sum(doubled_s(self.wait_s, self.max_wait_s, times) for times in range(min(self.attempts - 1, 1000)))
