"""Functions as processes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase
from twisted.web.http_headers import Headers

from natsconnector.local import processes
from natsconnector.local.processes import Answer, Call, Function, FunctionProcesses


def shell(script: str, environment: Mapping[str, str] | None = None) -> Function:
    return Function("f", f"sh -c {shlex.quote(script)}", environment=environment or {})


class ProcessReactor(Clock):
    """Real processes, and a time that passes only when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.spawnProcess = reactor.spawnProcess


class End(Protocol):
    """The reading end of a pipe."""

    def __init__(self) -> None:
        self.started: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if not self.started.called:
            self.started.callback(None)

    def connectionLost(self, reason: object = None) -> None:
        self.gone.callback(None)


class FunctionProcessesTests(TestCase):
    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]
        # Before the reactor runs no SIGCHLD is heard of, and a process that is killed at once ends unnoticed.
        await deferLater(reactor, 0)
        self.reactor = cast(Any, ProcessReactor())
        self.processes = FunctionProcesses(self.reactor, timeout_s=5)

    async def run_function(self, function: Function, call: Call | None = None) -> Answer:
        answer = await self.processes.run(function, call or Call())
        await self.processes.when_idle()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return answer

    async def test_answer(self) -> None:
        """The body comes on stdin and what is printed is the answer."""
        answer = await self.run_function(Function("upper", "tr a-z A-Z"), Call(body=b"hello"))
        self.assertEqual((answer.status, answer.body), (200, b"HELLO"))

    async def test_large(self) -> None:
        """Bodies far larger than a pipe pass both ways, byte for byte."""
        body = os.urandom(1024 * 1024)
        answer = await self.run_function(Function("cat", "cat"), Call(body=body))
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.body == body)

    async def test_unread_input(self) -> None:
        """A function may end, or close its stdin, without having read what it was sent."""
        for script in ("echo ok", "exec <&-; echo ok"):
            answer = await self.run_function(shell(script), Call(body=b"x" * 1024 * 1024))
            self.assertEqual((answer.status, answer.body), (200, b"ok\n"))

    async def test_failure(self) -> None:
        """A non-zero exit is a 500 with what was printed, or, if that is nothing, with how it ended."""
        answer = await self.run_function(shell("echo half; exit 3"))
        self.assertEqual((answer.status, answer.body), (500, b"half\n"))
        answer = await self.run_function(shell("exit 3"))
        self.assertEqual((answer.status, answer.body), (500, b"exit status 3\n"))
        answer = await self.run_function(shell("kill -15 $$"))
        self.assertEqual((answer.status, answer.body), (500, b"signal 15\n"))

    async def test_cannot_start(self) -> None:
        """An executable that is gone by the time of the call is a 500 that names it."""
        answer = await self.run_function(Function("f", "./gone"))
        self.assertEqual(answer.status, 500)
        self.assertRegex(answer.body, b"cannot start: no such executable: '/.*/gone'")

    async def test_time_limit(self) -> None:
        """At the time limit the process is killed; the answer is an empty 502."""
        answering = self.processes.run(Function("sleep", "sleep 60"), Call())
        self.reactor.advance(4.9)
        self.assertNoResult(answering)
        self.reactor.advance(0.2)
        answer = await answering
        self.assertEqual((answer.status, answer.body), (502, b""))
        self.assertAlmostEqual(answer.duration_s, 5.1)

    async def started(self, script: str) -> tuple[Deferred[Answer], Deferred[None]]:
        """A call whose script has started the program FIFO, which waits; and when that program is gone."""
        fifo = os.path.abspath(self.mktemp())
        os.mkfifo(fifo)
        end = End()
        null = os.open(os.devnull, os.O_WRONLY)
        pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        StandardIO(end, stdin=pipe, stdout=null, reactor=reactor)  # type: ignore[call-arg]
        self.addCleanup(os.close, null)
        program = f"sh -c 'echo started; exec sleep 60' >{fifo} 2>/dev/null"
        answering = self.processes.run(shell(script.replace("FIFO", program)), Call(body=b"x" * 1024 * 1024))
        await end.started
        return answering, end.gone

    async def test_time_limit_with_children(self) -> None:
        """What a killed process has started is killed with it, whatever it does with its input."""
        for script in ("exec 3<&0; FIFO <&3 & wait", "FIFO", "(FIFO) & (FIFO & wait)"):
            answering, gone = await self.started(script)
            self.reactor.advance(5)
            self.assertEqual((await answering).status, 502)
            await gone

    async def test_time_limit_with_orphans(self) -> None:
        """So is what runs on when the process itself has ended, and keeps its output open."""
        answering, gone = await self.started("FIFO & exec 1>&2; sleep 60 >&1 &")
        self.reactor.advance(5)
        self.assertEqual((await answering).status, 502)
        await gone

    async def test_cancel_with_children(self) -> None:
        """Cancelling kills them, too."""
        answering, gone = await self.started("FIFO & wait")
        answering.cancel()
        self.failureResultOf(answering, CancelledError)
        await gone
        await self.processes.when_idle()

    async def test_left_running(self) -> None:
        """What a function leaves running after its answer runs until the end."""
        answering, gone = await self.started("FIFO <&- & echo ok")
        self.assertEqual((await answering).body, b"ok\n")
        await self.processes.when_idle()
        self.reactor.advance(1000)
        self.assertNoResult(gone)
        self.processes.kill_left()
        await gone

    async def test_many_left_running(self) -> None:
        """Or until there is too much of it: the oldest is ended then."""
        self.patch(processes, "MAX_LEFT", 1)
        (first, first_gone), (second, second_gone) = [await self.started("FIFO <&- & echo ok") for _ in range(2)]
        await first
        await second
        await self.processes.when_idle()
        await first_gone
        self.assertNoResult(second_gone)
        self.processes.kill_left()
        await second_gone

    async def test_nothing_left(self) -> None:
        """Sessions that are empty are not kept."""
        for _ in range(3):
            await self.run_function(Function("cat", "cat"))
        self.assertEqual(self.processes._left, [])

    async def test_session(self) -> None:
        """Each process is the first of a session of its own: a Ctrl-C in our terminal is not for it."""
        code = f"import os; print(os.getpid() == os.getsid(0) == os.getpgid(0) != {os.getsid(0)})"
        answer = await self.run_function(Function("f", f"python -c '{code}'"))
        self.assertEqual(answer.body, b"True\n")

    async def test_cancel(self) -> None:
        """Cancelling kills the process."""
        answering = self.processes.run(Function("sleep", "sleep 60"), Call())
        answering.cancel()
        self.failureResultOf(answering, CancelledError)
        await self.processes.when_idle()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    async def test_answer_too_large(self) -> None:
        """A function that never stops printing is ended, with a 500 that says why."""
        with patch.object(processes, "MAX_ANSWER_BYTES", 100_000):
            answer = await self.run_function(Function("yes", "yes"))
        self.assertEqual((answer.status, answer.body), (500, b"the answer is larger than 100000 bytes\n"))

    async def test_stderr(self) -> None:
        """What is printed on stderr goes to the log line by line, braces and broken UTF-8 included."""
        with capturedLogs() as events:
            answer = await self.run_function(shell(r"printf 'one {x}\n\nt\377wo' >&2; echo out"))
        self.assertEqual(answer.body, b"out\n")
        self.assertEqual([formatEvent(event) for event in events], ["f: one {x}", "f: ", r"f: t\xffwo"])

    async def test_long_stderr_line(self) -> None:
        """A line without end is logged while it comes: it is not kept."""
        logged: Deferred[bytes] = Deferred()
        self.patch(processes, "MAX_LOG_LINE_BYTES", 10)
        self.patch(processes._Run, "_log_line", lambda run, line: logged.callback(line))
        answering = self.processes.run(shell("printf 'aaaaaaaaaaaa' >&2; exec sleep 60"), Call())
        self.assertEqual(await logged, b"aaaaaaaaaaaa")
        answering.cancel()
        self.failureResultOf(answering, CancelledError)
        await self.processes.when_idle()

    async def test_environment(self) -> None:
        """A process sees PATH, its own variables and the request as the classic watchdog tells it: nothing of ours."""
        call = Call(
            method=b"PUT",
            path=b"/a\0b",
            query=b"x=1",
            headers=Headers({b"X-Call-Id": [b"7", b"8"], b"content-type": [b"a/b"]}),
            body=b"123",
        )
        with patch.dict(os.environ, {"SECRET": "s"}):
            answer = await self.run_function(Function("env", "env", environment={"MINE": "1"}), call)
        environment = dict(line.split("=", 1) for line in answer.body.decode().splitlines())
        self.assertIn(os.environ["PATH"], environment.pop("PATH"))
        self.assertEqual(
            environment,
            {
                "MINE": "1",
                "Http_Method": "PUT",
                "Http_Path": "/ab",
                "Http_Query": "x=1",
                "Http_X_Call_Id": "7",
                "Http_Content_Type": "a/b",
                "Http_ContentLength": "3",
                "Http_Content_Length": "3",
            },
        )

    async def test_headers_left_out(self) -> None:
        """No header passes for a setting of the user's, another header, or what is said of the request."""
        headers = Headers()
        for name in ("Proxy", "proxy", "X_Real_Ip", "Query", "Path", "Method", "ContentLength", "Content_Length"):
            headers.addRawHeader(name, "forged")
        for query, told in ((b"", ""), (b"a=b", "Http_Query=a=b\n")):
            answer = await self.run_function(Function("env", "env"), Call(headers=headers, query=query))
            self.assertNotIn(b"forged", answer.body)
            self.assertIn(told, answer.body.decode())

    async def test_own_locale(self) -> None:
        """LC_CTYPE is what the function's declaration says, also if that is nothing."""
        for environment, told in (({}, False), ({"LC_CTYPE": "C"}, True)):
            answer = await self.run_function(Function("env", "env", environment=environment))
            self.assertEqual(b"LC_CTYPE=C\n" in answer.body, told)
            self.assertEqual(b"LC_CTYPE" in answer.body, told)

    async def test_not_executable(self) -> None:
        """A program that cannot be executed is a 500, and one line in the log says why."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(b"\0 no program")
        path.chmod(0o755)
        with capturedLogs() as events:
            answer = await self.run_function(Function("f", str(path)))
        self.assertEqual(answer.status, 500)
        self.assertEqual(formatEvent(events[0]), f"f: cannot start {path}: Exec format error")

    async def test_content_type(self) -> None:
        """The answer's type is the function's own, else the request's, else plain text."""
        asked = Call(headers=Headers({b"Content-Type": [b"image/png"]}))
        own = shell("", environment={"content_type": "application/json"})
        self.assertEqual((await self.run_function(own, asked)).content_type, b"application/json")
        self.assertEqual((await self.run_function(shell(""), asked)).content_type, b"image/png")
        self.assertEqual((await self.run_function(shell(""))).content_type, b"text/plain; charset=utf-8")

    async def test_directory(self) -> None:
        """A process runs in the function's directory, to which the paths in its arguments are relative."""
        directory = self.mktemp()
        os.mkdir(directory)
        answer = await self.run_function(Function("pwd", "pwd", directory=directory))
        self.assertEqual(answer.body.decode().strip(), os.path.realpath(directory))
