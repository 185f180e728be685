"""The last failures, for who looks at the connector and not at its log. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from natsconnector.model.outcome import Outcome
from natsconnector.model.shown import shown

MOST_FAILURES = 100
_MOST_CHARACTERS = 160
# The reasons for which a message is refused have in them what its publisher wrote; these have not.
_REFUSED = {
    400: "a malformed message",
    403: "a message that asks for what is not allowed",
    404: "a message on a topic that no function wants",
    503: "a message that found no room, or came while the connector was stopping",
    508: "a message that went round in a loop",
}


class Failure(NamedTuple):
    """
    One message that failed for good.

    :ivar number: which one it is since the start, from 1.
    :ivar at: when, in seconds of the clock.
    :ivar function: the name under which it is told; empty when the message was no call.
    :ivar reason: a sentence, cleaned and shortened.
    """

    number: int
    at: float
    function: str
    status: int
    reason: str


class Failures:
    """
    The last hundred. The log tells a repeated failure once; here each has its place, so that a frequent one hides no
    other for long.

    There is neither a payload nor a call id in them, nor the subject of the message, which anybody may have chosen.
    """

    def __init__(self) -> None:
        self._last: deque[Failure] = deque(maxlen=MOST_FAILURES)
        self.number = 0
        """How many there were since the start."""

    def add(self, at: float, function: str, outcome: Outcome) -> None:
        """A message failed. :param function: under which it is told; empty: it was no call."""
        self.number += 1
        text = reason(outcome, is_call=bool(function))
        self._last.append(Failure(self.number, at, _cleaned(function), outcome.status, text))

    def since(self, number: int) -> Iterator[Failure]:
        """Those that came after the one with this number, as far as they are kept; the oldest comes first."""
        return (failure for failure in self._last if failure.number > number)


def reason(outcome: Outcome, *, is_call: bool) -> str:
    """Why a message failed, in a sentence that has nothing in it which its publisher wrote."""
    return why(outcome) if is_call else _REFUSED.get(outcome.status, "a message that no call was made for")


def why(outcome: Outcome) -> str:
    """Why a call failed: a sentence, cleaned and shortened."""
    # The texts of Outcome.error() name the function, which a publisher may have invented.
    absent = "the gateway has no such function" if outcome.not_deployed else None
    return _cleaned(outcome.failure or absent or f"the answer was {outcome.status}")


def _cleaned(text: str) -> str:
    # The reason is cut twice: an escape is longer than the character that it stands for, and no text need be cleaned at
    # full length.
    text = shown(" ".join(text[: 2 * _MOST_CHARACTERS].split()))
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."
