"""``python -m benchmarks.scrapes``: what it costs to be scraped, with more functions than have figures of their own."""

from __future__ import annotations

import argparse
import os
from typing import Any

import treq
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from benchmarks import load
from benchmarks.processes import Gateway, Nats, free_port, subject
from benchmarks.scenarios import OURS, Bench, Figures
from natsconnector.nats import NatsClient

_ALONE = 100
QUIET, SCRAPED = "not scraped", "each second"
_ACCEPT = {"Accept": ["application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"]}


class Scraper:
    """Asks for the figures as Prometheus does, by one connection that it keeps."""

    def __init__(self, reactor: Any, port: int) -> None:
        self._pool = HTTPConnectionPool(reactor)
        self._agent = Agent(reactor, pool=self._pool)
        self._url = f"http://127.0.0.1:{port}/metrics".encode()
        self.size_bytes = 0

    async def scrape(self) -> None:
        """Ask once."""
        response: Any = await self._agent.request(b"GET", self._url, Headers(_ACCEPT))
        self.size_bytes = len(await treq.content(response))

    def close(self) -> Deferred[None]:
        """Close the connection."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed


async def call_each(reactor: Any, client: NatsClient, gateway: Gateway, functions: int) -> None:
    """Call so many functions once; returns when the gateway has answered all."""
    first, asked = gateway.count(), 1
    for position in range(functions):
        client.publish("function.call", load.envelope(100, f"function-{position:05}.openfaas-fn"))
    while gateway.count() - first - asked < functions:
        asked += 1
        await deferLater(reactor, 0.05)


async def calls(reactor: Any, name: str, number: int, functions: int) -> Figures:
    """Calls a second, and CPU for each, after as many functions have been called."""
    port = free_port()
    admin = f"tcp:{port}:interface=127.0.0.1"
    with Nats() as nats, Gateway() as gateway, subject(OURS, nats, gateway.url, 100, admin=admin) as process:
        client = NatsClient(reactor, [nats], name="load")
        client.start()
        await client.when_ready(10)
        scraper = Scraper(reactor, port)
        try:
            await call_each(reactor, client, gateway, functions)
            await load.without_replies(reactor, client, gateway.count, number // 10, load.envelope(100), 2000)
            await scraper.scrape()
            memory_mib, cpu_s = process.memory_mib, process.cpu_s
            again = LoopingCall(lambda: Deferred.fromCoroutine(scraper.scrape()))
            if name == SCRAPED:
                again.start(1.0)
            took_s = await load.without_replies(reactor, client, gateway.count, number, load.envelope(100), 2000)
            cpu_s = process.cpu_s - cpu_s
            if again.running:
                again.stop()
            memory_after_mib, alone_s = process.memory_mib, process.cpu_s
            for _ in range(_ALONE):
                await scraper.scrape()
            return {
                "calls/s": number / took_s,
                "us CPU": cpu_s / number * 1e6,
                "scrape ms CPU": (process.cpu_s - alone_s) / _ALONE * 1e3,
                "scrape kB": scraper.size_bytes / 1e3,
                "MiB before": memory_mib,
                "MiB after": memory_after_mib,
            }
        finally:
            await scraper.close()
            await client.close()


async def measure(reactor: Any, arguments: argparse.Namespace) -> None:
    """Scraped and not, in turn."""
    bench = Bench(reactor, arguments.rounds, 1.0, lambda line: print(line, flush=True))
    await bench.compare(
        "scrapes", (QUIET, SCRAPED), lambda name: calls(reactor, name, arguments.calls, arguments.functions)
    )
    for name, figures in bench.results["scrapes"].items():
        for figure, values in figures.items():
            print(f"{name:12} {figure:14} {' '.join(f'{value:.4g}' for value in values)}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Parse the command line, and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scrapes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each of both runs [5]")
    parser.add_argument("--calls", type=int, default=30_000, help="in each run [30000]")
    parser.add_argument("--functions", type=int, default=10_000, help="that are called before [10000]")
    arguments = parser.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(measure(reactor, arguments)))


if __name__ == "__main__":
    main()
