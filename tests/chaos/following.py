"""
Changes the annotations of functions at random while messages flow through a stream with three connectors, and counts
what became of every message: ``python -m tests.chaos.following --help``.

Ends with 0 if no message is missing that was published while a function had its topic, and with 1 if one is.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater, react

from natsconnector.local.nats_server import NatsServer
from natsconnector.messages.topics import consumer_name
from natsconnector.nats import NatsClient, NatsError
from natsconnector.nats.jetstream import NO_CONSUMER, JetStream, JetStreamError
from tests.integration.support import ConnectorProcess, Recorded, RecordingGateway, reactor

CONNECTORS = 3
# Annotation and the subject that messages for it have. The two that are wide cover others now and then.
TOPICS = {
    "t.a": "t.a",
    "t.b": "t.b",
    "t.c.*": "t.c.x",
    "t.d.one": "t.d.one",
    "t.d.*": "t.d.two",
    "t.e.f": "t.e.f",
    "t.e.>": "t.e.g.h",
}


@dataclass
class Result:
    """What became of the messages."""

    seed: int
    retention: str
    deliver: str
    changes: int = 0
    wanted: set[bytes] = field(default_factory=set)
    """Published while a function had the topic."""
    unwanted: set[bytes] = field(default_factory=set)
    called: Counter[bytes] = field(default_factory=Counter)
    calls: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    """Of each function."""
    buried: Counter[bytes] = field(default_factory=Counter)
    made: int = 0
    removed: int = 0
    seconds: float = 0.0

    @property
    def missing(self) -> set[bytes]:
        return self.wanted - self.called.keys() - self.buried.keys()

    def table(self) -> str:
        unwanted_called = len(self.unwanted & (self.called.keys() | self.buried.keys()))
        rows: list[tuple[str, Any]] = [
            ("seed", self.seed),
            ("retention of the stream", self.retention),
            ("--deliver", self.deliver),
            ("annotations changed", self.changes),
            ("consumers made", self.made),
            ("consumers removed", self.removed),
            ("published with a function", len(self.wanted)),
            ("  called", len(self.wanted & self.called.keys())),
            ("  in the dead letters", len(self.wanted & self.buried.keys())),
            ("  missing", len(self.missing)),
            ("published without one", len(self.unwanted)),
            ("  called later, or dead letters", unwanted_called),
            ("called again by one function", sum(count - 1 for count in self.calls.values())),
            ("seconds", f"{self.seconds:.1f}"),
        ]
        return "\n".join(f"{name:<34} {value:>10}" for name, value in rows)


class FollowingRun:
    """One run; the server's files are in ``folder``."""

    def __init__(self, given: argparse.Namespace, folder: str) -> None:
        self._given = given
        self._chosen = random.Random(given.seed)
        self.result = Result(given.seed, given.retention, given.deliver)
        self._server = NatsServer(reactor, jetstream_dir=folder)
        self._gateway = RecordingGateway()
        self._gateway.respond = self._respond
        self._connectors: list[ConnectorProcess] = []
        self._under_way = 0
        self._number = 0

    def _respond(self, recorded: Recorded) -> None:
        self.result.called[recorded.body] += 1
        self.result.calls[recorded.path, recorded.body] += 1
        reactor.callLater(0.05 * self._chosen.random(), self._gateway.answer, recorded, 200)

    async def run(self) -> Result:
        begun_s = reactor.seconds()
        await self._server.start()
        await self._gateway.start()
        self._client = NatsClient(reactor, [self._server.url])
        try:
            self._client.start()
            await self._client.when_ready()
            self._js = JetStream(self._client, timeout_s=30)
            await self._js.create_stream(
                {"name": "S", "subjects": ["t.>"], "retention": self._given.retention, "storage": "file"}
            )
            await self._js.create_stream({"name": "DEAD", "subjects": ["dead"], "storage": "file"})
            self._annotate("t.a")
            for _ in range(CONNECTORS):
                self._connectors.append(self._connector())
            for connector in self._connectors:
                await connector.when_ready()
            publishing = LoopingCall.withCount(self._publish)
            publishing.start(1 / self._given.rate)
            until_s = reactor.seconds() + self._given.seconds
            while reactor.seconds() < until_s:
                await deferLater(reactor, self._chosen.uniform(0.1, 1.5))
                self._change()
            publishing.stop()
            for topic in TOPICS:
                if topic not in self._annotated:
                    self._annotate(topic)
            await self._until_settled()
            async for letter in self._js.messages("DEAD"):
                self.result.buried[letter.payload] += 1
        finally:
            for connector in self._connectors:
                self.result.made += sum("made consumer" in line for line in connector.lines)
                self.result.removed += sum("removed consumer" in line for line in connector.lines)
                await connector.stop()
            await self._client.close()
            await self._gateway.stop()
            await self._server.stop()
        self.result.seconds = reactor.seconds() - begun_s
        return self.result

    def _connector(self) -> ConnectorProcess:
        given = self._given
        return ConnectorProcess(
            "--nats", self._server.url, "--gateway", self._gateway.url, "--stream", "S", "--topics-from-annotations",
            "--deliver", given.deliver, "--dead-letter", "dead", "--rebuild-interval", "1s",
            "--missing-function-grace", f"{given.grace:g}s", "--retry-wait", "50ms", "--retry-max-wait", "500ms",
        )  # fmt: skip

    @property
    def _annotated(self) -> set[str]:
        return {each["annotations"]["topic"] for each in self._gateway.functions}

    def _annotate(self, topic: str) -> None:
        self._gateway.deploy(f"f{list(TOPICS).index(topic)}", topic=topic)

    def _change(self) -> None:
        topic = self._chosen.choice(list(TOPICS))
        if topic in self._annotated:
            self._gateway.functions = [
                each for each in self._gateway.functions if each["annotations"]["topic"] != topic
            ]
        else:
            self._annotate(topic)
        self.result.changes += 1

    def _publish(self, count: int) -> None:
        for _ in range(count):
            topic, subject = self._chosen.choice(list(TOPICS.items()))
            self._number += 1
            body = f"{subject} {self._number}".encode()
            (self.result.wanted if topic in self._annotated else self.result.unwanted).add(body)
            Deferred.fromCoroutine(self._publish_one(subject, body)).addErrback(lambda f: f.printTraceback())

    async def _publish_one(self, subject: str, body: bytes) -> None:
        self._under_way += 1
        while True:
            try:
                await self._js.publish(subject, body, headers={"Nats-Msg-Id": body.decode()})
                break
            except NatsError:
                await deferLater(reactor, 0.1)
        self._under_way -= 1

    async def _until_settled(self) -> None:
        """Until no consumer has anything, for longer than the connectors need to see the functions and make others."""
        settled_s = 0.0
        while settled_s < 15.0:
            await deferLater(reactor, 0.5)
            settled_s = 0.0 if self._under_way or await self._left() else settled_s + 0.5

    async def _left(self) -> int:
        left = 0
        for topic in TOPICS:
            try:
                fields = await self._js.consumer("S", consumer_name("natsconnector", topic))
            except JetStreamError as e:
                if e.err_code != NO_CONSUMER:
                    raise
                continue
            left += fields["num_pending"] + fields["num_ack_pending"]
        return left


async def main(_: object, given: argparse.Namespace) -> None:
    """Run it and print the table; ends the process with its verdict."""
    folder = tempfile.mkdtemp(prefix="natsconnector-chaos-")
    try:
        running = Deferred.fromCoroutine(FollowingRun(given, folder).run())
        result = await running.addTimeout(given.limit, reactor)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(result.table())
    print("NOT AS PROMISED" if result.missing else "nothing is missing")
    if result.missing:
        print(b", ".join(sorted(result.missing)[:20]).decode())
        raise SystemExit(1)


def options(argv: list[str]) -> argparse.Namespace:
    """What a command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.following", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=200.0, help="messages per second")
    parser.add_argument("--grace", type=float, default=3.0, help="--missing-function-grace, in seconds")
    parser.add_argument("--retention", choices=("limits", "workqueue"), default="workqueue")
    parser.add_argument("--deliver", choices=("all", "new"), default="all")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--limit", type=float, default=600.0, help="seconds that it may take")
    return parser.parse_args(argv)


if __name__ == "__main__":
    react(lambda reactor, given: Deferred.fromCoroutine(main(reactor, given)), [options(sys.argv[1:])])
