"""The last ten minutes, in steps of five seconds, made of the sums that are counted anyway: a call costs no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from natsconnector.journal.calls import CALL_BOUNDS_S, Calls

STEP_S = 5.0
STEPS = 120


class Point(NamedTuple):
    """What one step was like. Rates are by the second; percentiles in seconds, None when no call ended."""

    at: float
    calls: float
    failures: float
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class _Sums:
    """Since the start, of all functions together."""

    at: float
    calls: int = 0
    failures: int = 0
    durations: Sequence[int] = field(default=(0,) * (len(CALL_BOUNDS_S) + 1))


class History:
    """
    Takes a point every five seconds while it runs.

    :ivar points: the oldest first.
    """

    def __init__(self, clock: IReactorTime, calls: Calls) -> None:
        self._clock = clock
        self._calls = calls
        self._timer: IDelayedCall | None = None
        self._before = self._sums()
        self.points: deque[Point] = deque(maxlen=STEPS)

    def start(self) -> None:
        """Begin."""
        self._timer = self._clock.callLater(STEP_S, self._step)

    def stop(self) -> None:
        """Take no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        self.start()
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
            )
        )
        self._before = now

    def _sums(self) -> _Sums:
        calls = failures = 0
        durations = [0] * (len(CALL_BOUNDS_S) + 1)
        for _, place in self._calls.by_function():
            calls += sum(place.codes.values())
            failures += failures_in(place.codes.items())
        for histogram in _each_once(self._calls):
            durations = [total + count for total, count in zip(durations, histogram, strict=True)]
        return _Sums(self._clock.seconds(), calls, failures, durations)


def failures_in(codes: Iterable[tuple[int, int]]) -> int:
    """How many calls ended with another status than 2xx."""
    return sum(number for status, number in codes if not 200 <= status < 300)


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


def _each_once(calls: Calls) -> Iterator[Sequence[int]]:
    """The histograms: many functions share one."""
    found = {id(place.durations): place.durations for _, place in calls.by_function()}
    return (histogram.counts for histogram in found.values())
