"""A real Prometheus scrapes connectors under faults: every query gives data, and every alert fires."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import treq
import yaml
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats.jetstream import JetStream
from tests.deployment.test_dashboard import queries
from tests.deployment.test_rules import RULES
from tests.integration.ports import free_port
from tests.integration.support import WAIT_S, ConnectorCase, Recorded, Waits, envelope, reactor

_SCRAPE = "500ms"


def hurried(rules: str) -> str:
    """The alerts, each at once, and by a hundredth of its threshold where that is of seconds or messages."""
    shortened = re.sub(r"> (\d\d+)\b", lambda found: f"> {int(found[1]) / 100}", rules)
    return re.sub(r"\n +for: \w+", "", shortened)


class Prometheus(ProcessProtocol):
    """A Prometheus with the hurried alerts, that scrapes some addresses several times a second."""

    def __init__(self, program: str, folder: Path, port: int, targets: Iterable[str]) -> None:
        folder.mkdir()
        (folder / "rules.yml").write_text(hurried(RULES.read_text()))
        config = {
            "global": {"scrape_interval": _SCRAPE, "scrape_timeout": _SCRAPE, "evaluation_interval": _SCRAPE},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": "natsconnector", "static_configs": [{"targets": [*targets]}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._url = f"http://127.0.0.1:{port}/api/v1/query"
        self._waits = Waits()
        self._output = b""
        self._has_ended = False
        argv = [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        environment = {"PATH": os.environ.get("PATH", ""), "GOMAXPROCS": "1"}
        self._process = reactor.spawnProcess(self, program, argv, env=environment)

    def outReceived(self, data: bytes) -> None:
        self._output += data
        self._waits.changed()

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self._has_ended = True
        self._waits.changed()

    def when_ready(self) -> Deferred[None]:
        """Fires when it can be asked."""

        def is_ready() -> bool:
            if self._has_ended:
                raise AssertionError(self._output.decode())
            return b"Server is ready to receive web requests" in self._output

        return self._waits.when(is_ready)

    async def stop(self) -> None:
        """End it."""
        if not self._has_ended:
            self._process.signalProcess("TERM")
        await self._waits.when(lambda: self._has_ended)

    async def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """What a query gives now: labels and values."""
        response: Any = await treq.post(self._url, data={"query": query}, persistent=False)
        answer = json.loads(await response.text())
        if answer["status"] != "success":
            raise AssertionError(f"{query}: {answer}")
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    async def firing(self) -> set[str]:
        """The alerts that fire now."""
        return {labels["alertname"] for labels, _ in await self.ask('ALERTS{alertstate="firing"}')}


class PrometheusTests(ConnectorCase):
    """Two connectors, one of core NATS and one of a stream, whose gateway does what a test wants."""

    timeout = 600

    def make_server(self) -> NatsServer:
        return NatsServer(reactor, port=self.port, jetstream_dir=self.mktemp())

    async def setUp(self) -> None:  # type: ignore[override]
        program = shutil.which("prometheus")
        if program is None:
            raise SkipTest("prometheus is not on the path")
        await super().setUp()
        self.program = program
        self.fired: set[str] = set()
        self.jetstream = JetStream(self.client)
        for name, subjects in ("CALLS", ["stream.call", "jobs.*"]), ("DEAD", ["dead"]):
            retention = "workqueue" if name == "CALLS" else "limits"
            await self.jetstream.create_stream({"name": name, "subjects": subjects, "retention": retention})
        self.gateway.deploy("figlet", topic="jobs.done")
        self.gateway.deploy("sick")
        self.gateway.respond = self.respond
        credentials = Path(self.mktemp())
        credentials.mkdir()
        for file in ("basic-auth-user", "basic-auth-password"):
            (credentials / file).write_text("admin")
        self.credentials = str(credentials)

    def respond(self, recorded: Recorded) -> None:
        """``slow`` never answers, ``sick`` fails, ``shaky`` asks to be tried again."""
        function = recorded.path.rpartition("/")[2].partition(".")[0]
        if function != "slow":
            self.gateway.answer(recorded, {"sick": 500, "shaky": 503}.get(function, 200), b"done")

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until an asynchronous condition holds: the next scrape, or the next evaluation, may show it."""

        async def look() -> None:
            while not await condition():
                await deferLater(reactor, 0.1)

        await Deferred.fromCoroutine(look()).addTimeout(WAIT_S, reactor)

    async def until_fires(self, *names: str) -> None:
        async def fires() -> bool:
            firing = await self.prometheus.firing()
            self.fired |= firing
            return firing >= set(names)

        try:
            await self.until(fires)
        except Exception as e:
            raise AssertionError(f"{names} do not fire, but {await self.prometheus.firing()}") from e

    async def traffic(self) -> None:
        """Some of each kind, at both connectors."""
        for function in ("figlet", "sick", "shaky"):
            await self.request(envelope(function=function))
        await self.request(b"not JSON")
        for function in ("figlet", "sick"):
            await self.client.request("stream.call", envelope(function=function))
        await self.client.request("jobs.done", b"x")

    async def data_of_all_queries(self) -> None:
        """Under traffic, each query of the dashboard gives at least one number."""
        texts = [
            text.replace("$__rate_interval", "5s").replace("$instance", ".*").replace("$function", ".*")
            for text in queries()
        ]

        async def answered() -> bool:
            await self.traffic()
            for text in list(texts):
                if any(math.isfinite(value) for _, value in await self.prometheus.ask(text)):
                    texts.remove(text)
            return not texts

        try:
            await self.until(answered)
        except Exception as e:
            raise AssertionError("no data for:\n" + "\n".join(texts)) from e

    async def test_faults(self) -> None:
        """All is quiet when all is well; then each alert fires by its fault, and the dashboard has data."""
        ports = [await free_port() for _ in range(3)]
        targets = [f"127.0.0.1:{port}" for port in ports[1:]]
        self.prometheus = Prometheus(self.program, Path(self.mktemp()).absolute(), ports[0], targets)
        self.addCleanup(self.prometheus.stop)
        await self.prometheus.when_ready()
        await self.until_fires("NatsconnectorDown")
        core, stream = (f"tcp:{port}:interface=127.0.0.1" for port in ports[1:])
        common = ["--retry-wait", "10ms", "--retry-codes", "503", "--shutdown-timeout", "100ms", "--max-inflight", "2"]
        await self.connector(
            "--admin", core, "--retry-attempts", "2", "--max-pending-messages", "3",
            "--max-inflight-per-function", "auto", *common,
        )  # fmt: skip
        await self.connector(
            "--admin", stream, "--stream", "CALLS", "--subject", "stream.call", "--topics", "jobs.done,jobs.nobody",
            "--dead-letter", "dead", "--retry-attempts", "1", "--gateway-credentials", self.credentials,
            "--rebuild-interval", "500ms", *common,
        )  # fmt: skip

        async def is_well() -> bool:
            scraped = await self.prometheus.ask("natsconnector_ready == 1")
            return len(scraped) == 2 and not await self.prometheus.firing()

        await self.until(is_well)
        await self.data_of_all_queries()
        await self.until_fires("NatsconnectorFunctionFails", "NatsconnectorDeadLetters")
        for _ in range(8):
            self.client.publish("function.call", envelope(function="slow"))
        await self.until_fires("NatsconnectorShedding", "NatsconnectorWaitsTooLong")
        await self.jetstream.delete_stream("DEAD")
        await self.client.request("stream.call", envelope(function="sick"))
        await self.until_fires("NatsconnectorMessagesLost")
        for _ in range(25):
            await self.client.request("stream.call", envelope(function="slow"))
        await self.until_fires("NatsconnectorStreamLags")
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 200)
        for recorded in self.gateway.requests:
            self.gateway.respond(recorded)
        await self.jetstream.delete_stream("CALLS")
        await self.until_fires("NatsconnectorNotReady")
        await self.gateway.stop()
        self.client.publish("function.call", envelope())
        await self.until_fires("NatsconnectorGatewayAway", "NatsconnectorFunctionListStale")
        await self.server.kill()
        await self.until_fires("NatsconnectorWithoutNats")
        (group,) = yaml.safe_load(RULES.read_text())["groups"]
        self.assertEqual(self.fired, {rule["alert"] for rule in group["rules"]})
