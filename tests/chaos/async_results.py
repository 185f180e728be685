"""
Asynchronous calls through two connectors, one of which is killed in the middle:
``python -m tests.chaos.async_results``.

Ends with 0 if each result is where it was to go, once in its stream, and with 1 if not.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import react
from twisted.protocols.portforward import ProxyFactory

from natsconnector.local.gateway import LocalGateway
from natsconnector.local.nats_server import NatsServer
from natsconnector.local.processes import Function
from natsconnector.nats import Msg, NatsClient
from natsconnector.nats.jetstream import JetStream
from tests.integration.ports import free_port
from tests.integration.support import ConnectorProcess, Waits, envelope, reactor

KEY = "0123456789abcdef" * 2


class Balancer(ProxyFactory):
    """Gives each connection to the next port, whether anybody listens there or not, as a Kubernetes service does."""

    noisy = False

    def __init__(self, ports: list[int]) -> None:
        super().__init__("127.0.0.1", 0)
        self._turns = cycle(ports)

    def buildProtocol(self, addr: Any) -> Any:
        self.port = next(self._turns)
        return super().buildProtocol(addr)


@dataclass
class Results:
    """What became of the calls."""

    calls: int
    killed_after: int = 0
    heard: Counter[str] = field(default_factory=Counter)
    """Results of core subscribers, by subject."""
    stored: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0

    @property
    def missing(self) -> int:
        return sum(f"results.{number}" not in self.stored for number in range(self.calls))

    @property
    def is_good(self) -> bool:
        return not self.missing and not self.wrong and set(self.stored.values()) == {1}

    def table(self) -> str:
        rows = [
            ("asynchronous calls", self.calls),
            ("connector killed after so many results", self.killed_after),
            ("subjects with their result", len(self.stored)),
            ("results missing", self.missing),
            ("results stored twice", self.stored.total() - len(self.stored)),
            ("results with another's content", len(self.wrong)),
            ("results heard beside the stream", self.heard.total()),
            ("seconds", f"{self.elapsed_s:.1f}"),
        ]
        return "\n".join(f"{name:<40} {value:>8}" for name, value in rows)


class Run:
    """One run; files of the server and the keys are in ``folder``."""

    def __init__(self, calls: int, folder: str, limit_s: float) -> None:
        self.results = Results(calls)
        self._limit_s = limit_s
        self._folder = Path(folder)
        self._server = NatsServer(reactor, jetstream_dir=str(self._folder / "js"))
        # It posts again what is not taken; the community edition's would lose what the killed connector had in hand.
        functions = {"cat": Function("cat", "cat")}
        self._gateway = LocalGateway(reactor, functions, queue_retries=50)
        self._connectors: list[ConnectorProcess] = []
        self._waits = Waits()

    def run(self) -> Deferred[Results]:
        """Fires with what became of the calls; fails with ``TimeoutError`` when that takes too long."""
        return Deferred.fromCoroutine(self._run()).addTimeout(self._limit_s, reactor)

    async def _run(self) -> Results:
        begun_s = reactor.seconds()
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "keys").write_text(f"{KEY}\n")
        ports = [await free_port() for _ in range(2)]
        balancer = reactor.listenTCP(0, Balancer(ports), interface="127.0.0.1")
        address = f"http://127.0.0.1:{balancer.getHost().port}"
        await self._gateway.start()
        await self._server.start()
        client = NatsClient(reactor, [self._server.url])
        try:
            client.start()
            await client.when_ready()
            jetstream = JetStream(client)
            await jetstream.create_stream({"name": "CALLS", "subjects": ["function.call"], "storage": "file"})
            await jetstream.create_stream({"name": "RESULTS", "subjects": ["results.>"], "storage": "file"})
            client.subscribe("results.>", self._heard)
            for port in ports:
                await self._connector(port, address)
            calls = range(self.results.calls)
            published = [
                jetstream.publish("function.call", envelope(str(number), "cat", callback_url=f"nats:results.{number}"))
                for number in calls
            ]
            await DeferredList(published, fireOnOneErrback=True)
            await self._when_heard(self.results.calls // 3)
            self.results.killed_after = len(self.results.heard)
            self._connectors[0].signal("KILL")
            await self._when_heard(self.results.calls)
            async for stored in jetstream.messages("RESULTS"):
                self.results.stored[stored.subject] += 1
        finally:
            for connector in self._connectors:
                connector.signal("KILL")
                await connector.when_ended()
            await client.close()
            await self._server.stop()
            await self._gateway.stop()
            await balancer.stopListening()
        self.results.elapsed_s = reactor.seconds() - begun_s
        return self.results

    async def _connector(self, port: int, address: str) -> None:
        connector = ConnectorProcess(
            "--nats", self._server.url, "--gateway", self._gateway.url,
            "--stream", "CALLS", "--dead-letter", "none", "--ack-wait", "2s", "--max-inflight", "5",
            "--reply-allow", "results.>", "--callback-listen", f"tcp:{port}:interface=127.0.0.1",
            "--callback-address", address, "--callback-key-file", str(self._folder / "keys"),
        )  # fmt: skip
        self._connectors.append(connector)
        await connector.when_ready()

    def _heard(self, msg: Msg) -> None:
        results = self.results
        results.heard[msg.subject] += 1
        number = msg.subject.rpartition(".")[2]
        headers = msg.headers
        if (msg.payload.decode(), headers.get("X-Function-Status"), headers.get("X-Function-Name")) != (
            number,
            "200",
            "cat",
        ):
            results.wrong.append(f"{msg.subject}: {msg.payload!r} {list(headers)}")
        self._waits.changed()

    def _when_heard(self, count: int) -> Deferred[None]:
        # Each wait of Waits is bounded by itself, which is too short for all of many.
        wait: Deferred[None] = Deferred()

        def look(_: object = None) -> None:
            if len(self.results.heard) >= count:
                wait.callback(None)
            else:
                have = len(self.results.heard)
                self._waits.when(lambda: len(self.results.heard) > have).addCallbacks(look, wait.errback)

        look()
        return wait


async def main(_: object, calls: int, limit_s: float) -> None:
    """Run it and print the table; ends the process with its verdict."""
    folder = tempfile.mkdtemp(prefix="natsconnector-chaos-")
    try:
        results = await Run(calls, folder, limit_s).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(results.table())
    print("each result arrived" if results.is_good else "NOT AS PROMISED")
    if not results.is_good:
        raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.async_results", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that it may take")
    given = parser.parse_args(sys.argv[1:])
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, given.calls, given.limit)))
