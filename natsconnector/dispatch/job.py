"""One call of a message, on its way to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from natsconnector.dispatch.adaptive import AdaptiveLimits
from natsconnector.model.limits import AUTO
from natsconnector.model.outcome import Outcome, failed, unfinished
from natsconnector.model.seams import IDelivery
from natsconnector.planning.planner import PlannedCall

# JetStream counts deliveries, not attempts. Allow for some that ended without an attempt: at a restart, while a
# function was missing, while dead letters could not be stored.
_SPARE_DELIVERIES = 50


class Arrival(NamedTuple):
    """A message that waits to be planned, and when it came, in seconds of the clock."""

    delivery: IDelivery
    received_at: float

    @property
    def size_bytes(self) -> int:
        return self.delivery.size_bytes


@dataclass(slots=True, eq=False)
class Job:
    """A planned call, the delivery it settles, and how far it is."""

    delivery: IDelivery
    planned: PlannedCall
    received_at: float
    queued_at: float
    """When it began to wait for a slot, the last time."""
    attempt: int
    """The number of the attempt that is made, or was made last; 0 before the first."""
    function: str
    size_bytes: int
    """What it holds in memory: the message, its headers for the call, and the call's body where that is another one."""
    limits: AdaptiveLimits
    begun_at: float = 0.0
    """When the attempt began that is made, or was made last."""
    is_over: bool = False
    """Its delivery is settled."""
    is_held_back: bool = False

    @property
    def max_inflight(self) -> int | None:
        limit = self.planned.terms.max_inflight
        return self.limits.of(self.function) if limit == AUTO else limit

    def why_not(self, now_s: float, max_wait_s: float | None) -> Outcome | None:
        """
        Why a call whose turn it is is not made; None if it is.

        :param max_wait_s: the longest that a core message may have waited; None: for ever.
        """
        if max_wait_s is not None and not self.delivery.durable and now_s - self.queued_at > max_wait_s:
            waited_s = now_s - self.queued_at
            return unfinished(f"the message waited {waited_s:.1f} s in the connector's backlog, longer than --max-wait")
        if self.attempt >= 2 * self.planned.terms.retries.attempts + _SPARE_DELIVERIES:
            reason = (
                f"the connector gave up after {self.attempt} deliveries without a result: the message may crash the"
                " connector"
            )
            return failed(500, reason, final=True)
        return None

    def hold_back(self, held_back: bool) -> None:
        """Note, and tell the delivery, whether the function's own limit holds the call back."""
        if held_back is not self.is_held_back:
            self.is_held_back = held_back
            self.delivery.hold_back(held_back)


def job_of(delivery: IDelivery, planned: PlannedCall, received_at: float, limits: AdaptiveLimits) -> Job:
    """A job for one planned call of a message that came at ``received_at``, in seconds of the clock."""
    body, payload, message_bytes = planned.call.body, delivery.payload, delivery.size_bytes
    # The call has the message's headers once more, as texts.
    own_bytes = message_bytes - len(payload) + (0 if body is payload else len(body))
    return Job(
        delivery,
        planned,
        received_at,
        received_at,
        delivery.attempt - 1,
        planned.function,
        message_bytes + own_bytes,
        limits,
    )


def is_last(delivery: IDelivery, attempt: int) -> bool:
    """Whether the message does not come again after an attempt, whatever is asked for."""
    return delivery.most_attempts is not None and attempt >= delivery.most_attempts
