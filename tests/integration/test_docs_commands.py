"""The commands of the documents that are marked for it do what the documents say."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats.jetstream import JetStream
from tests.integration.ports import free_port
from tests.integration.support import ConnectorCase, Program, reactor

ROOT = str(Path(__file__).parents[2])
# A marker, which readers do not see, the fenced block behind it, and the block behind that which shows the output.
_STEP = re.compile(
    r"^<!-- (?P<verb>file|run|start|stop|seen)(?:: (?P<argument>.*?))? -->\n(?:```\w*\n(?P<code>.*?)^```$\n)?"
    r"(?:\n```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
# The ports that the documents name, in whose place the tests take free ones.
_PORTS = ("4222", "8080", "8081")


class Page:
    """
    A document whose marked blocks are followed in their order, in an empty folder:

    * ``file: NAME`` writes the block there;
    * ``run`` runs it in a shell; a block ``text`` right behind it is in the output, ``...`` standing for anything;
    * ``start: TEXT`` starts the program that runs on, until that text is in its output;
    * ``stop: NAME`` ends the program of that name, as Ctrl-C does;
    * ``seen`` waits until each line of the block is in the output of some program.
    """

    def __init__(self, test: TestCase, name: str, ports: dict[str, str]) -> None:
        self._test = test
        self._text = (Path(ROOT) / "docs" / name).read_text()
        self._ports = ports
        self.folder = Path(test.mktemp())
        self._programs: dict[str, Program] = {}
        tools = self.folder / "bin"
        tools.mkdir(parents=True)
        if shutil.which("nats") is None:
            stand_in = tools / "nats"
            stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.integration.nats_cli "$@"\n')
            stand_in.chmod(0o755)
        here = Path(sys.executable).parent
        self._environment = {
            "PATH": f"{here}:{tools.absolute()}:{os.environ['PATH']}",
            "HOME": str(self.folder.absolute()),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": ROOT,
            "NATS_URL": f"nats://127.0.0.1:{ports['4222']}",
            "GATEWAY_URL": f"http://127.0.0.1:{ports['8080']}",
            "NATSCONNECTOR_ADMIN": f"tcp:{ports['8081']}:interface=127.0.0.1",
        }

    async def follow(self) -> int:
        """Do what it says; the number of steps."""
        steps = list(_STEP.finditer(self._text))
        for step in steps:
            code = step["code"] or ""
            for port, free in self._ports.items():
                code = re.sub(rf"\b{port}\b", free, code)
            await getattr(self, f"_{step['verb']}")(step["argument"], code, step["output"])
        return len(steps)

    async def _file(self, name: str, code: str, _: str | None) -> None:
        (self.folder / name).write_text(code)

    async def _run(self, _: str | None, code: str, output: str | None) -> None:
        out, err, status = await getProcessOutputAndValue(
            "/bin/bash", ["-euc", code], env=self._environment, path=str(self.folder), reactor=reactor
        )
        text = (out + err).decode()
        self._test.assertEqual(status, 0, f"{code}\n{text}")
        if output is not None:
            self._test.assertRegex(text, _pattern(output.strip()))

    async def _start(self, until: str, code: str, _: str | None) -> None:
        command = ["/bin/bash", "-c", f"exec {code}"]
        program = Program(
            lambda protocol: reactor.spawnProcess(
                protocol, command[0], command, env=self._environment, path=str(self.folder)
            )
        )
        self._programs[code.split()[0]] = program
        self._test.addCleanup(program.stop)
        await program.when_line(re.escape(until))

    async def _stop(self, name: str, code: str, _: str | None) -> None:
        program = self._programs.pop(name)
        program.signal("INT")
        await program.when_ended()

    async def _seen(self, _: str | None, code: str, output: str | None) -> None:
        program = self._programs["twistd"]
        for line in code.splitlines():
            await program.when_line(_pattern(line))


def _pattern(text: str) -> str:
    """A text as a regular expression, ``...`` standing for anything."""
    return r"[\s\S]*".join(re.escape(part) for part in re.split(r"\s*\.\.\.\s*", text))


class CommandsTests(TestCase):
    """What a reader is told to do."""

    async def page(self, name: str) -> Page:
        return Page(self, name, {port: str(await free_port()) for port in _PORTS})

    async def test_tutorial(self) -> None:
        """The tutorial works from its first line to its last."""
        page = await self.page("tutorial.md")
        steps = await page.follow()
        self.assertGreater(steps, 15)
        self.assertEqual((page.folder / "kept" / "words.txt").read_text(), "one word\n")

    async def test_testing(self) -> None:
        """The tests that the page on fakes shows pass."""
        page = await self.page("testing.md")
        self.assertEqual(await page.follow(), 4)


class AnswersTests(ConnectorCase):
    """docs/core-to-jetstream.md."""

    def make_server(self) -> NatsServer:
        return NatsServer(reactor, port=self.port, jetstream_dir=self.mktemp())

    async def test_publisher(self) -> None:
        """The publisher that waits for an answer hears that its message is stored, and then the answer."""
        page = (Path(ROOT) / "docs" / "core-to-jetstream.md").read_text()
        program = page.partition("```python\n")[2].partition("```")[0].replace("nats://127.0.0.1:4222", self.server.url)
        stream = {"name": "CALLS", "subjects": ["function.call"], "retention": "workqueue"}
        await JetStream(self.client).create_stream(stream)
        await self.connector("--stream", "CALLS", "--dead-letter", "none")
        out, err, status = await getProcessOutputAndValue(
            sys.executable, ["-c", program], env={**os.environ, "PYTHONPATH": ROOT}, reactor=reactor
        )
        self.assertEqual((err.decode(), status), ("", 0))
        self.assertRegex(out.decode(), r'^stored: \{"stream": ?"CALLS", ?"seq": ?1\}\ndone\n$')
