"""Kills nodes of a cluster at random under load, and prints what it cost: ``python -m tests.chaos.cluster --help``.

Ends with 0 if every request was answered and every subscription heard of every round, and with 1 if not.
"""

from __future__ import annotations

import argparse
import random
import sys

from twisted.internet.defer import TimeoutError
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from tests.integration.nats_case import reactor
from tests.integration.nats_cluster import Traffic, run, start_cluster, until

ROUND_LIMIT_S = 30.0


@implementer(ILogObserver)
class Lines:
    """What the clients' logs tell of failovers, and of faults."""

    def __init__(self) -> None:
        self.reconnected = 0
        self.faults: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        text = str(event.get("log_format") or "")
        self.reconnected += text.startswith("reconnected to NATS")
        if event["log_level"] >= LogLevel.error:
            self.faults.append(text)


async def main(options: argparse.Namespace) -> int:
    """Run the rounds; the exit code."""
    chosen = random.Random(options.seed)
    lines = Lines()
    globalLogPublisher.addObserver(lines)
    begun_s = reactor.seconds()
    cluster = await start_cluster()
    traffic = Traffic(cluster, options.rate)
    print(f"seed {options.seed}: {options.kills} kills, {options.rate:g} requests/s, {len(traffic.clients)} clients")
    print(f"{'kill':>4} {'node':>22} {'clients on it':>13} {'longest away ms':>15} {'asked again':>11} {'answered':>9}")
    try:
        await traffic.start()
        await until(lambda: all(len(client.servers) == 3 for client in traffic.clients))
        for number in range(1, options.kills + 1):
            await deferLater(reactor, chosen.uniform(0.2, 1.5))
            server = str(chosen.choice(traffic.clients).server)
            node = cluster.node(server)
            affected, retried = traffic.on(server), traffic.retried
            traffic.away_s.clear()
            await node.kill()
            await until(lambda n=affected: len(traffic.away_s) >= n, ROUND_LIMIT_S)  # type: ignore[misc]
            await traffic.check_subscriptions()
            longest = 1000 * max(traffic.away_s)
            print(
                f"{number:>4} {server:>22} {affected:>13} {longest:>15.0f} {traffic.retried - retried:>11}"
                f" {traffic.answered:>9}",
                flush=True,
            )
            await deferLater(reactor, chosen.uniform(0.1, 0.5))
            await node.start()
        await traffic.stop()
    except (AssertionError, TimeoutError) as failure:
        print(f"FAILED: {failure}")
        return 1
    finally:
        for client in traffic.clients:
            await client.close()
        await cluster.stop()
    reconnects = sum(client.statistics.reconnects for client in traffic.clients)
    print(
        f"{traffic.asked} asked, {traffic.answered} answered, {traffic.retried} asked again; {reconnects} reconnects,"
        f" {lines.reconnected} lines in the log; {reactor.seconds() - begun_s:.0f} s"
    )
    # That a node has ended by itself is said when it was killed by us too.
    faults = [fault for fault in lines.faults if "nats-server has ended" not in fault]
    for fault in faults:
        print(f"FAULT: {fault}")
    return int(traffic.asked != traffic.answered or reconnects != lines.reconnected or bool(faults))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10000))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second")
    arguments = parser.parse_args()
    sys.exit(run(lambda: main(arguments)))
