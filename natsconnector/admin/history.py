"""The last ten minutes, in steps of five seconds, made of the sums that are counted anyway: a call costs no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from natsconnector.journal.calls import CALL_BOUNDS_S, FunctionCalls
from natsconnector.journal.journal import Journal

STEP_S = 5.0
STEPS = 120
# Of each function the sums of every minute are kept: more would cost memory with many functions.
_STEPS_OF_A_MARK = 12
_MARKS = STEPS // _STEPS_OF_A_MARK


class Point(NamedTuple):
    """What one step was like. Rates are by the second; percentiles in seconds, None when no call ended."""

    at: float
    calls: float
    failures: float
    p50: float | None
    p95: float | None
    pending: int
    """How many messages waited at its end."""


class Recent(NamedTuple):
    """The calls of one function within nine to ten minutes, or since the start if that is less."""

    calls: int
    failures: int
    durations: Sequence[int] | None
    """As a histogram has them; None if they are not of this function alone."""


@dataclass(frozen=True, slots=True)
class _Sums:
    """Since the start, of all functions together."""

    at: float
    calls: int = 0
    failures: int = 0
    durations: Sequence[int] = field(default=(0,) * (len(CALL_BOUNDS_S) + 1))


@dataclass(frozen=True, slots=True)
class _Mark:
    """Sums of one moment: of each function, and of mishaps."""

    functions: Mapping[str, Recent]
    mishaps: Mapping[str, int]


class History:
    """
    Takes a point every five seconds while it runs.

    :param pending: tells how many messages wait.
    :ivar points: the oldest first.
    """

    def __init__(self, clock: IReactorTime, journal: Journal, pending: Callable[[], int]) -> None:
        self._clock = clock
        self._journal = journal
        self._calls = journal.calls
        self._pending = pending
        self._timer: IDelayedCall | None = None
        self._before = self._sums()
        self._steps = 0
        self._marks: deque[_Mark] = deque([self._mark()], maxlen=_MARKS)
        self.points: deque[Point] = deque(maxlen=STEPS)

    def start(self) -> None:
        """Begin."""
        self._timer = self._clock.callLater(STEP_S, self._step)

    def stop(self) -> None:
        """Take no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def recent(self, name: str, place: FunctionCalls) -> Recent:
        """The last minutes of one function."""
        now, before = self._total(place), self._marks[0].functions.get(name)
        if before is None:
            return now
        durations = now.durations
        if durations is not None and before.durations is not None:
            durations = [new - old for new, old in zip(durations, before.durations, strict=True)]
        return Recent(now.calls - before.calls, now.failures - before.failures, durations)

    def mishaps(self) -> dict[str, int]:
        """What messages met with in the last minutes, besides calls that failed, by the names of the counts."""
        before = self._marks[0].mishaps
        return {name: number - before[name] for name, number in self._mishaps().items()}

    def _step(self) -> None:
        self.start()
        self._steps += 1
        if not self._steps % _STEPS_OF_A_MARK:
            self._marks.append(self._mark())
        now, before = self._sums(), self._before
        passed_s = now.at - before.at
        if passed_s <= 0:  # somebody has set the clock back
            self._before = now
            return
        durations = [new - old for new, old in zip(now.durations, before.durations, strict=True)]
        self.points.append(
            Point(
                round(now.at, 1),
                round((now.calls - before.calls) / passed_s, 2),
                round((now.failures - before.failures) / passed_s, 2),
                percentile(durations, CALL_BOUNDS_S, 0.5),
                percentile(durations, CALL_BOUNDS_S, 0.95),
                self._pending(),
            )
        )
        self._before = now

    def _sums(self) -> _Sums:
        calls = failures = 0
        durations = [0] * (len(CALL_BOUNDS_S) + 1)
        for _, place in self._calls.by_function():
            calls += place.number
            failures += place.failures
        for histogram in self._each_once():
            durations = [total + count for total, count in zip(durations, histogram, strict=True)]
        return _Sums(self._clock.seconds(), calls, failures, durations)

    def _each_once(self) -> Iterator[Sequence[int]]:
        """The histograms: many functions share one."""
        found = {id(place.durations): place.durations for _, place in self._calls.by_function()}
        return (histogram.counts for histogram in found.values())

    def _mark(self) -> _Mark:
        return _Mark({name: self._total(place) for name, place in self._calls.by_function()}, self._mishaps())

    def _total(self, place: FunctionCalls) -> Recent:
        durations = tuple(place.durations.counts) if self._calls.has_details(place) else None
        return Recent(place.number, place.failures, durations)

    def _mishaps(self) -> dict[str, int]:
        counts = self._journal.counts
        return {
            "refused": counts.refused.total(),
            "shed": counts.shed,
            "dead_letters": counts.dead_letters,
            "dead_letters_failed": counts.dead_letters_failed,
            "given_up": counts.given_up,
            "answers_lost": counts.replies_lost.total(),
        }


def percentile(counts: Sequence[int], bounds: Sequence[float], share: float) -> float | None:
    """
    The value that this share of all values keeps, estimated as Prometheus does it: values lie evenly within a bucket.

    :param counts: of each bucket, the last one for what is beyond all bounds, whose values count as the last bound.
    """
    wanted = share * sum(counts)
    if not wanted:
        return None
    below, lower = 0, 0.0
    for count, upper in zip(counts, bounds, strict=False):
        if count and below + count >= wanted:
            return round(lower + (upper - lower) * (wanted - below) / count, 4)
        below, lower = below + count, upper
    return bounds[-1]
