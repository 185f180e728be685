"""The examples, as processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.integration.support import reactor

EXAMPLES = Path(__file__).parents[2] / "examples"


class _Demo(ProcessProtocol):
    """Sends SIGTERM as soon as the demo only waits; fires with what it printed."""

    def __init__(self) -> None:
        self.output = b""
        self.has_term = False
        self.when_ended: Deferred[str] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.output += data
        if not self.has_term and b"curl -d" in self.output:
            self.has_term = True
            assert self.transport is not None
            self.transport.signalProcess("TERM")

    def processEnded(self, reason: Failure) -> None:
        if reason.check(ProcessDone):
            self.when_ended.callback(self.output.decode())
        else:
            self.when_ended.errback(reason)


class ExamplesTests(TestCase):
    """What they say when something is missing, and what they leave behind."""

    timeout = 60

    async def test_no_server(self) -> None:
        """The publishers do not wait for ever, and say why."""
        runs: list[Deferred[Any]] = [
            getProcessOutputAndValue(
                sys.executable, [str(EXAMPLES / name), "--nats", "nats://127.0.0.1:1"], {}, reactor=reactor
            )
            for name in ("nats_pub.py", "nats_pub_async.py")
        ]
        for output, errors, code in await gatherResults(runs):
            self.assertEqual((output, code), (b"", 1))
            self.assertIn(b"no connection to NATS: cannot connect to NATS 127.0.0.1:1", errors)

    async def test_demo_is_ended(self) -> None:
        """The demo takes the connector it has started with it."""
        demo = _Demo()
        reactor.spawnProcess(demo, sys.executable, [sys.executable, str(EXAMPLES / "demo.py")], env=None)
        output = await demo.when_ended
        self.assertIn("2 succeeded, 0 failed", output)
        self.assertIn("Server Shut Down", output)
