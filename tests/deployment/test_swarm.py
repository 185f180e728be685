"""
The stack file on a swarm of one node: ``TEST_SWARM=1 python -m tests tests.deployment.test_swarm``.

It makes the swarm and leaves it. Ordinary test runs leave it out. It needs a Docker engine that is in no swarm, and
two images: ``make image`` and ``make image IMAGE=natsconnector-local EXTRAS=embedded``.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from natsconnector import __version__
from natsconnector.nats import NatsClient
from tests.deployment.support import CommandFailed, Follow, engine
from tests.integration.support import WAIT_S, reactor

HERE = Path(__file__).parent
FILES = HERE.parent.parent / "deployment" / "swarm"
SERVICE = "natsconnector_natsconnector"
ASKERS = 10


class Requests:
    """
    Requests of some askers, each of which asks again once it is answered, each time with another body.

    What becomes of them is counted. There are always calls in flight, and a slow machine gets no more than it can do.
    """

    def __init__(self, client: NatsClient) -> None:
        self.sent = 0
        self.results: Counter[str] = Counter()
        self.longest_s = 0.0
        self._client = client
        self._is_over = False
        self._askers = [Deferred.fromCoroutine(self._ask()) for _ in range(ASKERS)]

    async def finish(self) -> None:
        """Send no more, and wait for what is open."""
        self._is_over = True
        for asker in self._askers:
            await asker

    async def _ask(self) -> None:
        while not self._is_over:
            self.sent += 1
            body = str(self.sent)
            payload = json.dumps({"function": "echo", "params": {"body": body}}).encode()
            begun = time.monotonic()
            try:
                answer = await self._client.request("function.call", payload, timeout_s=WAIT_S)
            except Exception as e:
                self.results[type(e).__name__] += 1
                continue
            self.longest_s = max(self.longest_s, time.monotonic() - begun)
            code = answer.headers.get("Nats-Service-Error-Code")
            self.results[code or ("answered" if answer.payload == body.encode() else "wrong answer")] += 1


class SwarmTests(TestCase):
    """The stack as it is, beside small stand-ins for what it finds of OpenFaaS."""

    timeout = 900
    if os.environ.get("TEST_SWARM") != "1":
        skip = "asked for by TEST_SWARM=1"

    async def setUp(self) -> None:  # type: ignore[override]
        await engine("swarm", "init", "--advertise-addr", "127.0.0.1")
        self.addCleanup(self._leave)
        for name, value in (("basic-auth-user", "admin"), ("basic-auth-password", "the-admin-password")):
            path = Path(self.mktemp())
            path.write_text(f"{value}\n")
            await engine("secret", "create", name, str(path))

    async def start(self, *files: str, login: str = "", nats_flags: str = "") -> None:
        """Deploy the stack of these files; fires when both replicas are ready and :attr:`client` is."""
        image = f"natsconnector-local:{__version__}"
        await self._deploy("func", HERE / "swarm_openfaas.yml", IMAGE=image, NATS_FLAGS=nats_flags)
        await self._deploy("natsconnector", *(FILES / file for file in files))
        self.logs = Follow("service", "logs", "--follow", "--raw", SERVICE)
        self.addCleanup(self.logs.end)
        await self.logs.when_line("natsconnector ready", times=2)
        self.client = NatsClient(reactor, [f"nats://{login}{await self._address('func_nats')}:4222"])
        self.client.start()
        self.addCleanup(self.client.close)
        await self.client.when_ready()

    async def _deploy(self, name: str, *files: Path, **environment: str) -> None:
        words = [word for file in files for word in ("--compose-file", str(file))]
        await engine("stack", "deploy", "--detach=false", "--resolve-image", "never", *words, name, **environment)

    async def _leave(self) -> None:
        await engine("stack", "rm", "--detach=false", "natsconnector")
        await engine("stack", "rm", "--detach=false", "func")
        await engine("swarm", "leave", "--force")
        with contextlib.suppress(CommandFailed):  # others use it
            await engine("network", "rm", "docker_gwbridge")

    async def _address(self, service: str) -> str:
        """Where this machine reaches a service's task, of which no port is published."""
        label = f"label=com.docker.swarm.service.name={service}"
        container = await engine("ps", "--quiet", "--no-trunc", "--filter", label)
        bridge = json.loads(await engine("network", "inspect", "docker_gwbridge"))[0]
        return str(bridge["Containers"][container]["IPv4Address"].split("/")[0])

    async def _tasks(self) -> int:
        words = ("service", "ps", "--filter", "desired-state=running", "--format", "{{.CurrentState}}", SERVICE)
        return sum(line.startswith("Running") for line in (await engine(*words)).splitlines())

    async def test_update_and_scale(self) -> None:
        """A rolling update, a scale to 3 and back, under requests: each one is answered, and rightly."""
        await self.start("stack.yml")
        self.assertEqual(await self._tasks(), 2)
        requests = Requests(self.client)
        begun = time.monotonic()
        await engine("service", "update", "--detach=false", "--env-add", "NATSCONNECTOR_LOG_LEVEL=debug", SERVICE)
        print(f"\nupdated after {time.monotonic() - begun:.0f} s")
        await self.logs.when_line("natsconnector ready", times=4)
        await engine("service", "scale", "--detach=false", f"{SERVICE}=3")
        await self.logs.when_line("natsconnector ready", times=5)
        self.assertEqual(await self._tasks(), 3)
        print(f"scaled to 3 after {time.monotonic() - begun:.0f} s")
        await engine("service", "scale", "--detach=false", f"{SERVICE}=2")
        await self.logs.when_line("stopping: ", times=3)
        print(f"scaled to 2 after {time.monotonic() - begun:.0f} s")
        await requests.finish()
        took = time.monotonic() - begun
        in_flight = [line.split("stopping: ")[1].split(",")[0] for line in self.logs.lines if "stopping: " in line]
        print(
            f"{requests.sent} requests in {took:.0f} s: {dict(requests.results)},"
            f" the slowest {requests.longest_s:.2f} s; when tasks were stopped: {', '.join(in_flight)}"
        )
        self.assertEqual(requests.results, {"answered": requests.sent})
        self.assertGreater(requests.sent, ASKERS)
        self.assertEqual(await self._tasks(), 2)

    async def test_update_that_never_is_ready(self) -> None:
        """An update to a NATS that is not there is rolled back at its first task; all requests are answered."""
        await self.start("stack.yml")
        requests = Requests(self.client)
        # The task gives up sooner than after the stack's five minutes, so that the test is shorter.
        soon = ("--health-interval", "1s", "--health-retries", "3")
        with contextlib.suppress(CommandFailed):  # some clients count it as a failure
            await engine(
                "service", "update", "--detach=false", "--env-add", "NATS_HOST=nats://127.0.0.1:4", *soon, SERVICE
            )
        await requests.finish()
        state = await engine("service", "inspect", "--format", "{{.UpdateStatus.State}}", SERVICE)
        print(f"\n{state}; {requests.sent} requests: {dict(requests.results)}")
        self.assertEqual(state, "rollback_completed")
        self.assertEqual(requests.results, {"answered": requests.sent})
        self.assertGreater(requests.sent, ASKERS)
        self.assertEqual(await self._tasks(), 2)

    async def test_secret(self) -> None:
        """Where NATS asks for a password, it comes from the swarm's secret, and is in no log."""
        path = Path(self.mktemp())
        path.write_text("the-password\n")
        await engine("secret", "create", "nats-password", str(path))
        flags = "--user natsconnector --pass the-password"
        await self.start("stack.yml", "credentials.yml", login="natsconnector:the-password@", nats_flags=flags)
        payload = b'{"function": "echo", "params": {"body": "with a password"}}'
        answer = await self.client.request("function.call", payload, timeout_s=WAIT_S)
        self.assertEqual(answer.payload, b"with a password")
        await self.logs.when_line("functions: 1, topics: none", times=2)
        self.assertEqual(self.logs.count("the-password") + self.logs.count("the-admin-password"), 0)
