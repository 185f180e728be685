"""What there is to say at the end of a message."""

from __future__ import annotations

from dataclasses import dataclass

from natsconnector.model.call import FunctionCall
from natsconnector.model.outcome import Outcome
from natsconnector.model.seams import IDelivery


@dataclass(frozen=True, slots=True)
class Ending:
    """What there is to say at the end of a message."""

    delivery: IDelivery
    call: FunctionCall | None
    """None when the message was none."""
    outcome: Outcome
    attempts: int
    elapsed_s: float
    """Since the message came."""
    function: str = ""
    """The function's full name; empty when the message was no call."""
