"""
Gives random inputs to what reads from outside: ``python -m tests.fuzz [--seconds N] [--seed S] [TARGET...]``.

Prints each finding with its seed and its input, and ends with 1 if there are any. ``--only NUMBER`` repeats one input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import count
from random import SystemRandom
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater, react

from tests.fuzz.runner import Run, targets

GUARD_S = 10.0
#: Between two looks at the time, and at the reactor.
BATCH = 200
CALLS_AT_ONCE = 20


async def fuzz(reactor: Any, given: argparse.Namespace) -> int:
    """Run the targets one after the other, each for its share of the time; the exit code."""
    chosen = [target for target in targets() if not given.targets or target.name in given.targets]
    findings = 0
    print(f"seed {given.seed}, {given.seconds:g} s for {', '.join(target.name for target in chosen)}", flush=True)
    for target in chosen:
        run = Run(target, given.seed, GUARD_S, reactor)
        target.open()
        begun_s = monotonic()
        numbers: Iterator[int] = iter([given.only]) if given.only is not None else count()
        while (batch := [number for number, _ in zip(numbers, range(BATCH), strict=False)]) and (
            monotonic() - begun_s < given.seconds / len(chosen)
        ):
            await run.some(iter(batch), CALLS_AT_ONCE if target.name == "responses" else 1)
            await deferLater(reactor, 0)
        await maybeDeferred(target.close)
        for finding in run.findings:
            print(finding, flush=True)
        findings += run.faults
        took_s = monotonic() - begun_s
        print(
            f"{target.name}: {run.inputs} inputs in {took_s:.0f} s, slowest {run.slowest_s * 1000:.0f} ms,"
            f" {run.faults} findings",
            flush=True,
        )
    print(f"seed {given.seed}: {findings} findings", flush=True)
    return 1 if findings else 0


def main() -> None:
    """Read the command line and run."""
    names = [target.name for target in targets()]
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Gives random inputs to what reads them.")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--seed", type=int, help="repeats a run; without it a new one")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this input alone")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(names)}; none: all")
    given = parser.parse_args()
    if unknown := set(given.targets) - set(names):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if given.seed is None:
        given.seed = SystemRandom().randrange(10**9)
    codes: list[int] = []

    async def run(reactor: Any) -> None:
        codes.append(await fuzz(reactor, given))

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))
    sys.exit(codes[0])


if __name__ == "__main__":
    main()
