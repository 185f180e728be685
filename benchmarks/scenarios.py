"""What is measured: each scenario in alternating rounds, ours and the peers' side by side."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from benchmarks import load
from benchmarks.processes import Gateway, Nats, subject
from benchmarks.processes import client as run_client
from natsconnector.nats import NatsClient

OURS, BY_HAND, FRAMEWORK = "natsconnector", "by_hand", "framework"
Figures = dict[str, float]
# A contestant that has stopped answering ends the benchmark instead of holding it for ever.
_LONGEST_RUN_S = 300.0


class Bench:
    """
    Runs scenarios and collects their figures.

    :param rounds: how often each is run, every contestant once a round; :param scale: of the number of messages.
    """

    def __init__(self, reactor: Any, rounds: int, scale: float, say: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._rounds = rounds
        self._scale = scale
        self._say = say
        self.results: dict[str, dict[str, dict[str, list[float]]]] = {}

    async def compare(self, scenario: str, names: tuple[str, ...], run: Callable[[str], Awaitable[Figures]]) -> None:
        """Run a scenario for each contestant, in turn, and keep every figure."""
        found = self.results.setdefault(scenario, {name: {} for name in names})
        for turn in range(self._rounds):
            for name in names if turn % 2 == 0 else tuple(reversed(names)):
                for figure, value in (await self._bounded(run(name))).items():
                    found[name].setdefault(figure, []).append(value)
        for name in names:
            told = ", ".join(f"{figure} {statistics.median(values):.4g}" for figure, values in found[name].items())
            self._say(f"{scenario:28} {name:14} {told}")

    async def _bounded(self, run: Awaitable[Figures]) -> Figures:
        async def ran() -> Figures:
            return await run

        return await Deferred.fromCoroutine(ran()).addTimeout(_LONGEST_RUN_S, self._reactor)

    def number(self, number: int) -> int:
        """How many messages, at this scale."""
        return max(100, int(number * self._scale))

    async def calls(
        self,
        name: str,
        *,
        number: int,
        delay_ms: float = 0,
        inflight: int = 100,
        size: int = 100,
        replies: bool = False,
    ) -> Figures:
        """Calls a second, and CPU for each, of a stream of messages that never ends."""
        with Nats() as nats, Gateway(delay_ms) as gateway, subject(name, nats, gateway.url, inflight) as process:
            client = await self._client(nats)
            try:
                payload = load.envelope(size)
                # More than 64 MB on their way to one client has the server end its connection.
                window = min(max(2000, 2 * inflight), (16 << 20) // size)
                await load.without_replies(self._reactor, client, gateway.count, number // 10, payload, window)
                cpu_s = process.cpu_s
                if replies:
                    took_s, _ = await load.with_replies(client, number, payload, min(window, 2 * inflight))
                else:
                    took_s = await load.without_replies(self._reactor, client, gateway.count, number, payload, window)
                cpu_s = process.cpu_s - cpu_s
                return {"calls/s": number / took_s, "us CPU": cpu_s / number * 1e6, "MiB": process.memory_mib}
            finally:
                await client.close()

    async def topics(self, name: str, *, number: int, functions: int) -> Figures:
        """The same for payloads on as many topics, each of another function."""
        more = ("--topics", "t.*", "--rebuild-interval", "1h")
        with (
            Nats() as nats,
            Gateway(0, functions) as gateway,
            subject(name, nats, gateway.url, 100, more=more) as process,
        ):
            client = await self._client(nats)
            try:
                subjects = [f"t.{position}" for position in range(functions)]
                run = partial(load.without_replies, self._reactor, client, gateway.count)
                await run(number // 10, b"x" * 100, 2000, subjects)
                cpu_s = process.cpu_s
                took_s = await run(number, b"x" * 100, 2000, subjects)
                cpu_s = process.cpu_s - cpu_s
                return {"calls/s": number / took_s, "us CPU": cpu_s / number * 1e6, "MiB": process.memory_mib}
            finally:
                await client.close()

    async def replicas(self, name: str, *, number: int, replicas: int) -> Figures:
        """Calls a second of several connectors in one queue group."""
        with Nats() as nats, Gateway() as gateway, ExitStack() as stack:
            processes = [stack.enter_context(subject(name, nats, gateway.url, 100)) for _ in range(replicas)]
            client = await self._client(nats)
            try:
                run = partial(load.without_replies, self._reactor, client, gateway.count)
                await run(number // 10, load.envelope(100), 2000)
                cpu_s = sum(process.cpu_s for process in processes)
                took_s = await run(number, load.envelope(100), 2000)
                cpu_s = sum(process.cpu_s for process in processes) - cpu_s
                return {"calls/s": number / took_s, "us CPU": cpu_s / number * 1e6}
            finally:
                await client.close()

    async def client(self, name: str, what: str, *, number: int) -> Figures:
        """Messages a second, and CPU for each, of a NATS client that receives or publishes."""
        with Nats() as nats, run_client(name, what, nats, number) as process:
            if what == "receive":
                load.feed(nats, number)
            took_s, cpu_s = process.result()
            return {"messages/s": number / took_s, "us CPU": cpu_s / number * 1e6}

    async def latency(self, name: str, *, rate: float, seconds: float) -> Figures:
        """What the connector adds to a call, at a steady rate."""
        with Nats() as nats, Gateway() as gateway, subject(name, nats, gateway.url, 100) as process:
            client = await self._client(nats)
            try:
                await load.with_replies(client, 200, load.envelope(100), 10)
                took = await load.paced(self._reactor, client, rate, seconds, load.envelope(100))
                return {
                    "p50 ms": took[len(took) // 2] * 1e3,
                    "p99 ms": took[len(took) * 99 // 100] * 1e3,
                    "MiB": process.memory_mib,
                }
            finally:
                await client.close()

    async def stream(self, name: str, *, number: int) -> Figures:
        """Calls a second of what waits in a stream, each acknowledged."""
        with Nats() as nats, Gateway() as gateway:
            client = await self._client(nats)
            try:
                await load.fill_stream(client, number, load.envelope(100))
                with subject(name, nats, gateway.url, 100, "CALLS") as process:
                    cpu_s = process.cpu_s
                    took_s = await load.empty_stream(self._reactor, client)
                    return {"calls/s": number / took_s, "us CPU": (process.cpu_s - cpu_s) / number * 1e6}
            finally:
                await client.close()

    async def memory(self, name: str, *, number: int) -> Figures:
        """Memory idle, and at its most and at its end around a burst of messages, with the bounds as they are."""
        with Nats() as nats, Gateway() as gateway, subject(name, nats, gateway.url, 100, bounds=()) as process:
            client = await self._client(nats)
            try:
                seen = [process.memory_mib]
                await load.burst(
                    self._reactor, client, gateway.count, number, load.envelope(100),
                    lambda: seen.append(process.memory_mib),
                )  # fmt: skip
                return {"MiB idle": seen[0], "MiB most": max(seen), "MiB after": process.memory_mib}
            finally:
                await client.close()

    async def _client(self, nats: str) -> NatsClient:
        client = NatsClient(self._reactor, [nats], name="load", max_buffered_bytes=1 << 30)
        client.start()
        await client.when_ready(10)
        return client
