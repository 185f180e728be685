"""
The image on a real engine: ``make image-test``. Ordinary test runs leave it out.

With Docker or podman, a nats-server and a recording gateway on this machine's loopback interface.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.trial.unittest import TestCase

from natsconnector import __version__
from natsconnector.local.nats_server import NatsServer
from natsconnector.nats import Msg, NatsClient
from tests.deployment.support import ENGINE, CommandFailed, Container, Follow, engine
from tests.integration.ports import free_port
from tests.integration.support import WAIT_S, Recorded, RecordingGateway, reactor

IMAGE = os.environ.get("TEST_IMAGE", "")
LOCKED_DOWN = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


def envelope(body: str) -> bytes:
    return json.dumps({"function": "figlet", "params": {"body": body}}).encode()


def instant(text: str) -> float:
    """Seconds of a time with up to nine decimals, as engines write it."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text).replace("Z", "+00:00")).timestamp()


class ImageCase(TestCase):
    """A nats-server, a recording gateway, a client; containers as a test wants them."""

    if not IMAGE:
        skip = "asked for by `make image-test`"
    elif shutil.which(ENGINE) is None:
        skip = f"there is no {ENGINE} here"

    async def setUp(self) -> None:  # type: ignore[override]
        self.server = NatsServer(reactor)
        await self.server.start()
        self.addCleanup(self.server.stop)
        self.gateway = RecordingGateway()
        await self.gateway.start()
        self.addCleanup(self.gateway.stop)
        self.client = NatsClient(reactor, [self.server.url])
        self.client.start()
        await self.client.when_ready()
        self.addCleanup(self.client.close)

    def container(
        self, *flags: str, options: tuple[str, ...] = LOCKED_DOWN, environment: dict[str, str] | None = None
    ) -> Container:
        name = f"natsconnector-test-{os.getpid()}-{time.monotonic_ns()}"
        variables = [word for pair in (environment or {}).items() for word in ("--env", "=".join(pair))]
        container = Container(name, IMAGE, *flags, options=("--network", "host", *options, *variables))
        self.addCleanup(container.remove)
        return container

    async def ready(self, *flags: str, options: tuple[str, ...] = LOCKED_DOWN) -> Container:
        """A container whose connector is ready, with the two settings that everybody needs."""
        environment = {"NATS_HOST": self.server.url, "FAAS_GATEWAY": self.gateway.url}
        container = self.container(*flags, options=options, environment=environment)
        await container.when_line("natsconnector ready")
        return container

    def request(self, body: str) -> Deferred[Msg]:
        return self.client.request("function.call", envelope(body), timeout_s=WAIT_S)


class RunningTests(ImageCase):
    """What a user sees who starts it."""

    async def test_settings_and_cost(self) -> None:
        """It runs with NATS_HOST and FAAS_GATEWAY and answers a request; size, start time and memory are printed."""
        begun = time.time()
        container = await self.ready()
        ready = next(line for line in container.lines if "natsconnector ready" in line)
        ready_at = instant(ready.split()[0])
        state = (await container.inspect())["State"]
        self.assertEqual((await self.request("Hello World")).payload, b"done")
        self.assertEqual(self.gateway.requests[0].path, "/function/figlet")
        memory = re.search(r"VmRSS:\s+(\d+)", await container.python("print(open('/proc/1/status').read())"))
        assert memory is not None
        size = int(json.loads(await engine("image", "inspect", IMAGE))[0]["Size"])
        print(
            f"\nimage {IMAGE}: {size / 1e6:.0f} MB; {int(memory[1]) / 1024:.0f} MiB resident; ready"
            f" {ready_at - instant(state['StartedAt']):.2f} s after its process was started,"
            f" {ready_at - begun:.2f} s after `{ENGINE} run`"
        )

    async def test_names_and_values_of_others(self) -> None:
        """The misspelt FAAS_HOSt counts, as do hosts without scheme."""
        for name in ("FAAS_HOSt", "FAAS_GATEWAY"):
            environment = {"NATS_HOST": f"127.0.0.1:{self.server.port}", name: f"127.0.0.1:{self.gateway.port}"}
            container = self.container(environment=environment)
            await container.when_line("natsconnector ready")
            self.assertEqual((await self.request(name)).payload, b"done")
            await container.remove()
        self.assertEqual(self.gateway.count(), {b"FAAS_HOSt": 1, b"FAAS_GATEWAY": 1})

    async def test_flags(self) -> None:
        """Words after the image's name are flags of natsconnector."""
        container = self.container("--nats", self.server.url, "--gateway", self.gateway.url, "--log-format", "json")
        await container.when_line("natsconnector ready")
        self.assertEqual((await self.request("flags")).payload, b"done")
        for line in container.lines:
            self.assertIn("message", json.loads(line))

    async def test_version(self) -> None:
        """It says which version it is, and ends."""
        container = self.container("--version")
        await container.when_ended()
        self.assertEqual((container.lines, await container.exit_code()), ([f"natsconnector {__version__}"], 0))

    async def test_configuration_that_cannot_work(self) -> None:
        """It says what is wrong and ends with a code that is not 0."""
        container = self.container("--timeout", "x", environment={"max_inflight": "no"})
        await container.when_ended()
        text = "\n".join(container.lines)
        self.assertIn("--timeout: 'x' is not a duration", text)
        self.assertIn("max_inflight: 'no' is not a whole number", text)
        self.assertNotEqual(await container.exit_code(), 0)


class LockedDownTests(ImageCase):
    """It needs no rights and writes nothing."""

    async def test_no_rights(self) -> None:
        """It runs as a user that is not root, has no capabilities and can get none."""
        container = await self.ready()
        status = dict(
            line.split(":", 1) for line in (await container.python("print(open('/proc/1/status').read())")).splitlines()
        )
        self.assertEqual(status["Uid"].split(), ["10001"] * 4)
        self.assertEqual(status["Gid"].split(), ["10001"] * 4)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)
        self.assertEqual(status["NoNewPrivs"].strip(), "1")

    async def test_writes_nothing(self) -> None:
        """From start to end it changes no file, though it could: no pid file, no byte code, no plugin cache."""
        container = await self.ready("--log-level", "debug", options=())
        await self.request("one")
        await engine("stop", container.name)
        await container.when_ended()
        changed = {line.split()[1] for line in (await engine("diff", container.name)).splitlines()}
        self.assertEqual(changed - {"/etc", "/etc/passwd", "/etc/group"}, set())  # where podman names the user

    async def test_plugin_cache(self) -> None:
        """Twisted takes the plugin cache of the image as it is: on a read-only file system it would complain."""
        container = await self.ready("--log-level", "debug")
        self.assertNotIn("plugin cache", "\n".join(container.lines))

    async def test_cannot_write(self) -> None:
        """What belongs to the connector belongs to root, so that a writable file system changes nothing."""
        container = await self.ready(options=())
        found = await container.python(
            "import os, sys\n"
            "for folder, folders, files in os.walk('/opt'):\n"
            "    for name in [*folders, *files]:\n"
            "        path = os.path.join(folder, name)\n"
            "        if not os.path.islink(path) and os.access(path, os.W_OK): print(path)\n"
        )
        self.assertEqual(found, "")

    async def test_metadata(self) -> None:
        """The image says what it is, starts without a shell and opens no port."""
        config: Any = json.loads(await engine("image", "inspect", IMAGE))[0]["Config"]
        self.assertEqual(config["User"], "10001:10001")
        self.assertEqual(config["Entrypoint"], ["twistd", "-n", "natsconnector"])
        self.assertFalse(config.get("Cmd"))
        self.assertFalse(config.get("ExposedPorts"))
        self.assertFalse(config.get("Volumes"))
        if ENGINE == "docker":  # podman's own format of images has no health check
            self.assertEqual(config["Healthcheck"]["Test"], ["CMD", "python", "-m", "natsconnector", "probe"])
        self.assertEqual(config["Labels"]["org.opencontainers.image.title"], "natsconnector")
        self.assertEqual(config["Labels"]["org.opencontainers.image.version"], __version__)


class StoppingTests(ImageCase):
    """``docker stop``: SIGTERM for process 1."""

    async def test_calls_in_flight(self) -> None:
        """20 calls in flight and 20 messages in the backlog are all answered before it ends, which it does cleanly."""
        waiting: list[Recorded] = []
        self.gateway.respond = waiting.append
        container = await self.ready("--max-inflight", "20")
        answers = [self.request(str(number)) for number in range(40)]
        await self.gateway.when_requests(20)
        stopped = Deferred.fromCoroutine(engine("stop", "--time", "35", container.name))
        await container.when_line("stopping: 20 calls in flight, 20 messages wait")
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 200, b"done")
        for recorded in waiting:
            self.gateway.answer(recorded, 200, b"done")
        for _, answer in await DeferredList(answers, fireOnOneErrback=True):
            self.assertEqual(answer.payload, b"done")
        await stopped
        await container.when_ended()
        self.assertEqual(set(self.gateway.count().values()), {1})
        self.assertEqual(len(self.gateway.requests), 40)
        self.assertIn(await container.exit_code(), (0, 143))

    async def test_shutdown_time_is_over(self) -> None:
        """A call that never ends is answered 503, before the engine would use force."""
        self.gateway.respond = lambda recorded: None
        container = await self.ready("--shutdown-timeout", "200ms")
        answer = self.request("never")
        await self.gateway.when_requests(1)
        await engine("stop", "--time", "35", container.name)
        self.assertEqual((await answer).headers.get("Nats-Service-Error-Code"), "503")
        await container.when_ended()
        self.assertIn(await container.exit_code(), (0, 143))

    async def test_idle(self) -> None:
        """With nothing to do it ends at once; how long that took is printed."""
        container = await self.ready()
        begun = time.monotonic()
        await engine("stop", "--time", "35", container.name)
        took = time.monotonic() - begun
        await container.when_ended()
        code = await container.exit_code()
        print(f"\n`{ENGINE} stop` of an idle connector: {took:.2f} s, exit code {code}")
        self.assertIn(code, (0, 143))
        self.assertLess(took, 10.0)


class HealthTests(ImageCase):
    """What the engine says of it by the image's own health check, asked more often here so that the test is shorter."""

    if ENGINE != "docker":
        skip = "podman's own format of images has no health check"

    async def test_stopped_process(self) -> None:
        """It is healthy; unhealthy while its process is stopped, which says why; and healthy again."""
        admin = f"tcp:{await free_port()}:interface=127.0.0.1"
        often = ("--health-interval", "1s", "--health-retries", "1", "--env", f"NATSCONNECTOR_ADMIN={admin}")
        begun = f"{time.time():.0f}"
        container = await self.ready(options=(*LOCKED_DOWN, *often))
        words = ("--since", begun, "--filter", f"container={container.name}", "--filter", "event=health_status")
        events = Follow("events", *words)
        self.addCleanup(events.end)
        await events.when_line("health_status: healthy")
        self.assertEqual((await container.inspect())["State"]["Health"]["Status"], "healthy")
        await engine("kill", "--signal", "STOP", container.name)
        await events.when_line("health_status: unhealthy")
        health = (await container.inspect())["State"]["Health"]
        self.assertEqual(health["Status"], "unhealthy")
        self.assertIn("has not answered within 5 s", health["Log"][-1]["Output"])
        await engine("kill", "--signal", "CONT", container.name)
        await events.when_line("health_status: healthy", times=2)

    async def test_without_nats(self) -> None:
        """Without NATS it is healthy, since starting it anew would mend nothing, and says that it is not ready."""
        admin = f"tcp:{await free_port()}:interface=127.0.0.1"
        environment = {"NATS_HOST": f"127.0.0.1:{await free_port()}", "NATSCONNECTOR_ADMIN": admin}
        container = self.container(environment=environment)
        await container.when_line("health and metrics on")
        await engine("exec", container.name, "python", "-m", "natsconnector", "probe")
        with self.assertRaises(CommandFailed) as caught:
            await engine("exec", container.name, "python", "-m", "natsconnector", "probe", "--ready")
        self.assertIn("answered 503", str(caught.exception))
