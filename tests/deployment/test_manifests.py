"""Dockerfile, manifests and docs: valid, and in agreement with each other and with the settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlsplit

import kubernetes_validate  # type: ignore[import-untyped]
import yaml
from twisted.trial.unittest import SynchronousTestCase

from natsconnector import __version__
from natsconnector.__main__ import COMMANDS
from natsconnector.admin.health import Health
from natsconnector.admin.resources import pages
from natsconnector.commands import probe
from natsconnector.config import reading, settings
from natsconnector.config.values import duration

ROOT = Path(__file__).parent.parent.parent
KNOWN_NAMES = {flag.environment_name for flag in settings.FLAGS} | {a.name for f in settings.FLAGS for a in f.aliases}
# What ending takes beyond the shutdown timeout: the last answers are flushed, connections closed.
LAST_MOMENTS_S = 5.0


def text(path: str) -> str:
    return (ROOT / path).read_text()


def with_defaults(template: str) -> str:
    """What a Compose file is with none of its variables set: ``${NAME:-default}`` is the default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", template)


class AgreementCase(SynchronousTestCase):
    """What holds for every way of deploying."""

    def assertEnvironment(self, environment: Mapping[str, str], grace_s: float) -> settings.Settings:
        """The settings take all of it without a complaint, and leave time to end in."""
        for name, value in environment.items():
            self.assertIsInstance(value, str, f"{name}: quote it, YAML takes it for something else")
        self.assertLessEqual(set(environment), KNOWN_NAMES)
        # Files of secrets are there only where it is deployed.
        read = reading.read({}, {name: value for name, value in environment.items() if not value.startswith("/")})
        self.assertEqual(read.warnings, ())
        self.assertGreaterEqual(grace_s, read.shutdown_timeout_s + LAST_MOMENTS_S)
        return read

    def assertSecretsMounted(self, environment: Mapping[str, str], folders: set[str]) -> None:
        """Files of secrets that a setting names are where the deployment puts them, and no secret is there unread."""
        paths = [Path(value) for value in environment.values() if value.startswith("/")]

        def agree(path: Path, folder: str) -> bool:
            return path.is_relative_to(folder) or Path(folder).is_relative_to(path)

        for path in paths:
            self.assertTrue(any(agree(path, folder) for folder in folders), f"nothing is mounted at {path}")
        for folder in folders:
            self.assertTrue(any(agree(path, folder) for path in paths), f"nothing reads {folder}")


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


class KubernetesTests(AgreementCase):
    """deployment/k8s/deployment.yml"""

    def setUp(self) -> None:
        self.objects: list[dict[str, Any]] = list(yaml.safe_load_all(text("deployment/k8s/deployment.yml")))
        self.deployment, self.budget = self.objects
        self.spec = self.deployment["spec"]
        self.pod = self.spec["template"]["spec"]
        (self.container,) = self.pod["containers"]
        self.environment = {entry["name"]: entry["value"] for entry in self.container["env"]}

    def test_valid(self) -> None:
        """An API server takes it, old or new: no unknown field, no wrong type."""
        for version in ("1.25", "1.30", kubernetes_validate.latest_version()):
            for manifest in self.objects:
                kubernetes_validate.validate(manifest, version, strict=True)

    def test_kinds(self) -> None:
        """A deployment and what protects it, in the namespace of OpenFaaS, under one name."""
        self.assertEqual([o["kind"] for o in self.objects], ["Deployment", "PodDisruptionBudget"])
        self.assertEqual({o["metadata"]["namespace"] for o in self.objects}, {"openfaas"})
        self.assertEqual({o["metadata"]["name"] for o in self.objects} | {self.container["name"]}, {"nats-connector"})

    def test_labels(self) -> None:
        """Every selector finds the pods; the labels are those that OpenFaaS's parts carry."""
        labels = self.spec["template"]["metadata"]["labels"]
        (spread,) = self.pod["topologySpreadConstraints"]
        selectors = [self.spec["selector"], self.budget["spec"]["selector"], spread["labelSelector"]]
        for selector in selectors:
            self.assertEqual(selector, {"matchLabels": {"app": "nats-connector", "component": "nats-connector"}})
            self.assertLessEqual(selector["matchLabels"].items(), labels.items())
        self.assertEqual(self.deployment["metadata"]["labels"], labels)
        self.assertEqual(labels["app.kubernetes.io/part-of"], "openfaas")
        self.assertEqual(labels["app.kubernetes.io/version"], __version__)

    def test_image(self) -> None:
        """The image that `make image` makes of this version."""
        self.assertEqual(self.container["image"], f"natsconnector:{__version__}")

    def test_availability(self) -> None:
        """Three replicas, of which an update takes none away and a drained node one at a time."""
        self.assertEqual(self.spec["replicas"], 3)
        self.assertEqual(self.spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0)
        self.assertEqual(self.budget["spec"]["maxUnavailable"], 1)

    def test_environment(self) -> None:
        """Servers by their names in the cluster, and a grace period beyond the shutdown timeout."""
        read = self.assertEnvironment(self.environment, self.pod["terminationGracePeriodSeconds"])
        self.assertEqual((read.nats, read.gateway), (("nats://nats.openfaas:4222",), "http://gateway.openfaas:8080"))
        self.assertLessEqual({"NATS_HOST", "FAAS_GATEWAY"}, set(self.environment))

    def test_results(self) -> None:
        """What is there as comments, for results over NATS: valid, and names that agree."""
        written = re.sub(
            r"^( *)# (---|\w+:(?: \S+)?|- \w+: \S+| +[^ ].*)$",
            r"\1\2",
            text("deployment/k8s/deployment.yml"),
            flags=re.M,
        )
        deployment, _, service = yaml.safe_load_all(written)
        for manifest in (deployment, service):
            kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        keys = Path(self.mktemp())
        keys.write_text("k" * 32)
        key_file = Path(environment["NATSCONNECTOR_CALLBACK_KEY_FILE"])
        read = reading.read({}, {**environment, "NATSCONNECTOR_CALLBACK_KEY_FILE": str(keys)})
        (mount,) = container["volumeMounts"]
        self.assertEqual(str(key_file.parent), mount["mountPath"])
        self.assertEqual(mount["name"], pod["volumes"][0]["name"])
        self.assertIn(f"--from-file={key_file.name}", written)
        address = urlsplit(read.callback_address or "")
        name = f"{service['metadata']['name']}.{service['metadata']['namespace']}"
        (port,) = service["spec"]["ports"]
        self.assertEqual((address.hostname, address.port), (name, port["port"]))
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert read.callback_listen is not None
        self.assertEqual(ports[port["targetPort"]], read.callback_listen.port)
        self.assertLessEqual(
            service["spec"]["selector"].items(), deployment["spec"]["template"]["metadata"]["labels"].items()
        )

    def test_locked_down(self) -> None:
        """The user of the Dockerfile, a read-only root file system, no capability, no token, the default seccomp."""
        (user,) = re.findall(r"^USER (\d+):(\d+)$", text("Dockerfile"), re.MULTILINE)
        context = self.pod["securityContext"]
        self.assertEqual((context["runAsUser"], context["runAsGroup"]), tuple(map(int, user)))
        self.assertIs(context["runAsNonRoot"], True)
        self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertEqual(
            self.container["securityContext"],
            {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        )
        self.assertIs(self.pod["automountServiceAccountToken"], False)

    def test_mounts(self) -> None:
        """Each mount has its volume and each volume its mount, and what is mounted is read."""
        mounts = self.container.get("volumeMounts", [])
        self.assertEqual({m["name"] for m in mounts}, {v["name"] for v in self.pod.get("volumes", [])})
        self.assertSecretsMounted(self.environment, {m["mountPath"] for m in mounts})

    def test_probes(self) -> None:
        """What is asked for from outside is answered there: the port, the paths, and the annotations for Prometheus."""
        admin = self.assertEnvironment(self.environment, 60.0).admin
        assert admin is not None
        self.assertEqual((admin.host, self.container["ports"]), ("", [{"name": "admin", "containerPort": admin.port}]))
        asked = {name: self.container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
        self.assertEqual({get["port"] for get in asked.values()}, {"admin"})
        self.assertEqual(
            {name: get["path"] for name, get in asked.items()},
            {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"},
        )
        annotations = self.spec["template"]["metadata"]["annotations"]
        self.assertEqual(annotations["prometheus.io/port"], str(admin.port))
        self.assertEqual(annotations["prometheus.io/path"], "/metrics")
        paths = {annotations["prometheus.io/path"], *(get["path"] for get in asked.values())}
        self.assertLessEqual(paths, {path.decode() for path in pages(Health((), lambda: None), Mock(), Mock()).paths})

    def test_no_stand_ins(self) -> None:
        """Nothing waits for a fixed time where a probe tells."""
        self.assertNotIn("minReadySeconds", self.spec)
        self.assertFalse([name for name in self.container if "initialDelaySeconds" in self.container[name]])


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
        files = [ROOT / "Dockerfile", ROOT / "docs/deploying.md", *(ROOT / "deployment").rglob("*.yml")]
        for path in files:
            found = re.findall(
                r"\b(?:docker\.io|ghcr\.io|quay\.io|[\w.-]*registry[\w-]*\.\w[\w.-]*)/", path.read_text()
            )
            self.assertEqual(found, [], path)
