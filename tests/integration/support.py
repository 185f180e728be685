"""What the integration tests run against: the connector as its users run it, and a gateway that remembers."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats import ConnectionLost, Msg, NatsClient, NoResponders
from tests.integration.ports import free_port

reactor = cast(Any, _reactor)
ROOT = str(Path(__file__).parent.parent.parent)
WAIT_S = 60.0
"""How long any one event may take before a test fails; no test waits for it when all is well."""


class Waits:
    """Deferreds that fire when a condition becomes true, or fail when it raises; :meth:`changed` looks again."""

    def __init__(self) -> None:
        self._waits: list[tuple[Callable[[], bool], Deferred[Any]]] = []

    def when(self, condition: Callable[[], bool]) -> Deferred[None]:
        wait: Deferred[Any] = Deferred()
        self._waits.append((condition, wait))
        self.changed()
        return wait.addTimeout(WAIT_S, reactor)

    def changed(self) -> None:
        for entry in list(self._waits):
            condition, wait = entry
            result: Failure | None = None
            try:
                over = condition()
            except AssertionError:
                over, result = True, Failure()
            if over and entry in self._waits:
                self._waits.remove(entry)
                if not wait.called:
                    wait.callback(result)


@dataclass
class Recorded:
    """A request as the gateway got it."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    request: Request


class _Site(Site):
    """Knows its connections."""

    noisy = False

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        self.channels: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        channel = super().buildProtocol(addr)
        self.channels.append(channel)
        return channel


class RecordingGateway(Resource):
    """
    A gateway that remembers every request and answers as it is told.

    :ivar respond: called with each request; writes and finishes the answer, now or later.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Recorded] = []
        self.waits = Waits()
        self.respond: Callable[[Recorded], None] = lambda recorded: self.answer(recorded, 200, b"done")
        self._site = _Site(self)
        self.functions: list[dict[str, Any]] = []
        self.credentials: tuple[str, str] | None = None
        self.listed = 0
        self._listening: IListeningPort | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen; on the same port as before when it is started again."""
        self.port = self.port or await free_port()
        self._listening = reactor.listenTCP(self.port, self._site, interface="127.0.0.1")

    async def stop(self) -> None:
        """Stop listening and break every connection."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await cast(Any, listening.stopListening())
        channels, self._site.channels = self._site.channels, []
        for channel in channels:
            if channel._channel.transport is not None:
                channel._channel.transport.abortConnection()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self) -> Counter[bytes]:
        """How often each body came."""
        return Counter(recorded.body for recorded in self.requests)

    def when_requests(self, number: int) -> Deferred[None]:
        return self.waits.when(lambda: len(self.requests) >= number)

    def when_answered(self, recorded: Recorded) -> Deferred[None]:
        return self.waits.when(lambda: bool(recorded.request.finished))

    def render(self, request: Request) -> Any:
        assert request.content is not None
        if request.path == b"/healthz":
            return b"OK"
        if request.path.startswith(b"/system/"):
            return self._system(request)
        recorded = Recorded(
            request.method.decode(),
            request.uri.decode(),
            request.content.read(),
            {k.decode().lower(): v[0].decode() for k, v in request.requestHeaders.getAllRawHeaders()},
            request,
        )
        self.requests.append(recorded)
        request.notifyFinish().addErrback(lambda _: None)
        self.respond(recorded)
        self.waits.changed()
        return NOT_DONE_YET

    def deploy(self, name: str, namespace: str = "openfaas-fn", **annotations: str) -> None:
        """Have a function in the list."""
        self.functions.append({"name": name, "namespace": namespace, "annotations": annotations})

    def _system(self, request: Request) -> bytes:
        if self.credentials is not None and (request.getUser(), request.getPassword()) != tuple(
            text.encode() for text in self.credentials
        ):
            request.setResponseCode(401)
            return b"invalid credentials\n"
        if request.path == b"/system/namespaces":
            return json.dumps(sorted({each["namespace"] for each in self.functions})).encode()
        wanted = request.args.get(b"namespace", [b"openfaas-fn"])[0].decode()
        self.listed += 1
        self.waits.changed()
        return json.dumps([each for each in self.functions if each["namespace"] == wanted]).encode()

    def when_listed_again(self) -> Deferred[None]:
        """Fires when the functions as they are now have been asked for."""
        seen = self.listed
        # The answer to the first of these may have been on its way already.
        return self.waits.when(lambda: self.listed >= seen + 2)

    def answer(self, recorded: Recorded, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer a request, unless its client is gone."""
        if recorded.request.transport is None or recorded.request.finished or recorded.request._disconnected:
            return
        recorded.request.setResponseCode(status)
        for name, value in headers.items():
            recorded.request.setHeader(name.replace("_", "-"), value)
        recorded.request.write(body)
        recorded.request.finish()
        self.waits.changed()


class ConnectorProcess(ProcessProtocol):
    """``twistd -n natsconnector`` with some flags, as a process."""

    def __init__(
        self, *flags: str, environment: dict[str, str] | None = None, twistd_flags: tuple[str, ...] = ()
    ) -> None:
        self.lines: list[str] = []
        self.ended: Failure | None = None
        self._rest = ""
        self._waits = Waits()
        twistd = [os.path.join(os.path.dirname(sys.executable), "twistd"), "-n", *twistd_flags, "natsconnector"]
        # With PYTHONPATH the tree of these tests is run, wherever the installed one is.
        clean = {"PATH": os.environ.get("PATH", ""), "PYTHONUNBUFFERED": "1", "PYTHONPATH": ROOT}
        # Several run at once, and all would want the port of the default.
        clean.update({"NATSCONNECTOR_ADMIN": "none", **(environment or {})})
        self._process = reactor.spawnProcess(
            self, twistd[0], [*twistd, *flags], env=clean, childFDs={0: "w", 1: "r", 2: "r"}
        )

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data.decode("utf-8", "replace")).split("\n")
        self.lines += lines
        self._waits.changed()

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self.ended = reason
        self._waits.changed()

    def when_line(self, pattern: str, after: int = 0) -> Deferred[None]:
        """Fires when a line, from number ``after`` on, matches; fails when the process ends without one."""

        def seen() -> bool:
            if any(re.search(pattern, line) for line in self.lines[after:]):
                return True
            if self.ended is not None:
                raise AssertionError(f"ended without {pattern!r}:\n" + "\n".join(self.lines))
            return False

        return self._waits.when(seen)

    def when_ready(self) -> Deferred[None]:
        return self.when_line("natsconnector ready")

    def when_ended(self) -> Deferred[None]:
        return self._waits.when(lambda: self.ended is not None)

    def signal(self, name: str) -> None:
        if self.ended is None:
            self._process.signalProcess(getattr(signal, f"SIG{name}"))

    @property
    def ended_cleanly(self) -> bool:
        """Ended with 0, or, as twistd does after a signal, by that signal."""
        value = cast(Any, self.ended).value
        return bool(value.exitCode == 0 or value.signal == 15)

    async def stop(self) -> None:
        self.signal("TERM")
        await self.when_ended()


def envelope(body: Any = None, function: str = "figlet", **params: Any) -> bytes:
    return json.dumps({"function": function, "params": {"body": body, **params}}).encode()


class ConnectorCase(TestCase):
    """A nats-server, a recording gateway, a client; connectors as a test wants them."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.port = await free_port()
        self.server = self.make_server()
        await self.server.start()
        self.addCleanup(self.server.stop)
        self.gateway = RecordingGateway()
        await self.gateway.start()
        self.addCleanup(self.gateway.stop)
        self.client = NatsClient(reactor, [self.server.url])
        self.client.start()
        await self.client.when_ready()
        self.addCleanup(self.client.close)

    def make_server(self) -> NatsServer:
        return NatsServer(reactor, port=self.port)

    async def connector(self, *flags: str, **environment: str) -> ConnectorProcess:
        """A connector that is ready, by flags or by environment alone."""
        if not environment:
            flags = ("--nats", self.server.url, "--gateway", self.gateway.url, *flags)
        connector = ConnectorProcess(*flags, environment=environment)
        self.addCleanup(connector.stop)
        await connector.when_ready()
        return connector

    def request(self, payload: bytes, **more: Any) -> Deferred[Msg]:
        return self.client.request("function.call", payload, timeout_s=WAIT_S, **more)

    async def request_until_heard(self, payload: bytes) -> Msg:
        """Ask until somebody listens: after an outage each client comes back in its own time."""
        while True:
            await self.client.when_ready()
            try:
                return await self.request(payload)
            except (NoResponders, ConnectionLost):
                continue

    def assertError(self, answer: Msg, code: int, *says: str) -> None:
        self.assertEqual(answer.headers.get("Nats-Service-Error-Code"), str(code))
        for text in says:
            self.assertIn(text, answer.headers.get("Nats-Service-Error") or "")
