"""How many calls there were, how they ended and how long they took, by function. Pure, and a few additions a call."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from natsconnector.journal.counts import OTHER, add_status
from natsconnector.journal.failures import why
from natsconnector.model.outcome import BAD_GATEWAY, TIMED_OUT, TOO_LARGE, Outcome

CALL_BOUNDS_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
WAIT_BOUNDS_S = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)

# A histogram is a dozen time series where a count is one.
_FUNCTIONS_FOR_DETAILS = 6
_NOT_FOUND = 404

# Why there was no response, by the status that stands for it.
_REASONS = {TIMED_OUT: "timeout", TOO_LARGE: "too_large", BAD_GATEWAY: "broken"}
UNREACHABLE, OTHER_REASON = "unreachable", "other"


class Histogram:
    """
    How often a value fell between two bounds, each bound belonging to what is below it.

    :param bounds: ascending; values beyond the last have a place of their own.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """For each bound, infinity the last, how many values were not above it."""
        total = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            yield bound, total


class FunctionCalls:
    """
    The calls of one function, or of all that have no place of their own.

    :param shared: the place that the details are counted in, where that is not this one.
    :ivar codes: how many ended with each HTTP status; a call without a response has the status that names the fault.
    :ivar durations: in seconds. A detail, like ``retries`` and ``dead_letters``: both are by status.
    :ivar last_failure: when a call failed the last time, in seconds of the clock, and why; None: never yet. The gateway
        being away is no failure of the function.
    """

    __slots__ = ("codes", "dead_letters", "durations", "last_failure", "retries")

    def __init__(self, shared: FunctionCalls | None = None) -> None:
        self.codes: dict[int, int] = {}
        self.durations: Histogram = Histogram(CALL_BOUNDS_S) if shared is None else shared.durations
        self.retries: dict[int, int] = {} if shared is None else shared.retries
        self.dead_letters: dict[int, int] = {} if shared is None else shared.dead_letters
        self.last_failure: tuple[float, str] | None = None

    @property
    def number(self) -> int:
        """How many calls have ended."""
        return sum(self.codes.values())

    @property
    def failures(self) -> int:
        """How many of them ended with another status than 2xx."""
        return sum(number for status, number in self.codes.items() if not 200 <= status < 300)


class Calls:
    """
    Every attempt to call a function.

    A publisher can write any name, so a function has a place of its own only once the gateway has shown that there is
    such a function, and only so many functions have one: the others share the place :data:`OTHER`.

    :param most_functions: how many have counts of their own. A sixth of these have details of their own as well.
    :ivar waits: how long calls waited for a slot, in seconds.
    :ivar without_response: how many got no response, by the reason.
    :ivar last_answer_at: when the gateway last gave a response that was not about its own absence; None before.
    """

    def __init__(self, most_functions: int = 500) -> None:
        self._most = most_functions
        self._most_details = -(-most_functions // _FUNCTIONS_FOR_DETAILS)
        self._functions: dict[str, FunctionCalls] = {}
        self._others = FunctionCalls()
        self.waits = Histogram(WAIT_BOUNDS_S)
        self.without_response = dict.fromkeys((UNREACHABLE, *_REASONS.values(), OTHER_REASON), 0)
        self.last_answer_at: float | None = None
        self.is_known: Callable[[str], bool] = lambda function: False
        """Tells whether a list of functions has this full name."""

    def begins(self, waited_s: float) -> None:
        """A call got its slot."""
        self.waits.add(waited_s)

    def ended(self, function: str, outcome: Outcome, duration_s: float, now_s: float, *, queued: bool) -> None:
        """
        The gateway is done with a call.

        :param function: its full name.
        :param queued: the gateway takes such calls for functions that it does not know too.
        """
        calls = self._functions.get(function)
        if calls is None:
            calls = self._place(function, outcome, queued)
        add_status(calls.codes, outcome.status)
        calls.durations.add(duration_s)
        if not outcome.ok and not outcome.gateway_down:
            calls.last_failure = now_s, why(outcome)
        if outcome.failure is not None:
            reason = UNREACHABLE if outcome.gateway_down else _REASONS.get(outcome.status, OTHER_REASON)
            self.without_response[reason] += 1
        elif not outcome.gateway_down:
            self.last_answer_at = now_s

    def retried(self, function: str, status: int) -> None:
        """A call ended with this status, and another attempt follows."""
        add_status(self._functions.get(function, self._others).retries, status)

    def dead_letter(self, function: str, status: int) -> None:
        """A dead letter of a message for this function was stored; one that was for none counts as the others do."""
        add_status(self._functions.get(function, self._others).dead_letters, status)

    def by_function(self) -> Iterator[tuple[str, FunctionCalls]]:
        """Every place that something was counted in; :data:`OTHER` is the last. Details that are shared are its."""
        yield from self._functions.items()
        others = self._others
        if others.codes or any(others.durations.counts) or others.retries or others.dead_letters:
            yield OTHER, others

    def has_details(self, calls: FunctionCalls) -> bool:
        """Whether the details are those of this place alone."""
        return calls is self._others or calls.durations is not self._others.durations

    def _place(self, function: str, outcome: Outcome, queued: bool) -> FunctionCalls:
        if len(self._functions) >= self._most or not (_shows_function(outcome, queued) or self.is_known(function)):
            return self._others
        calls = FunctionCalls(None if len(self._functions) < self._most_details else self._others)
        self._functions[function] = calls
        return calls


def _shows_function(outcome: Outcome, queued: bool) -> bool:
    """Whether the outcome of a call shows that the gateway has its function."""
    if queued or outcome.failure is not None or outcome.gateway_down or outcome.not_deployed:
        return False
    return outcome.status != _NOT_FOUND
