"""Dockerfile, Swarm, Compose and docs: valid, and in agreement with each other and with the settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import yaml
from twisted.trial.unittest import SynchronousTestCase

from natsconnector import __version__
from natsconnector.__main__ import COMMANDS
from natsconnector.commands import probe
from natsconnector.config import reading
from natsconnector.config.values import duration
from tests.deployment.agreement import KEYS, KNOWN_NAMES, ROOT, AgreementCase, text


def with_defaults(template: str) -> str:
    """What a Compose file is with none of its variables set: ``${NAME:-default}`` is the default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", template)


class DockerfileTests(AgreementCase):
    """The image, as far as the file tells."""

    def setUp(self) -> None:
        joined = text("Dockerfile").replace("\\\n", " ")
        self.steps = [
            (line.split(None, 1)[0], line.split(None, 1)[1].strip())
            for line in joined.splitlines()
            if line.strip() and not line.startswith("#")
        ]

    def of(self, word: str) -> list[str]:
        return [rest for step, rest in self.steps if step == word]

    def test_base(self) -> None:
        """The base image is an argument with the documented default, the same for both stages."""
        self.assertEqual(self.steps[0], ("ARG", "PYTHON_IMAGE=python:3.13-slim-bookworm"))
        self.assertEqual([rest.split()[0] for rest in self.of("FROM")], ["${PYTHON_IMAGE}"] * 2)

    def test_start(self) -> None:
        """It starts without a shell, as a numbered user that is not root; words after its name are flags."""
        self.assertEqual(self.of("ENTRYPOINT"), ['["twistd", "-n", "natsconnector"]'])
        self.assertEqual(self.of("CMD"), ["[]"])
        self.assertRegex(self.of("USER")[-1], r"^[1-9]\d*:[1-9]\d*$")

    def test_claims_nothing(self) -> None:
        """It exposes no port, since nobody outside can ask unless told to; it keeps no volume."""
        self.assertEqual(self.of("VOLUME") + self.of("EXPOSE"), [])

    def test_health(self) -> None:
        """Its health is asked for by the command that there is for it, without a shell, and in good time."""
        (check,) = self.of("HEALTHCHECK")
        self.assertTrue(check.endswith('CMD ["python", "-m", "natsconnector", "probe"]'), check)
        self.assertIn(probe, COMMANDS)

    def test_environment_names(self) -> None:
        """What it sets are settings, or names of Python and pip."""
        names = set(re.findall(r"(\w+)=", " ".join(self.of("ENV"))))
        others = {name for name in names - KNOWN_NAMES if not re.fullmatch(r"PATH|PYTHON[A-Z]+|PIP_[A-Z_]+", name)}
        self.assertEqual(others, set())

    def test_context(self) -> None:
        """What the build is given are the files that the wheel is made of, README.md once there is one."""
        given = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
        self.assertEqual(given, {"natsconnector", "twisted", "pyproject.toml", "setup.py", "LICENSE", "README.md"})
        for name in given - {"README.md"}:
            self.assertTrue((ROOT / name).exists(), name)


class SwarmTests(AgreementCase):
    """deployment/swarm/stack.yml"""

    def setUp(self) -> None:
        self.stack = yaml.safe_load(text("deployment/swarm/stack.yml"))
        (self.service,) = self.stack["services"].values()
        self.deploy = self.service["deploy"]

    def test_network(self) -> None:
        """It joins the network of OpenFaaS's stack, which it does not make."""
        self.assertEqual(self.stack["networks"], {"functions": {"external": True, "name": "func_functions"}})
        self.assertEqual(self.service["networks"], ["functions"])
        stand_in = yaml.safe_load(text("tests/deployment/swarm_openfaas.yml"))
        self.assertIn("functions", stand_in["networks"])

    def test_image(self) -> None:
        """The image that `make image` makes of this version."""
        self.assertEqual(self.service["image"], f"natsconnector:{__version__}")

    def test_environment(self) -> None:
        """Servers by their names on that network, and a grace period beyond the shutdown timeout."""
        read = self.assertEnvironment(self.service["environment"], duration(self.service["stop_grace_period"]))
        self.assertEqual((read.nats, read.gateway), (("nats://nats:4222",), "http://gateway:8080"))

    def test_availability(self) -> None:
        """Two replicas, of which an update replaces one after the other, the new before the old."""
        self.assertEqual(self.deploy["replicas"], 2)
        for way in ("update_config", "rollback_config"):
            self.assertEqual((self.deploy[way]["parallelism"], self.deploy[way]["order"]), (1, "start-first"))

    def test_locked_down(self) -> None:
        """A read-only root file system and no capability."""
        self.assertIs(self.service["read_only"], True)
        self.assertEqual(self.service["cap_drop"], ["ALL"])

    def test_secrets(self) -> None:
        """The service has just the secrets that the stack declares, and what it has is read."""
        secrets = self.service.get("secrets", [])
        self.assertEqual(set(secrets), set(self.stack.get("secrets", {})))
        self.assertSecretsMounted(self.service["environment"], {f"/run/secrets/{name}" for name in secrets})

    def test_credentials(self) -> None:
        """The file for a NATS server with a password adds a secret to the same service, and what reads it."""
        more = yaml.safe_load(text("deployment/swarm/credentials.yml"))
        self.assertEqual(set(more["services"]), set(self.stack["services"]))
        (service,) = more["services"].values()
        self.assertLessEqual(set(service["environment"]), KNOWN_NAMES)
        self.assertEqual(set(service["secrets"]), set(more["secrets"]))
        self.assertEqual({secret["external"] for secret in more["secrets"].values()}, {True})
        self.assertSecretsMounted(service["environment"], {f"/run/secrets/{name}" for name in service["secrets"]})

    def test_health(self) -> None:
        """A task counts as up when it takes messages; no port is published, and nothing waits for a fixed time."""
        command, *words = self.service["healthcheck"]["test"]
        self.assertEqual((command, words[:4]), ("CMD", ["python", "-m", "natsconnector", "probe"]))
        self.assertEqual(words[4:], ["--ready"])
        self.assertIsNotNone(self.assertEnvironment(self.service["environment"], 60.0).admin)
        self.assertNotIn("ports", self.service)
        for way in ("update_config", "rollback_config"):
            self.assertNotIn("delay", self.deploy[way])


class ComposeTests(AgreementCase):
    """deployment/compose/compose.yml"""

    def setUp(self) -> None:
        compose = yaml.safe_load(with_defaults(text("deployment/compose/compose.yml")))
        self.services: dict[str, dict[str, Any]] = compose["services"]
        self.volumes = compose["volumes"]

    def volume_names(self) -> Iterator[str]:
        for service in self.services.values():
            for volume in service.get("volumes", []):
                if not volume.startswith((".", "/")):
                    yield volume.split(":")[0]

    def test_services(self) -> None:
        """NATS with JetStream, the gateway and the connector, which finds both by their names."""
        self.assertEqual(set(self.services), {"nats", "gateway", "natsconnector"})
        self.assertIn("--jetstream", self.services["nats"]["command"])
        connector = self.services["natsconnector"]
        read = self.assertEnvironment(connector["environment"], duration(connector["stop_grace_period"]))
        self.assertLessEqual({urlsplit(read.nats[0]).hostname, urlsplit(read.gateway).hostname}, set(self.services))
        self.assertEqual(set(connector["depends_on"]), {"nats", "gateway"})

    def test_ports(self) -> None:
        """What other services are asked for is what they listen on, and only this machine reaches it."""
        read = reading.read({}, self.services["natsconnector"]["environment"])
        published = {port for service in self.services.values() for port in service.get("ports", [])}
        self.assertEqual(published, {"127.0.0.1:4222:4222", "127.0.0.1:8080:8080"})
        self.assertEqual((urlsplit(read.nats[0]).port, urlsplit(read.gateway).port), (4222, 8080))
        words = self.services["gateway"]["command"]
        self.assertEqual(words[words.index("--port") + 1], "8080")

    def test_results(self) -> None:
        """With its comments taken in, the gateway's queue posts to the connector, whose keys are beside the file."""
        file = with_defaults(text("deployment/compose/compose.yml"))
        file = re.sub(r"(?m)^( +)# (NATSCONNECTOR_\w+: |volumes: )", r"\1\2", file)
        services = yaml.safe_load(file)["services"]
        connector = services["natsconnector"]
        read = self.assertEnvironment(connector["environment"], duration(connector["stop_grace_period"]))
        address = urlsplit(read.callback_address or "")
        assert read.callback_listen is not None
        self.assertEqual((services[address.hostname], address.port), (connector, read.callback_listen.port))
        self.assertEqual(connector["volumes"], [f"./callback-keys:{connector['environment'][KEYS]}:ro"])
        self.assertEqual(read.reply_allow, ("_INBOX.>", "results.>"))

    def test_build(self) -> None:
        """What it builds with are arguments of the Dockerfile, at its defaults, and an extra that there is."""
        defaults = dict(re.findall(r'^ARG (\w+)="?([^"\n]*)"?$', text("Dockerfile"), re.MULTILINE))
        for name in ("gateway", "natsconnector"):
            build = self.services[name]["build"]
            self.assertEqual((ROOT / "deployment/compose" / build["context"]).resolve(), ROOT)
            self.assertLessEqual(set(build["args"]), set(defaults))
            self.assertEqual(build["args"]["PYTHON_IMAGE"], defaults["PYTHON_IMAGE"])
            self.assertRegex(text("pyproject.toml"), rf"(?m)^{build['args']['EXTRAS']} = \[")

    def test_health(self) -> None:
        """The image's health check asks a connector, which the gateway of the same image is not."""
        self.assertEqual(self.services["gateway"]["healthcheck"], {"disable": True})
        self.assertNotIn("healthcheck", self.services["natsconnector"])

    def test_volumes(self) -> None:
        """Every volume is declared, and the functions are where the gateway looks for them."""
        self.assertEqual(set(self.volume_names()), set(self.volumes))
        self.assertIn("../../examples:/functions:ro", self.services["gateway"]["volumes"])
        self.assertIn("/functions/stack.yml", self.services["gateway"]["command"])
        self.assertTrue((ROOT / "examples/stack.yml").is_file())


class DocsTests(SynchronousTestCase):
    """docs/deploying.md"""

    def test_names(self) -> None:
        """Every variable it speaks of is a setting, or one of the build and its tests."""
        others = set(re.findall(r"^ARG (\w+)", text("Dockerfile"), re.MULTILINE))
        others |= set(re.findall(r"^(\w+) [?:]?=", text("Makefile"), re.MULTILINE))
        others |= set(re.findall(r"\$\{(\w+):-", text("deployment/compose/compose.yml")))
        for path in (ROOT / "tests/deployment").glob("*.py"):
            others |= set(re.findall(r'environ\.get\("(\w+)"', path.read_text()))
        spoken = set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Za-z0-9_]+\b", text("docs/deploying.md")))
        self.assertEqual(spoken - KNOWN_NAMES - others, set())
        self.assertLessEqual({"NATS_HOST", "FAAS_GATEWAY", "FAAS_HOSt"}, spoken)

    def test_files(self) -> None:
        """Every file of the project that it names is there."""
        for name in re.findall(r"\b(?:deployment|tests|docs|examples)/[\w./-]*\w", text("docs/deploying.md")):
            self.assertTrue((ROOT / name).exists(), name)

    def test_make_targets(self) -> None:
        """So is every target of `make`."""
        targets = set(re.findall(r"^([\w-]+):", text("Makefile"), re.MULTILINE))
        spoken = set(re.findall(r"\bmake ([\w-]+)", text("docs/deploying.md")))
        self.assertEqual(spoken - targets, set())
        self.assertLessEqual({"image", "image-test"}, spoken)


class NoPlaceTests(SynchronousTestCase):
    """The files belong to no one's machine."""

    def test_no_registry(self) -> None:
        """No image is named by the host of a registry: whoever deploys has their own."""
        files = [ROOT / "Dockerfile", ROOT / "docs/deploying.md", *(ROOT / "deployment").rglob("*.*")]
        for path in files:
            found = re.findall(
                r"\b(?:docker\.io|ghcr\.io|quay\.io|[\w.-]*registry[\w-]*\.\w[\w.-]*)/", path.read_text()
            )
            self.assertEqual(found, [], path)
