"""Functions as processes: the request body on stdin, the answer on stdout, as in OpenFaaS's classic watchdog."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from signal import SIGKILL
from typing import cast

from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.error import ConnectionDone, ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.process import Process
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from natsconnector.local.launch import Session, in_session
from natsconnector.reactors import Reactor

DEFAULT_NAMESPACE = "openfaas-fn"
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_LOG_LINE_BYTES = 8 * 1024
MAX_LEFT = 256
# Programs would take Proxy for the user's HTTP_PROXY (httpoxy, CVE-2016-5385); the others would pass for what we say.
_NOT_TOLD = frozenset({b"proxy", b"query", b"contentlength"})


@dataclass(frozen=True)
class Function:
    """
    What is known of a function: how it is called and what command answers.

    :ivar fprocess: the command line, split as a shell would, without a shell's expansions.
    :ivar directory: where the command runs; a path to the executable is relative to it.
    """

    name: str
    fprocess: str
    namespace: str = DEFAULT_NAMESPACE
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    directory: str = "."

    def command(self) -> list[str]:
        """
        The executable, as an absolute path, and its arguments.

        ``python`` and ``python3`` mean the interpreter that runs us: functions see the same virtual environment.

        :raises ValueError: ``fprocess`` is empty, has an open quote or names no executable.
        """
        name, *arguments = shlex.split(self.fprocess) or [""]
        if name in ("python", "python3"):
            return [sys.executable, *arguments]
        if os.sep in name:
            name = os.path.join(os.path.abspath(self.directory), name)
        executable = shutil.which(name, path=_search_path())
        if executable is None:
            raise ValueError(f"no such executable: {name!r}")
        return [executable, *arguments]


@dataclass(frozen=True)
class Call:
    """
    One request to a function.

    :ivar path: what follows the function's name in the URL; likewise ``query``.
    """

    method: bytes = b"POST"
    path: bytes = b"/"
    query: bytes = b""
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What became of a call, in HTTP's terms."""

    status: int
    body: bytes = b""
    content_type: bytes = b"text/plain; charset=utf-8"
    duration_s: float = 0.0


class FunctionProcesses:
    """
    Runs calls, each in a process of its own, and knows which are running.

    Each is in a session of its own, with all that it starts. What a function has left running when it answered goes on,
    until ``kill_left``, or until many more have left something.

    :param timeout_s: a process that runs longer is killed, and its session with it.
    """

    _log = Logger()

    def __init__(self, reactor: Reactor, timeout_s: float) -> None:
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._running: set[_Run] = set()
        self._left: list[Session] = []

    def run(self, function: Function, call: Call) -> Deferred[Answer]:
        """
        Answer ``call`` with a new process; cancelling kills it.

        Fails only by cancelling. A non-zero exit is a 500 with what was printed. A process that was killed at the
        time limit is a 502 with an empty body, which is how a gateway answers for a function that is too slow.
        """
        run = _Run(self._reactor, function, call, self._timeout_s, self._log)
        try:
            environment = _environment(function, call)
            ctype = function.environment.get("LC_CTYPE", "")
            launch = in_session(function.command(), signal=SIGKILL, ctype=ctype)
            self._reactor.spawnProcess(run, launch[0], launch, env=environment, path=function.directory)
        except (OSError, ValueError) as error:
            self._log.error(
                "{function} cannot start: {reason}", function=function.name, reason=error, event="function_not_started"
            )
            return succeed(Answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"cannot start: {error}\n".encode()))
        self._running.add(run)
        run.ended.addCallback(lambda session: self._ended(run, session))
        return run.answer

    def kill_left(self) -> None:
        """End what functions have left running after their answers."""
        left, self._left = self._left, []
        for session in left:
            session.kill()

    def _ended(self, run: _Run, session: Session) -> None:
        self._running.discard(run)
        self._left = [each for each in (*self._left, session) if each.has_members()]
        if len(self._left) > MAX_LEFT:
            self._left.pop(0).kill()

    def when_idle(self) -> Deferred[None]:
        """Fires when the processes that are running now, also those of cancelled calls, are gone."""
        return DeferredList([run.ended for run in self._running]).addCallback(lambda _: None)


class _Run(ProcessProtocol):
    """One process, from its start until it is reaped and its output read to the end."""

    def __init__(self, reactor: Reactor, function: Function, call: Call, timeout_s: float, log: Logger) -> None:
        self.answer: Deferred[Answer] = Deferred(self._cancel)
        self.ended: Deferred[Session] = Deferred()
        self._reactor = reactor
        self._function = function
        self._call = call
        self._timeout_s = timeout_s
        self._log = log
        self._output: list[bytes] = []
        self._output_bytes = 0
        self._stderr = b""
        # Why the process was killed, if we did it: the answer then.
        self._verdict: tuple[int, bytes] | None = None

    def connectionMade(self) -> None:
        self._started_at_s: float = self._reactor.seconds()
        self._time_limit: IDelayedCall = self._reactor.callLater(self._timeout_s, self._expire)
        process = self._process()
        assert process.pid is not None
        self._session = Session(process.pid)
        process.write(self._call.body)
        process.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self._output_bytes += len(data)
        if self._output_bytes <= MAX_ANSWER_BYTES:
            self._output.append(data)
        elif self._verdict is None:
            message = f"the answer is larger than {MAX_ANSWER_BYTES} bytes\n"
            self._end_with(HTTPStatus.INTERNAL_SERVER_ERROR, message.encode(), message.strip())

    def errReceived(self, data: bytes) -> None:
        *lines, self._stderr = (self._stderr + data).split(b"\n")
        if len(self._stderr) > MAX_LOG_LINE_BYTES:
            lines.append(self._stderr)
            self._stderr = b""
        for line in lines:
            self._log_line(line)

    def processExited(self, reason: Failure) -> None:
        self._session.is_reaped = True

    def processEnded(self, reason: Failure) -> None:
        if self._time_limit.active():
            self._time_limit.cancel()
        if self._stderr:
            self._log_line(self._stderr)
        if not self.answer.called:
            self.answer.callback(self._result(reason))
        self.ended.callback(self._session)

    def _result(self, reason: Failure) -> Answer:
        output = b"".join(self._output)
        if self._verdict is not None:
            status, body = self._verdict
        elif reason.check(ProcessDone):
            status, body = HTTPStatus.OK, output
        else:
            error = cast(ProcessTerminated, reason.value)
            end = f"exit status {error.exitCode}" if error.signal is None else f"signal {error.signal}"
            self._log.warn("{function}: {reason}", function=self._function.name, reason=end, event="function_failed")
            status, body = HTTPStatus.INTERNAL_SERVER_ERROR, output or f"{end}\n".encode()
        duration_s = self._reactor.seconds() - self._started_at_s
        return Answer(status, body, self._content_type(), duration_s)

    def _content_type(self) -> bytes:
        """Of the answer: what the function's environment says, else that of the request, as in the watchdog."""
        said = self._function.environment.get("content_type", "").encode()
        asked = self._call.headers.getRawHeaders(b"Content-Type", [b""])[0]
        return said or asked or Answer.content_type

    def _expire(self) -> None:
        self._end_with(HTTPStatus.BAD_GATEWAY, b"", f"killed after {self._timeout_s:g} s")

    def _end_with(self, status: int, body: bytes, why: str) -> None:
        self._verdict = (status, body)
        self._log.warn("{function}: {reason}", function=self._function.name, reason=why, event="function_failed")
        self._kill()

    def _cancel(self, answer: Deferred[Answer]) -> None:
        # The answer is set before the kill, since the process may end so soon that its end would be taken for an
        # answer.
        answer.errback(CancelledError())
        self._kill()

    def _kill(self) -> None:
        self._session.kill()
        # A process that has left the session may hold these pipes open for long, with input unread: we close our ends.
        for pipe in list(self._process().pipes.values()):
            pipe.connectionLost(Failure(ConnectionDone()))

    def _process(self) -> Process:
        return cast(Process, self.transport)

    def _log_line(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace").rstrip()
        self._log.info("{function}: {text}", function=self._function.name, text=text, event="function_output")


def _search_path() -> str:
    """PATH, with the scripts of our own virtual environment first."""
    return os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])


def _environment(function: Function, call: Call) -> dict[bytes, bytes]:
    """
    The whole environment of a process: nothing of ours but PATH, for functions are not told our secrets.

    The ``Http_`` variables are those of the classic watchdog; of a repeated header it takes the first value. Headers
    with an underscore are left out: they would pass for those with a hyphen.
    """
    environment = {b"PATH": os.fsencode(_search_path())}
    for name, value in function.environment.items():
        environment[os.fsencode(name)] = os.fsencode(value)
    for header, values in call.headers.getAllRawHeaders():
        if b"_" in header or header.lower() in _NOT_TOLD:
            continue
        environment[b"Http_" + header.replace(b"-", b"_")] = values[0]
    environment[b"Http_Method"] = call.method
    environment[b"Http_Path"] = call.path
    environment[b"Http_Content_Length"] = environment[b"Http_ContentLength"] = b"%d" % len(call.body)
    if call.query:
        environment[b"Http_Query"] = call.query
    # No environment can hold a NUL, and a path may.
    return {name: value.replace(b"\0", b"") for name, value in environment.items()}
