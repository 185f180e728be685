"""What there is to say at the end of a message."""

from __future__ import annotations

from natsconnector.model.call import FunctionCall
from natsconnector.model.frozen import frozen
from natsconnector.model.outcome import Outcome
from natsconnector.model.seams import IDelivery


@frozen
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
