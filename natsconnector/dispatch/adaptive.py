"""How many calls a function bears at once: found out by its answers. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from natsconnector.model.outcome import OVERLOADED, TIMED_OUT, Outcome

_TOO_MANY = 429
_OVERLOADS = frozenset({_TOO_MANY, OVERLOADED, TIMED_OUT})

# Of a function that nothing is known of: it may run once, or a hundred times.
_FIRST = 4
# An overload after calls that went well, and one after which none has gone well yet.
_GENTLE, _STEEP = 0.9, 0.7
# Between two attempts at one more call, where the last one was one too many. The calls keep refusals rare, the seconds
# give connectors that share a function equal chances, whatever share each of them has.
_REST_CALLS, _REST_S = 150, 5.0

# One call in so many that is refused, or times out, where as many were borne before, has reasons of its own.
_BY_CHANCE = 50

_MOST_FUNCTIONS = 1000
_FORGOTTEN_S = 600.0


class AdaptiveLimit:
    """
    The limit of one function.

    The limit grows while calls succeed and as many are in flight as it allows. An overload (429, 503, a time-out) cuts
    it once for all calls that had begun before; refusals that follow among those show how many were too many. Below
    what was borne before the overload the limit grows by half of the gap in each round, a round being as many
    successes as the limit has calls. There it rests; then it grows by one call in the first round, and by twice as
    many in each further one, until the next overload. Growth without the memory of the last overload would meet too
    many (compare CUBIC, RFC 9438, and the binary search of BIC).

    :param most: the limit never grows beyond it. It never falls below 1.
    :ivar calls: the limit.
    :ivar used_at: when a call last ended, in seconds of the clock.
    """

    __slots__ = (
        "_borne", "_cut_at", "_exact", "_good", "_is_settled", "_most", "_none_since_cut", "_refused", "_rests_since",
        "_step", "_successes", "_top", "calls", "used_at",
    )  # fmt: skip

    def __init__(self, most: int) -> None:
        self.calls = min(_FIRST, most)
        self.used_at = 0.0
        self._most = most
        self._exact = float(self.calls)
        self._borne = self._exact
        """What the function is thought to bear."""
        self._good = 0
        """Successes since the last overload."""
        self._step = self._exact
        """By how much the limit grows in a round, beyond what is borne; 0 while it rests."""
        self._successes = 0
        """In this round, or since the rest began."""
        self._is_settled = False
        """One call more was one too many the last time."""
        self._cut_at = float("-inf")
        """When the limit was last cut."""
        self._rests_since = 0.0
        self._none_since_cut = False
        self._top = self._refused = 0
        """How many calls were in flight when the limit was cut, and how many of those were refused."""

    def succeeded(self, begun_at: float, now_s: float, inflight: int) -> None:
        """
        A call went well.

        :param begun_at: when it began, in seconds of the clock, as ``now_s``.
        :param inflight: the function's calls in flight, this one included.
        """
        self._good += 1
        if begun_at < self._cut_at:
            return
        self._none_since_cut = False
        if inflight < self.calls or self._exact >= self._most:
            return
        self._successes += 1
        exact, borne = self._exact, self._borne
        if exact < borne:
            self._grow(min(max(1.0, (borne - exact) / 2) / exact, borne - exact))
            if self._exact >= borne:
                self._rest(now_s)
        elif self._step:
            self._grow(self._step / exact)
            if self._successes >= exact:
                self._successes, self._step = 0, min(2 * self._step, self._exact)
        elif self._successes >= (_REST_CALLS if self._is_settled else self.calls) and (
            not self._is_settled or now_s - self._rests_since >= _REST_S
        ):
            self._successes, self._step = 0, 1.0

    def overloaded(self, begun_at: float, now_s: float, inflight: int) -> None:
        """A call showed that there were too many. The parameters are those of :meth:`succeeded`."""
        by_chance, self._good = self._good >= _BY_CHANCE, 0
        if begun_at < self._cut_at:
            if self._none_since_cut:
                self._refused += 1
                self._borne = min(self._borne, max(1.0, self._top - self._refused))
                self._exact = min(self._exact, self._borne)
                self.calls = int(self._exact)
            return
        if inflight <= self._borne and by_chance:
            return
        borne, factor = max(1.0, inflight - 1.0), _GENTLE
        if self._step:
            self._is_settled = borne <= self._borne + 1
        elif self._none_since_cut:
            self._is_settled, factor = False, _STEEP
        self._borne, self._top, self._refused = borne, inflight, 1
        self._exact = max(1.0, min(self._exact, inflight) * factor)
        self.calls = int(self._exact)
        self._none_since_cut, self._cut_at = True, now_s
        self._rest(now_s)

    def _grow(self, calls: float) -> None:
        self._exact = min(self._exact + calls, float(self._most))
        self.calls = int(self._exact)

    def _rest(self, now_s: float) -> None:
        self._step, self._successes, self._rests_since = 0.0, 0, now_s


class AdaptiveLimits:
    """
    The limits of functions that have reached theirs, or were overloaded. The others have the first one.

    A limit is forgotten ten minutes after its function's last call, or when more functions than a bound have one.

    :param most: the limit of all calls together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._first = min(_FIRST, most)
        # Those whose calls ended longest ago come first.
        self._limits: dict[str, AdaptiveLimit] = {}

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return ((function, limit.calls) for function, limit in self._limits.items())

    def of(self, function: str) -> int:
        """How many calls of a function may be in flight."""
        limit = self._limits.get(function)
        return self._first if limit is None else limit.calls

    def ended(self, function: str, outcome: Outcome, begun_at: float, now_s: float, inflight: int) -> bool:
        """
        Take note of what became of a call; the other parameters are those of :meth:`AdaptiveLimit.succeeded`.

        :return: whether the limit is another one now.
        """
        if outcome.gateway_down or outcome.unfinished or outcome.not_deployed:
            return False
        is_overload = outcome.status in _OVERLOADS
        # A failure is none of the function's answers, and an answer of 500 says nothing about how much it bears.
        if not is_overload and (outcome.failure is not None or outcome.status >= 500):
            return False
        limit = self._limits.pop(function, None)
        if limit is None:
            if not is_overload and inflight < self._first:
                return False
            limit = AdaptiveLimit(self._most)
        before = limit.calls
        if is_overload:
            limit.overloaded(begun_at, now_s, inflight)
        else:
            limit.succeeded(begun_at, now_s, inflight)
        limit.used_at = now_s
        self._limits[function] = limit
        self._forget(now_s)
        return limit.calls != before

    def _forget(self, now_s: float) -> None:
        oldest = next(iter(self._limits))
        if len(self._limits) > _MOST_FUNCTIONS or now_s - self._limits[oldest].used_at > _FORGOTTEN_S:
            del self._limits[oldest]
