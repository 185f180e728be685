"""Containers and the commands of an engine, as Deferreds."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure

from tests.integration.support import Waits, reactor

ENGINE = os.environ.get("CONTAINER_ENGINE") or next((e for e in ("docker", "podman") if shutil.which(e)), "docker")


class CommandFailed(Exception):
    """A command ended with another code than 0; the text has what it wrote."""


async def engine(*words: str, **environment: str) -> str:
    """What ``docker``, or podman, writes with these words. Fails with :class:`CommandFailed`."""
    program = shutil.which(ENGINE) or ENGINE
    output, errors, code = await getProcessOutputAndValue(program, words, env={**os.environ, **environment})
    if code != 0:
        raise CommandFailed(f"{ENGINE} {' '.join(words)}: {code}\n{output.decode()}{errors.decode()}")
    return str(output.decode().strip())


class Follow(ProcessProtocol):
    """A command of the engine that goes on, line by line."""

    def __init__(self, *words: str) -> None:
        self.lines: list[str] = []
        self.ended = False
        self._rest = {1: "", 2: ""}
        self._waits = Waits()
        program = shutil.which(ENGINE) or ENGINE
        self._process = reactor.spawnProcess(self, program, [program, *words], env=os.environ)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, self._rest[childFD] = (self._rest[childFD] + data.decode("utf-8", "replace")).split("\n")
        self.lines += lines
        self._waits.changed()

    def processEnded(self, reason: Failure) -> None:
        self.ended = True
        self._waits.changed()

    def count(self, pattern: str) -> int:
        """How many lines match."""
        return sum(re.search(pattern, line) is not None for line in self.lines)

    def when_line(self, pattern: str, times: int = 1) -> Deferred[None]:
        """Fires when so many lines match; fails when the command ends without them."""

        def check(_: None) -> None:
            if self.count(pattern) < times:
                raise AssertionError(f"ended without {pattern!r}:\n" + "\n".join(self.lines))

        return self._waits.when(lambda: self.ended or self.count(pattern) >= times).addCallback(check)

    def when_ended(self) -> Deferred[None]:
        return self._waits.when(lambda: self.ended)

    async def end(self) -> None:
        """End the command, which for `docker logs` is not the container's end."""
        if not self.ended:
            self._process.signalProcess("TERM")
        await self.when_ended()


class Container(Follow):
    """
    ``docker run`` in the foreground: its lines are the container's.

    :param options: of ``docker run``; :param flags: for the container's entry point.
    """

    def __init__(self, name: str, image: str, *flags: str, options: tuple[str, ...] = ()) -> None:
        self.name = name
        super().__init__("run", "--name", name, *options, image, *flags)

    async def inspect(self) -> Any:
        """What the engine knows about it."""
        return json.loads(await engine("inspect", self.name))[0]

    async def exit_code(self) -> int:
        return int((await self.inspect())["State"]["ExitCode"])

    async def python(self, code: str) -> str:
        """What a few lines of Python write that run in the container."""
        return await engine("exec", self.name, "python", "-c", code)

    async def remove(self) -> None:
        """End it by force when it still runs, and forget it."""
        await engine("rm", "--force", self.name)
        await self.when_ended()
