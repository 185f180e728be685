"""
Messages of many keys, with --ordered-by, where calls fail and connectors are killed: ``python -m tests.chaos.order``.

Ends with 0 if each key was in order, and with 1 if not.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats import NatsClient
from natsconnector.nats.jetstream import JetStream
from tests.integration.support import ConnectorProcess, Recorded, RecordingGateway, reactor


@dataclass
class Plan:
    """What is done."""

    messages: int = 10_000
    keys: int = 100
    ordered: bool = True
    stream: bool = True
    connectors: int = 1
    kills: int = 0
    """How often the connector that has the messages is killed; another one, or a new one, takes over."""
    failures: float = 0.02
    """The share of calls that are answered 429 or 503."""
    limit_s: float = 900.0


@dataclass
class OrderRun:
    """One run; files of the server are in ``folder``."""

    plan: Plan
    folder: str
    ended: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By key the messages that were called well, in this order."""
    running: set[str] = field(default_factory=set)
    overlaps: int = 0
    done: set[int] = field(default_factory=set)
    elapsed_s: float = 0.0

    def __post_init__(self) -> None:
        self.random = random.Random(6)
        self.gateway = RecordingGateway()
        self.gateway.respond = self._called
        self.server = NatsServer(reactor, jetstream_dir=f"{self.folder}/js")
        self.connectors: list[ConnectorProcess] = []
        self.marks: list[tuple[int, Deferred[None]]] = []

    @property
    def disorder(self) -> list[str]:
        """The keys whose messages were called well for the first time in another order than they were published in."""
        return [key for key, numbers in self.ended.items() if (first := [*dict.fromkeys(numbers)]) != sorted(first)]

    @property
    def is_good(self) -> bool:
        # A connector that is killed has calls at the gateway, which are made again while they still run.
        is_single = not self.overlaps or self.plan.kills > 0
        return len(self.done) == self.plan.messages and not self.disorder and is_single

    def table(self) -> str:
        twice = sum(map(len, self.ended.values())) - len(self.done)
        rows = [
            ("messages called well", len(self.done)),
            ("keys", len(self.ended)), ("keys out of order", len(self.disorder)),
            ("calls beside another one of their key", self.overlaps), ("called well again", twice),
            ("kills", self.plan.kills), ("messages a second", f"{self.plan.messages / self.elapsed_s:.0f}"),
        ]  # fmt: skip
        return "\n".join(f"{name:<40} {value:>8}" for name, value in rows)

    async def run(self) -> OrderRun:
        """Do it; the result is in here."""
        await self.server.start()
        await self.gateway.start()
        client = NatsClient(reactor, [self.server.url])
        try:
            client.start()
            await client.when_ready()
            jetstream = JetStream(client)
            if self.plan.stream:
                await jetstream.create_stream({"name": "CALLS", "subjects": ["fn.*"], "storage": "file"})
            for _ in range(self.plan.connectors):
                await self._connector()
            begun_s = reactor.seconds()
            for number in range(self.plan.messages):
                key = f"k{self.random.randrange(self.plan.keys)}"
                client.publish("fn.f", f"{key} {number}".encode(), headers={"Key": key})
                if not number % 100:
                    await client.flush()
            for kill in range(self.plan.kills):
                await self._when_done(self.plan.messages * (kill + 1) // (self.plan.kills + 1))
                first = self.connectors.pop(0)
                first.signal("KILL")
                await first.when_ended()
                if not self.connectors:
                    await self._connector()
            await self._when_done(self.plan.messages)
            self.elapsed_s = reactor.seconds() - begun_s
        finally:
            for connector in self.connectors:
                await connector.stop()
            await client.close()
            await self.gateway.stop()
            await self.server.stop()
        return self

    async def _connector(self) -> None:
        # After a kill somebody waits for it; otherwise the default does.
        ack_wait = "2s" if self.plan.kills else "30s"
        flags = ["--stream", "CALLS", "--dead-letter", "none", "--ack-wait", ack_wait] if self.plan.stream else []
        flags += ["--ordered-by", "Key"] if self.plan.ordered else []
        connector = ConnectorProcess(
            "--nats", self.server.url, "--gateway", self.gateway.url, "--function-subject", "fn.*",
            "--max-inflight", "50", "--retry-attempts", "100", "--retry-wait", "10ms", "--retry-max-wait", "50ms",
            *flags,
        )  # fmt: skip
        self.connectors.append(connector)
        await connector.when_ready()

    def _called(self, recorded: Recorded) -> None:
        key, number = recorded.body.decode().split()
        self.overlaps += key in self.running
        self.running.add(key)
        status = self.random.choice([429, 503]) if self.random.random() < self.plan.failures else 200
        reactor.callLater(self.random.uniform(0.005, 0.02), self._answer, recorded, key, int(number), status)

    def _answer(self, recorded: Recorded, key: str, number: int, status: int) -> None:
        self.running.discard(key)
        if status == 200:
            self.ended[key].append(number)
            self.done.add(number)
        self.gateway.answer(recorded, status)
        while self.marks and len(self.done) >= self.marks[0][0]:
            self.marks.pop(0)[1].callback(None)

    def _when_done(self, count: int) -> Deferred[None]:
        reached: Deferred[None] = Deferred()
        if len(self.done) >= count:
            reached.callback(None)
        else:
            self.marks.append((count, reached))
        return reached.addTimeout(self.plan.limit_s, reactor)


async def main(_: object, plan: Plan) -> None:
    """Run it without order and with it, and print the tables; ends the process with its verdict."""
    is_good = True
    for ordered in (False, True):
        folder = tempfile.mkdtemp(prefix="natsconnector-chaos-")
        try:
            run = await OrderRun(Plan(**{**vars(plan), "ordered": ordered}), folder).run()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(f"--- {'--ordered-by' if ordered else 'without order'}\n{run.table()}")
        is_good = is_good and (run.is_good or not ordered)
    print("each key in order" if is_good else "NOT AS PROMISED")
    if not is_good:
        raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.order", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--core", action="store_true", help="core NATS instead of a stream")
    parser.add_argument("--connectors", type=int, default=1)
    parser.add_argument("--kills", type=int, default=0)
    given = parser.parse_args(sys.argv[1:])
    chosen = Plan(given.messages, given.keys, stream=not given.core, connectors=given.connectors, kills=given.kills)
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, chosen)))
