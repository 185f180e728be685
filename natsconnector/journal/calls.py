"""How many calls there were, how they ended and how long they took, by function. Pure, and a few additions a call."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from natsconnector.journal.counts import OTHER
from natsconnector.journal.failures import why
from natsconnector.model.outcome import Outcome

CALL_BOUNDS_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
WAIT_BOUNDS_S = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)

# A histogram is a dozen time series where a count is one.
_FUNCTIONS_FOR_A_HISTOGRAM = 5
_NOT_FOUND = 404


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

    :ivar codes: how many ended with each HTTP status; a call without a response has the status that names the fault.
    :ivar durations: in seconds; functions may share one.
    :ivar last_failure: when a call failed the last time, in seconds of the clock, and why; None: never yet. The gateway
        being away is no failure of the function.
    """

    __slots__ = ("codes", "durations", "last_failure")

    def __init__(self, durations: Histogram) -> None:
        self.codes: dict[int, int] = {}
        self.durations = durations
        self.last_failure: tuple[float, str] | None = None


class Calls:
    """
    Every attempt to call a function.

    A publisher can write any name, so a function has a place of its own only once the gateway has shown that there is
    such a function, and only so many functions have one: the others share the place :data:`OTHER`.

    :param most_functions: how many have counts of their own. A fifth of these have durations of their own as well.
    :ivar waits: how long calls waited for a slot, in seconds.
    :ivar last_answer_at: when the gateway last gave a response that was not about its own absence; None before.
    """

    def __init__(self, most_functions: int = 500) -> None:
        self._most = most_functions
        self._most_durations = -(-most_functions // _FUNCTIONS_FOR_A_HISTOGRAM)
        self._functions: dict[str, FunctionCalls] = {}
        self._others = FunctionCalls(Histogram(CALL_BOUNDS_S))
        self.waits = Histogram(WAIT_BOUNDS_S)
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
        status = outcome.status
        calls.codes[status] = calls.codes.get(status, 0) + 1
        calls.durations.add(duration_s)
        if not outcome.ok and not outcome.gateway_down:
            calls.last_failure = now_s, why(outcome)
        if outcome.failure is None and not outcome.gateway_down:
            self.last_answer_at = now_s

    def by_function(self) -> Iterator[tuple[str, FunctionCalls]]:
        """Every place that something was counted in; :data:`OTHER` is the last. Durations that are shared are its."""
        yield from self._functions.items()
        if self._others.codes or any(self._others.durations.counts):
            yield OTHER, self._others

    def has_durations(self, calls: FunctionCalls) -> bool:
        """Whether the durations are those of this place alone."""
        return calls is self._others or calls.durations is not self._others.durations

    def _place(self, function: str, outcome: Outcome, queued: bool) -> FunctionCalls:
        if len(self._functions) >= self._most or not (_shows_function(outcome, queued) or self.is_known(function)):
            return self._others
        has_own = len(self._functions) < self._most_durations
        calls = FunctionCalls(Histogram(CALL_BOUNDS_S) if has_own else self._others.durations)
        self._functions[function] = calls
        return calls


def _shows_function(outcome: Outcome, queued: bool) -> bool:
    """Whether the outcome of a call shows that the gateway has its function."""
    if queued or outcome.failure is not None or outcome.gateway_down or outcome.not_deployed:
        return False
    return outcome.status != _NOT_FOUND
