"""The admin site of a connector that runs against a real nats-server."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, cast

import treq
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure

from natsconnector.local.nats_server import NatsServer
from tests.integration.forks import ROOT, run_tool
from tests.integration.ports import free_port
from tests.integration.support import WAIT_S, ConnectorCase, ConnectorProcess, envelope, reactor


class AdminCase(ConnectorCase):
    """A connector that can be asked."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.admin = f"127.0.0.1:{await free_port()}"
        self.endpoint = f"tcp:{self.admin.rpartition(':')[2]}:interface=127.0.0.1"

    async def ask(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        answer: Any = await treq.get(f"http://{self.admin}{path}", persistent=False)
        return answer.code, await answer.text()

    async def until(self, path: str, status: int) -> str:
        """Ask until the answer has this status, and return its text: the connector may not have noticed yet."""

        async def ask() -> str:
            while True:
                found, text = await self.ask(path)
                if found == status:
                    return text
                await deferLater(reactor, 0.02)

        return await Deferred.fromCoroutine(ask()).addTimeout(WAIT_S, reactor)

    async def figures(self) -> dict[str, float]:
        """Every sample by its name and labels."""
        _, text = await self.ask("/metrics")
        return {
            sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def probe(self, *arguments: str) -> tuple[str, int]:
        """What the command prints, and its exit code."""
        environment = {"NATSCONNECTOR_ADMIN": self.endpoint}
        out, err, code = await run_tool(reactor, "probe", *arguments, environment=environment)
        return (out + err).decode(), code


class Client(Protocol):
    """One that asks for a page, and then reads it, does not, or is gone.

    :ivar settled: fires when there is nothing more to wait for.
    """

    transport: Any

    def __init__(self, path: str, manner: str) -> None:
        self._path = path
        self._manner = manner
        self.status = b""
        self.settled: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        if self._manner == "vanish":
            self.transport.abortConnection()
        elif self._manner == "ignore":
            self.transport.pauseProducing()
            self._settle()

    def dataReceived(self, data: bytes) -> None:
        self.status = self.status or data.split()[1]
        self._settle()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._settle()

    def _settle(self) -> None:
        if not self.settled.called:
            self.settled.callback(None)


class CoreTests(AdminCase):
    """Messages of core NATS."""

    async def test_under_traffic(self) -> None:
        """What is sent is found in the figures, each call by its function and status."""
        await self.connector("--admin", self.endpoint, "--retry-attempts", "1")
        self.gateway.respond = lambda recorded: self.gateway.answer(
            recorded, {"/function/sick": 500, "/function/nosuch": 404}.get(recorded.path, 200), b"done"
        )
        sent = {"figlet": 50, "sick": 20, "nosuch": 10}
        answers = [self.request(envelope(function=name)) for name, number in sent.items() for _ in range(number)]
        answers += [self.request(b"not JSON") for _ in range(5)]
        scraped = Deferred.fromCoroutine(self.figures())
        await DeferredList(answers, fireOnOneErrback=True)
        await scraped
        figures = await self.figures()
        expected = {
            "natsconnector_calls_total code=200 function=figlet": 50,
            "natsconnector_calls_total code=500 function=sick": 20,
            "natsconnector_calls_total code=404 function=other": 10,
            "natsconnector_call_duration_seconds_count function=figlet": 50,
            "natsconnector_queue_wait_seconds_count": 80,
            "natsconnector_messages_received_total kind=envelope": 85,
            "natsconnector_messages_succeeded_total": 50,
            "natsconnector_messages_failed_total code=500": 20,
            "natsconnector_messages_refused_total code=400": 5,
            "natsconnector_calls_inflight": 0,
            "natsconnector_nats_connected": 1,
            "natsconnector_gateway_up": 1,
        }
        self.assertEqual({name: figures.get(name) for name in expected}, expected)

    async def test_events(self) -> None:
        """Who looks at the status page sees a failure within two seconds, and leaves nothing behind."""
        connector = await self.connector("--admin", self.endpoint, "--retry-attempts", "1")
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 500, b"done")
        self.assertIn("<title>natsconnector</title>", (await self.ask("/"))[1])
        answer: Any = await treq.get(f"http://{self.admin}/events", persistent=False)
        events: list[Any] = []
        two: Deferred[None] = Deferred()
        received = bytearray()

        def take(data: bytes) -> None:
            received.extend(data)
            while b"\n\n" in received:
                event, _, rest = bytes(received).partition(b"\n\n")
                received[:] = rest
                events.append(json.loads(event.removeprefix(b"data: ")))
            if len(events) >= 2 and not two.called:
                two.callback(None)

        ended = treq.collect(answer, take)
        await self.request(envelope(function="sick"))
        await two.addTimeout(WAIT_S, reactor)
        whole, news = events[:2]
        self.assertTrue(whole["whole"] and whole["health"]["ready"])
        (failure,) = whole["failures"] or news["failures"]
        self.assertEqual(failure[2:], ["sick", 500, "the answer was 500"])
        self.assertEqual([row[:3] for row in news["functions"]], [["sick", 1, 1]])
        connector.signal("TERM")
        await connector.when_ended()
        await ended

    async def test_hundred(self) -> None:
        """A hundred look at once, many do not read, and many vanish: calls go on, and nothing is left of all these."""
        await self.connector("--admin", self.endpoint)
        # With the connections to the gateway that stay open.
        await DeferredList([self.request(envelope()) for _ in range(20)], fireOnOneErrback=True)
        before = await self.figures()
        clients: list[Client] = []
        port = int(self.admin.rpartition(":")[2])
        for _ in range(3):
            for number in range(100):
                client = Client(("/events", "/")[number % 2], ("read", "ignore", "vanish")[number % 3])
                clients.append(client)
                await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), client)
            answers = [self.request(envelope()) for _ in range(20)]
            await DeferredList(answers, fireOnOneErrback=True)
            await DeferredList([client.settled for client in clients], fireOnOneErrback=True)
        # Those for whom there is no room are told so, or closed.
        self.assertGreater(sum(client.status == b"200" for client in clients), 16)
        self.assertEqual((await self.ask("/"))[0], 200)
        figures = await self.figures()
        # Of the last ones some are connected: as many as the site lets in.
        self.assertLess(figures["process_open_fds"], before["process_open_fds"] + 40)
        self.assertLess(figures["process_resident_memory_bytes"], before["process_resident_memory_bytes"] + 30e6)
        for client in clients:
            client.transport.abortConnection()
        while (await self.figures())["process_open_fds"] > before["process_open_fds"] + 1:
            await deferLater(reactor, 0.05)

    async def test_nats_killed(self) -> None:
        """It is not ready while there is no nats-server, tells why and since when, and is well all the same."""
        await self.connector("--admin", self.endpoint)
        self.assertEqual((await self.ask("/readyz"))[0], 200)
        await self.server.kill()
        report = json.loads(await self.until("/readyz", 503))
        nats, source, gateway, _ = report["parts"]
        self.assertEqual([nats["ready"], source["ready"], gateway["ready"]], [False, False, True])
        self.assertTrue(nats["reason"])
        self.assertLess(nats["for_s"], WAIT_S)
        self.assertEqual((await self.ask("/healthz"))[0], 200)
        self.assertEqual((await self.figures())["natsconnector_nats_connected"], 0)
        await self.server.start()
        await self.until("/readyz", 200)
        self.assertEqual((await self.figures())["natsconnector_nats_reconnects_total"], 1)

    async def test_gateway_away(self) -> None:
        """A gateway that is away is told, and makes it neither unwell nor unready."""
        connector = await self.connector("--admin", self.endpoint, "--retry-wait", "10ms")
        await self.gateway.stop()
        await self.request(envelope())
        await connector.when_line("gateway away")
        status, text = await self.ask("/readyz")
        (gateway,) = (part for part in json.loads(text)["parts"] if part["name"].startswith("gateway"))
        self.assertEqual((status, gateway["ready"], gateway["needed"]), (200, False, False))
        self.assertIn("unreachable", gateway["reason"])
        self.assertEqual((await self.ask("/healthz"))[0], 200)
        self.assertEqual((await self.figures())["natsconnector_gateway_up"], 0)

    async def test_draining(self) -> None:
        """It answers while it drains, not ready and alive."""
        connector = await self.connector("--admin", self.endpoint)
        self.gateway.respond = lambda recorded: None
        answer = self.request(envelope())
        await self.gateway.when_requests(1)
        connector.signal("TERM")
        report = json.loads(await self.until("/readyz", 503))
        self.assertEqual(report["parts"][-1]["reason"], "it is stopping")
        self.assertEqual((await self.ask("/healthz"))[0], 200)
        self.gateway.answer(self.gateway.requests[0], 200, b"done")
        self.assertEqual((await answer).payload, b"done")
        await connector.when_ended()
        self.assertTrue(connector.ended_cleanly)

    async def test_probe(self) -> None:
        """The command finds the connector by the same setting; its exit code says whether that is well."""
        text, code = await self.probe()
        self.assertEqual(code, 1)
        self.assertIn("refused", text)
        self.assertEqual(len(text.splitlines()), 1, text)
        connector = await self.connector("--admin", self.endpoint)
        self.assertEqual(await self.probe(), ("ok\n", 0))
        self.assertEqual(await self.probe(self.admin), ("ok\n", 0))
        self.assertEqual(await self.probe("--admin", "none"), ("not asked: --admin is none\n", 0))
        text, code = await self.probe(f"http://{self.admin}/nowhere")
        self.assertEqual((text, code), (f"http://{self.admin}/nowhere answered 404: there is no such page\n", 1))
        self.assertEqual(await self.probe("--ready"), ("ready\n", 0))
        await self.server.kill()
        await self.until("/readyz", 503)
        text, code = await self.probe("--ready")
        self.assertRegex(text, r"/readyz answered 503: NATS.*; subjects function.call .*: ")
        self.assertEqual(code, 1)
        connector.signal("STOP")
        self.addCleanup(connector.signal, "CONT")
        text, code = await self.probe("--wait", "0.3")
        self.assertEqual((text, code), (f"http://{self.admin}/healthz has not answered within 0.3 s\n", 1))
        connector.signal("CONT")

    async def test_unix_socket(self) -> None:
        """Both sides can meet at a UNIX socket."""
        self.endpoint = f"unix:{self.mktemp()}"
        await self.connector("--admin", self.endpoint)
        self.assertEqual(await self.probe(), ("ok\n", 0))

    async def test_port_in_use(self) -> None:
        """A port that was asked for and is taken ends the start, with a code and one line that says so."""
        await self.connector("--admin", self.endpoint)
        second = ConnectorProcess("--nats", self.server.url, "--admin", self.endpoint)
        await second.when_ended()
        self.assertEqual(cast(Any, second.ended).value.exitCode, 1)
        (line,) = second.lines
        self.assertRegex(line, "^natsconnector: cannot listen on --admin .*: .*Address already in use")

    async def test_daemon(self) -> None:
        """It answers as well where twistd makes a daemon of it, which is a fork after the port was opened."""
        folder = Path(self.mktemp())
        folder.mkdir()
        twistd = os.path.join(os.path.dirname(sys.executable), "twistd")
        flags = ["--pidfile", str(folder / "pid"), "--logfile", str(folder / "log"), "natsconnector"]
        flags += ["--nats", self.server.url, "--gateway", self.gateway.url, "--admin", self.endpoint]
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": ROOT}
        out, err, code = await getProcessOutputAndValue(twistd, flags, environment)
        self.assertEqual((out, err, code), (b"", b"", 0))
        process = int((folder / "pid").read_text())
        try:
            await self.until("/readyz", 200)
            await self.request(envelope())
            self.assertEqual((await self.figures())["natsconnector_messages_received_total kind=envelope"], 1)
        finally:
            os.kill(process, signal.SIGTERM)
        while (folder / "pid").exists():
            await deferLater(reactor, 0.05)


class StreamTests(AdminCase):
    """Messages of a stream."""

    def make_server(self) -> NatsServer:
        return NatsServer(reactor, port=self.port, jetstream_dir=self.mktemp())

    async def test_lag(self) -> None:
        """What waits in the stream, and what is not acknowledged, is in the figures."""
        config = json.dumps({"name": "CALLS", "subjects": ["function.call"], "retention": "workqueue"}).encode()
        await self.client.request("$JS.API.STREAM.CREATE.CALLS", config)
        self.gateway.respond = lambda recorded: None
        for _ in range(5):
            await self.request(envelope())
        await self.connector(
            "--admin", self.endpoint, "--stream", "CALLS", "--max-inflight", "2", "--shutdown-timeout", "100ms"
        )
        await self.gateway.when_requests(2)
        labels = "consumer=natsconnector stream=CALLS"

        async def seen() -> None:
            wanted = {"natsconnector_stream_pending_messages": 3, "natsconnector_stream_unacknowledged_messages": 2}
            while True:
                figures = await self.figures()
                if {name: figures.get(f"{name} {labels}") for name in wanted} == wanted:
                    return
                await deferLater(reactor, 0.1)

        await Deferred.fromCoroutine(seen()).addTimeout(WAIT_S, reactor)
