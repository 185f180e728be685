"""
Kills connectors, restarts the nats-server and takes the gateway away, and counts what became of every message:
``python -m tests.chaos.jetstream_losses --help``.

Ends with 0 if no message is missing and no more ran twice than may have, and with 1 if not.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater, react
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats import NatsClient, NatsError
from natsconnector.nats.jetstream import JetStream
from natsconnector.web.site import Bounds, QuietSite
from tests.integration.support import ConnectorProcess, Waits, envelope, reactor

PUBLISHERS = 100


@dataclass(frozen=True)
class Plan:
    """What is done to the connector, and how often; durations in seconds."""

    messages: int
    kills: int
    restarts: int
    outages: int
    seed: int
    inflight: int = 50
    ack_wait_s: float = 2.0
    attempts: int = 4
    function_s: float = 0.02
    limit_s: float = 900.0
    fail_500: float = 0.10
    fail_429: float = 0.05
    resets: float = 0.01
    outage_s: tuple[float, float] = (1.0, 20.0)

    def disasters(self, chosen: random.Random) -> list[tuple[int, str]]:
        """After how many executed messages what happens, in order."""
        kinds = ["kill"] * self.kills + ["restart"] * self.restarts + ["outage"] * self.outages
        chosen.shuffle(kinds)
        step = 0.95 * self.messages / max(len(kinds), 1)
        return [(round(step * (number + chosen.random())), kind) for number, kind in enumerate(kinds)]


@dataclass
class Result:
    """What became of the messages."""

    plan: Plan
    executed: Counter[bytes] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    buried: Counter[bytes] = field(default_factory=Counter)
    kills: int = 0
    restarts: int = 0
    outages: int = 0
    away_s: float = 0.0
    elapsed_s: float = 0.0

    @property
    def missing(self) -> int:
        known = self.executed.keys() | self.buried.keys()
        return sum(b"%d" % number not in known for number in range(self.plan.messages))

    @property
    def duplicates(self) -> int:
        """Executions that were successful beyond the first of each message."""
        return self.executed.total() - len(self.executed)

    @property
    def allowed_duplicates(self) -> int:
        return (self.kills + self.restarts + self.outages) * self.plan.inflight + self.answers["reset"]

    @property
    def is_good(self) -> bool:
        return (
            not self.missing
            and self.duplicates <= self.allowed_duplicates
            and max(self.buried.values(), default=1) == 1
        )

    def rows(self) -> Iterator[tuple[str, object]]:
        yield "seed", self.plan.seed
        yield "messages published", self.plan.messages
        yield "connector killed (SIGKILL)", self.kills
        yield "nats-server restarted", self.restarts
        yield "gateway taken away", self.outages
        yield "  seconds in all", f"{self.away_s:.1f}"
        yield "calls at the gateway", self.answers.total()
        for kind in ("200", "500", "429", "reset"):
            yield f"  answered with {kind}", self.answers[kind]
        yield "messages executed", len(self.executed)
        yield "messages in the dead letters", len(self.buried)
        yield "  of which were executed as well", len(self.executed.keys() & self.buried.keys())
        yield "messages missing", self.missing
        yield "duplicates", self.duplicates
        yield "duplicates allowed", self.allowed_duplicates
        yield "seconds", f"{self.elapsed_s:.1f}"

    def table(self) -> str:
        return "\n".join(f"{name:<34} {value:>8}" for name, value in self.rows())


class FaultyGateway(Resource):
    """A gateway that fails now and then; a reset comes after the function has run, which is the worst time."""

    isLeaf = True

    def __init__(self, result: Result, chosen: random.Random) -> None:
        super().__init__()
        self._plan = result.plan
        self._result = result
        self._chosen = chosen
        self.waits = Waits()

    def render(self, request: Request) -> Any:
        assert request.content is not None
        body = request.content.read()
        finished = request.notifyFinish()
        ended = reactor.callLater(self._plan.function_s * 2 * self._chosen.random(), self._end, request, body)
        finished.addErrback(lambda _: ended.active() and ended.cancel())
        return NOT_DONE_YET

    def _end(self, request: Request, body: bytes) -> None:
        plan, result = self._plan, self._result
        fate = self._chosen.random()
        if fate < plan.fail_500:
            self._answer(request, 500)
        elif fate < plan.fail_500 + plan.fail_429:
            request.setHeader("Retry-After", "1")
            self._answer(request, 429)
        else:
            result.executed[body] += 1
            if fate < plan.fail_500 + plan.fail_429 + plan.resets:
                result.answers["reset"] += 1
                cast(Any, request.transport).abortConnection()
            else:
                self._answer(request, 200)
        self.waits.changed()

    def _answer(self, request: Request, status: int) -> None:
        self._result.answers[str(status)] += 1
        request.setResponseCode(status)
        request.finish()


class LossRun:
    """One run of a plan; the server's files are in ``folder``."""

    def __init__(self, plan: Plan, folder: str) -> None:
        self._plan = plan
        self._chosen = random.Random(plan.seed)
        self.result = Result(plan)
        self._gateway = FaultyGateway(self.result, random.Random(plan.seed + 1))
        self._server = NatsServer(reactor, jetstream_dir=folder)
        self._connector: ConnectorProcess | None = None

    def run(self) -> Deferred[Result]:
        """Fires with what became of the messages; fails with ``TimeoutError`` when that takes too long."""
        return Deferred.fromCoroutine(self._run()).addTimeout(self._plan.limit_s, reactor)

    async def _run(self) -> Result:
        begun_s = reactor.seconds()
        self._site = QuietSite(self._gateway, reactor, bounds=Bounds(connections=1000))
        self._listening = reactor.listenTCP(0, self._site, interface="127.0.0.1")
        self._port = self._listening.getHost().port
        await self._server.start()
        self._client = NatsClient(reactor, [self._server.url], reconnect_max_wait_s=0.5)
        try:
            self._client.start()
            await self._client.when_ready()
            self._js = JetStream(self._client)
            await self._js.create_stream({"name": "CALLS", "subjects": ["function.call"], "storage": "file"})
            await self._js.create_stream({"name": "DEAD", "subjects": ["dead"], "storage": "file"})
            await self._start_connector()
            publishing = Deferred.fromCoroutine(self._publish())
            for after, kind in self._plan.disasters(self._chosen):
                await self._gateway.waits.when(lambda after=after: len(self.result.executed) >= after)  # type: ignore[misc]
                await {"kill": self._kill, "restart": self._restart, "outage": self._outage}[kind]()
            await publishing
            await self._until_settled()
            async for letter in self._js.messages("DEAD"):
                self.result.buried[letter.payload] += 1
        finally:
            await self._end()
        # What is buried is the envelope; what is executed is its body.
        bodies = {envelope(str(number)): b"%d" % number for number in range(self._plan.messages)}
        self.result.buried = Counter({bodies[payload]: count for payload, count in self.result.buried.items()})
        self.result.elapsed_s = reactor.seconds() - begun_s
        return self.result

    async def _end(self) -> None:
        if self._connector is not None:
            self._connector.signal("KILL")
            await self._connector.when_ended()
        await self._client.close()
        await self._server.stop()
        await self._listening.stopListening()

    async def _start_connector(self) -> None:
        plan = self._plan
        self._connector = ConnectorProcess(
            "--nats", self._server.url, "--gateway", f"http://127.0.0.1:{self._port}",
            "--stream", "CALLS", "--dead-letter", "dead",
            "--ack-wait", f"{plan.ack_wait_s:g}s", "--max-inflight", str(plan.inflight),
            "--retry-attempts", str(plan.attempts), "--retry-wait", "50ms", "--retry-max-wait", "1s",
        )  # fmt: skip
        await self._connector.when_ready()

    async def _kill(self) -> None:
        assert self._connector is not None
        self._connector.signal("KILL")
        await self._connector.when_ended()
        self.result.kills += 1
        await self._start_connector()

    async def _restart(self) -> None:
        await self._server.stop()
        await self._server.start()
        self.result.restarts += 1

    async def _outage(self) -> None:
        """The gateway goes away with its connections; now and then the connector is killed meanwhile."""
        begun_s, seconds = reactor.seconds(), self._chosen.uniform(*self._plan.outage_s)
        await self._listening.stopListening()
        await self._site.close(0)
        if self._chosen.random() < 0.3:
            await self._kill()
        await deferLater(reactor, max(0.0, begun_s + seconds - reactor.seconds()))
        self._listening = reactor.listenTCP(self._port, self._site, interface="127.0.0.1")
        self.result.outages += 1
        self.result.away_s += reactor.seconds() - begun_s

    async def _publish(self) -> None:
        numbers = iter(range(self._plan.messages))
        publishers = [Deferred.fromCoroutine(self._publish_each(numbers)) for _ in range(PUBLISHERS)]
        await DeferredList(publishers, fireOnOneErrback=True)

    async def _publish_each(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            headers = {"Nats-Msg-Id": str(number)}
            while True:
                try:
                    await self._js.publish("function.call", envelope(str(number)), headers=headers)
                    break
                except NatsError:
                    await deferLater(reactor, 0.1)

    async def _until_settled(self) -> None:
        while True:
            try:
                fields = await self._js.consumer("CALLS", "natsconnector")
            except NatsError:
                fields = {"num_pending": 1, "num_ack_pending": 0}
            if fields["num_pending"] + fields["num_ack_pending"] == 0:
                return
            await deferLater(reactor, 0.1)


async def main(_: object, plan: Plan) -> None:
    """Run it and print the table; ends the process with its verdict."""
    folder = tempfile.mkdtemp(prefix="natsconnector-chaos-")
    try:
        result = await LossRun(plan, folder).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(result.table())
    print("nothing is lost" if result.is_good else "NOT AS PROMISED")
    if not result.is_good:
        raise SystemExit(1)


def options(argv: list[str]) -> Plan:
    """The plan that a command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.jetstream_losses", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--outages", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that it may take")
    given = parser.parse_args(argv)
    return Plan(given.messages, given.kills, given.restarts, given.outages, given.seed, limit_s=given.limit)


if __name__ == "__main__":
    react(lambda reactor, plan: Deferred.fromCoroutine(main(reactor, plan)), [options(sys.argv[1:])])
