"""Runs targets over inputs."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from tests.fuzz.callbacks import SealTarget
from tests.fuzz.http import RequestTarget, ResponseTarget
from tests.fuzz.jetstream import ApiTarget
from tests.fuzz.planning import AnnotationTarget, EnvelopeTarget, ReplyTarget
from tests.fuzz.route import RouteTarget
from tests.fuzz.target import Finding, Target, generator
from tests.fuzz.wire import BlockTarget, InfoTarget, ParserTarget

#: How many findings of one target are kept: the others say the same, mostly.
MOST_FINDINGS = 20


def targets() -> list[Target]:
    """All of them, fresh."""
    return [
        ParserTarget(),
        BlockTarget(),
        EnvelopeTarget(),
        RouteTarget(),
        AnnotationTarget(),
        ReplyTarget(),
        ApiTarget(),
        InfoTarget(),
        RequestTarget(),
        ResponseTarget(),
        SealTarget(),
    ]


class TooSlow(BaseException):
    """One input took longer than the guard allows. No Exception, so that nobody takes it for one of theirs."""


class Run:
    """
    One target's inputs, in order.

    :param guard_s: how long one input may take, and keep the processor; None does not look.
    :param clock: of the guard, for what waits.
    :ivar slowest_s: what the slowest input took, in processor time where inputs come one at a time.
    """

    def __init__(self, target: Target, seed: int, guard_s: float | None = None, clock: Any = None) -> None:
        self.target = target
        self.findings: list[Finding] = []
        self.faults = 0
        self.inputs = 0
        self.slowest_s = 0.0
        self._seed = seed
        self._guard_s = guard_s
        self._clock = clock

    async def one(self, number: int) -> None:
        """Make an input and check it."""
        given: Any = None
        begun_s = monotonic()
        self.inputs += 1
        try:
            with _guard(self._guard_s):
                given = self.target.make(generator(self._seed, self.target.name, number))
                checking: Deferred[Any] = maybeDeferred(self.target.check, given)
            if self._guard_s is not None:
                checking.addTimeout(self._guard_s, self._clock)
            await checking
        except (Exception, TooSlow) as fault:
            self._found(number, given, fault)
        self.slowest_s = max(self.slowest_s, monotonic() - begun_s)

    async def some(self, numbers: Iterator[int], at_once: int = 1) -> None:
        """
        Check these inputs.

        :param at_once: how many side by side, for targets that wait.
        """
        flows = [Deferred.fromCoroutine(self._take(numbers)) for _ in range(at_once)]
        for flow in flows:
            await flow

    async def _take(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            await self.one(number)

    def _found(self, number: int, given: Any, fault: BaseException) -> None:
        self.faults += 1
        if len(self.findings) < MOST_FINDINGS:
            where = "".join(traceback.format_exception(type(fault), fault, Failure(fault).getTracebackObject())[-6:])
            text = f"{type(fault).__name__}: {fault}\n{where}"
            self.findings.append(Finding(self.target.name, self._seed, number, repr(given), text))


@contextmanager
def _guard(seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
        return

    def too_slow(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"more than {seconds:g} s of processor time")

    before = signal.signal(signal.SIGPROF, too_slow)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
