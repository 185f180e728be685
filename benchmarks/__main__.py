"""``python -m benchmarks``: the connector beside what one would write by hand, on the same work, in the same run."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from benchmarks.plots import bars
from benchmarks.scenarios import BY_HAND, FRAMEWORK, OURS, Bench

DOCS = Path(__file__).parent.parent / "docs"


async def measure(reactor: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the scenarios that were asked for."""
    bench = Bench(reactor, arguments.rounds, arguments.scale, lambda line: print(line, flush=True))
    pair, all_three = (OURS, BY_HAND), (OURS, BY_HAND, FRAMEWORK)
    number = bench.number
    scenarios: dict[str, Any] = {
        "calls": (all_three, partial(bench.calls, number=number(30_000))),
        "calls with replies": (all_three, partial(bench.calls, number=number(20_000), replies=True)),
        "10 ms functions": (pair, partial(bench.calls, number=number(20_000), delay_ms=10, inflight=1000)),
        "100 ms functions": (pair, partial(bench.calls, number=number(20_000), delay_ms=100, inflight=1000)),
        "bodies of 10 kB": (pair, partial(bench.calls, number=number(10_000), size=10_000)),
        "bodies of 500 kB": (pair, partial(bench.calls, number=number(500), size=500_000)),
        "latency at 500/s": (pair, partial(bench.latency, rate=500, seconds=max(2.0, 10 * arguments.scale))),
        "10 functions with topics": ((OURS,), partial(bench.topics, number=number(20_000), functions=10)),
        "10,000 functions with topics": ((OURS,), partial(bench.topics, number=number(20_000), functions=10_000)),
        "one connector": ((OURS,), partial(bench.replicas, number=number(30_000), replicas=1)),
        "two connectors": ((OURS,), partial(bench.replicas, number=number(30_000), replicas=2)),
        "client receives": (pair, partial(bench.client, what="receive", number=number(500_000))),
        "client publishes": (pair, partial(bench.client, what="publish", number=number(300_000))),
        "JetStream": (pair, partial(bench.stream, number=number(20_000))),
        "memory": (pair, partial(bench.memory, number=number(1_000_000))),
    }
    for name, (contestants, run) in scenarios.items():
        if not arguments.scenario or name in arguments.scenario:
            await bench.compare(name, contestants, run)
    return {"when": datetime.now(timezone.utc).isoformat(timespec="seconds"), **about(), "results": bench.results}


def about() -> dict[str, Any]:
    """The machine and the versions."""
    packages = ("natsconnector", "Twisted", "httptools", "nats-py", "aiohttp", "uvloop", "faststream")
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
    }


def table(results: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """Medians, and the ratio to what one would write by hand, as Markdown."""
    lines = ["| | figure | natsconnector | by hand | ratio | framework |", "|---|---|---|---|---|---|"]
    for scenario, contestants in results.items():
        for figure, values in contestants[OURS].items():
            ours = statistics.median(values)
            medians = [
                statistics.median(contestants[n][figure]) if n in contestants else None for n in (BY_HAND, FRAMEWORK)
            ]
            by_hand, framework = medians
            ratio = f"{ours / by_hand:.2f}" if by_hand else ""
            cells = [scenario, figure, f"{ours:,.4g}", f"{by_hand:,.4g}" if by_hand else "", ratio]
            lines.append("| " + " | ".join([*cells, f"{framework:,.4g}" if framework else ""]) + " |")
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> None:
    """Parse the command line, measure, and write what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant runs [3]")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of messages [1.0]")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    parser.add_argument("--plots", action="store_true", help="draw the plots of docs/performance.md")
    parser.add_argument("scenario", nargs="*", help="which [all]")
    arguments = parser.parse_args(argv)

    def run(reactor: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(measure(reactor, arguments)).addCallback(report)

    def report(found: dict[str, Any]) -> None:
        print("\n" + table(found["results"]))
        print(", ".join(f"{name} {number}" for name, number in found["versions"].items()), f"{found['cores']} cores")
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=1))
        if arguments.plots:
            for name, svg in bars(found["results"]).items():
                (DOCS / f"performance-{name}.svg").write_text(svg)

    react(run)


if __name__ == "__main__":
    main(sys.argv[1:])
