"""Functions as processes."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Mapping
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
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


class FunctionProcessesTests(TestCase):
    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]
        # Before the reactor runs no SIGCHLD is heard of, and a process that is killed at once ends unnoticed.
        await deferLater(reactor, 0)
        self.reactor = ProcessReactor()
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

    async def test_time_limit_with_children(self) -> None:
        """What a killed process leaves running does not hold up the answer, even with input unread."""
        child: Deferred[bytes] = Deferred()
        self.patch(processes._Run, "_log_line", lambda run, line: child.callback(line))
        call = Call(body=b"x" * 1024 * 1024)
        answering = self.processes.run(shell("exec 3<&0; sleep 60 <&3 & echo $! >&2; wait"), call)
        self.addCleanup(os.kill, int(await child), signal.SIGKILL)
        self.reactor.advance(5)
        self.assertEqual((await answering).status, 502)

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
