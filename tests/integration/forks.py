"""
Programs of the project as processes, forked from one that has imported everything.

Most of the time that ``twistd`` and ``python -m natsconnector`` take to start goes into imports. A *template* process
does them once, and each program is a fork of it: a process of its own, with its own arguments, environment, output and
end. Run as a program, this module is the template.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

ROOT = str(Path(__file__).parent.parent.parent)
TWISTD = "twistd"
TOOLS = "natsconnector"
_template: socket.socket | None = None


class Fork:
    """
    A program that runs.

    :param protocol: is told of output, errors and the end, as by ``spawnProcess``.
    :param program: ``TWISTD``, or ``TOOLS`` for ``python -m natsconnector``.
    """

    def __init__(
        self, reactor: Any, protocol: ProcessProtocol, program: str, arguments: list[str], environment: dict[str, str]
    ) -> None:
        self._protocol = protocol
        self._status = b""
        self._open = 3
        pairs = [socket.socketpair() for _ in range(3)]
        wanted = json.dumps([os.getcwd(), program, arguments, environment]).encode()
        ends = [theirs.fileno() for _, theirs in pairs]
        socket.send_fds(_connected(), [len(wanted).to_bytes(4, "big") + wanted], ends)
        for _, theirs in pairs:
            theirs.close()
        told = pairs[2][0].recv(8)
        if not told:
            raise RuntimeError("the template has ended")
        self.pid = int.from_bytes(told, "big")
        receivers = (protocol.outReceived, protocol.errReceived, self._status_received)
        for (ours, _), receive in zip(pairs, receivers, strict=True):
            ours.setblocking(False)
            # The reactor has a descriptor of its own from here on.
            reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, _ReaderFactory(receive, self._closed))
            ours.close()

    def signalProcess(self, number: int) -> None:
        os.kill(self.pid, number)

    def _status_received(self, data: bytes) -> None:
        self._status += data

    def _closed(self) -> None:
        self._open -= 1
        if self._open:
            return
        status = int.from_bytes(self._status, "big")
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        by_signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        reason = ProcessDone(status) if code == 0 else ProcessTerminated(code, by_signal, status)
        self._protocol.processEnded(Failure(reason))


class _Reader(Protocol):
    def __init__(self, receive: Any, closed: Any) -> None:
        self._receive = receive
        self._closed = closed

    def dataReceived(self, data: bytes) -> None:
        self._receive(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closed()


class _ReaderFactory:
    """As much of a factory as ``adoptStreamConnection`` asks for."""

    noisy = False

    def __init__(self, receive: Any, closed: Any) -> None:
        self._protocol = _Reader(receive, closed)

    def doStart(self) -> None:
        pass

    doStop = doStart

    def buildProtocol(self, addr: object) -> _Reader:
        return self._protocol


class _Collected(ProcessProtocol):
    """All that a program writes, until it ends."""

    def __init__(self) -> None:
        self.out = self.err = b""
        self.ended: Deferred[tuple[bytes, bytes, int]] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.out += data

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def processEnded(self, reason: Failure) -> None:
        code = cast(Any, reason.value).exitCode
        self.ended.callback((self.out, self.err, cast(Any, reason.value).signal if code is None else code))


def run_tool(reactor: Any, *arguments: str, environment: dict[str, str]) -> Deferred[tuple[bytes, bytes, int]]:
    """Run ``python -m natsconnector``: output, errors, and exit code or signal."""
    collected = _Collected()
    Fork(reactor, collected, TOOLS, list(arguments), environment)
    return collected.ended


def _connected() -> socket.socket:
    """The way to the template of this process, which ends with this process."""
    global _template
    if _template is None:
        _template, theirs = socket.socketpair()
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()], cwd=ROOT, env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": ROOT},
        )  # fmt: skip
        theirs.close()
    return _template


# The template.


def _serve(requests: socket.socket) -> None:
    # The kernel forgets the keepers that have ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    while True:
        head, descriptors, _, _ = socket.recv_fds(requests, 4, 3)
        if not head:
            return
        wanted = b""
        size = int.from_bytes(head, "big")
        while len(wanted) < size:
            wanted += requests.recv(size - len(wanted))
        if os.fork() == 0:
            requests.close()
            _keep(descriptors, *json.loads(wanted))
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(descriptors: list[int], folder: str, program: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Be the parent of the program, which tells how the program ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(folder)
    out, err, status = descriptors
    pid = os.fork()
    if pid == 0:
        os.close(status)
        _become(out, err, program, arguments, environment)
    os.close(out)
    os.close(err)
    os.write(status, pid.to_bytes(8, "big"))
    Thread(target=_kill_at_end, args=(status, pid), daemon=True).start()
    _, ended = os.waitpid(pid, 0)
    os.write(status, ended.to_bytes(8, "big"))
    os._exit(0)


def _kill_at_end(status: int, pid: int) -> None:
    """The other end of the socket is closed early only when the process of the tests was killed."""
    os.read(status, 1)
    os.kill(pid, signal.SIGKILL)


def _become(out: int, err: int, program: str, arguments: list[str], environment: dict[str, str]) -> None:
    from twisted.scripts import twistd

    from natsconnector import __main__ as tools

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, max(out, err) + 1)
    # These two stay open until the process ends.
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    code: Any = 0
    try:
        if program == TWISTD:
            sys.argv = [program, *arguments]
            twistd.run()
        else:
            tools.main(arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*cast(Any, sys.exc_info()))
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    for name in ("twisted.scripts.twistd", "natsconnector.__main__", "natsconnector.assembly"):
        import_module(name)

    assert "twisted.internet.reactor" not in sys.modules, "a reactor cannot be shared by processes"
    _serve(socket.socket(fileno=int(sys.argv[1])))
