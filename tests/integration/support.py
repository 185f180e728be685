"""What the integration tests run against: the connector as its users run it, and a gateway that remembers."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

reactor = cast(Any, _reactor)
WAIT_S = 60.0
"""How long any one event may take before a test fails; no test waits for it when all is well."""


class Waits:
    """Deferreds that fire when a condition becomes true; :meth:`changed` looks again."""

    def __init__(self) -> None:
        self._waits: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def when(self, condition: Callable[[], bool]) -> Deferred[None]:
        wait: Deferred[None] = Deferred()
        self._waits.append((condition, wait))
        self.changed()
        return wait.addTimeout(WAIT_S, reactor)

    def changed(self) -> None:
        for entry in list(self._waits):
            if entry[0]() and entry in self._waits:
                self._waits.remove(entry)
                if not entry[1].called:
                    entry[1].callback(None)


@dataclass
class Recorded:
    """A request as the gateway got it."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    request: Request


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
        self._site = Site(self)
        self._site.noisy = False
        self._listening: IListeningPort | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen; on the same port as before when it is started again."""
        self._listening = reactor.listenTCP(self.port, self._site, interface="127.0.0.1")
        self.port = cast(Any, self._listening).getHost().port

    async def stop(self) -> None:
        """Stop listening and break every connection."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await cast(Any, listening.stopListening())
        for recorded in self.requests:
            transport = recorded.request.transport
            if transport is not None:
                cast(Any, transport).abortConnection()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self) -> Counter[bytes]:
        """How often each body came."""
        return Counter(recorded.body for recorded in self.requests)

    def when_requests(self, number: int) -> Deferred[None]:
        return self.waits.when(lambda: len(self.requests) >= number)

    def render(self, request: Request) -> Any:
        assert request.content is not None
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

    def answer(self, recorded: Recorded, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer a request, unless its client is gone."""
        if recorded.request.transport is None or recorded.request.finished or recorded.request._disconnected:
            return
        recorded.request.setResponseCode(status)
        for name, value in headers.items():
            recorded.request.setHeader(name.replace("_", "-"), value)
        recorded.request.write(body)
        recorded.request.finish()


class ConnectorProcess(ProcessProtocol):
    """``twistd -n natsconnector`` with some flags, as a process."""

    def __init__(self, *flags: str, environment: dict[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self.ended: Failure | None = None
        self._rest = ""
        self._waits = Waits()
        twistd = [os.path.join(os.path.dirname(sys.executable), "twistd"), "-n", "natsconnector"]
        clean = {"PATH": os.environ.get("PATH", ""), "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._process = reactor.spawnProcess(
            self, twistd[0], [*twistd, *flags], env=clean, childFDs={0: "w", 1: "r", 2: 1}
        )

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data.decode("utf-8", "replace")).split("\n")
        self.lines += lines
        self._waits.changed()

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
            self._process.signalProcess(name)

    @property
    def ended_cleanly(self) -> bool:
        """Ended with 0, or, as twistd does after a signal, by that signal."""
        value = cast(Any, self.ended).value
        return bool(value.exitCode == 0 or value.signal == 15)

    async def stop(self) -> None:
        self.signal("TERM")
        await self.when_ended()
