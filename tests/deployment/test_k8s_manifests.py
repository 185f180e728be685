"""deployment/k8s: valid, and in agreement with each other, the image and the settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlsplit

import yaml

from natsconnector import __version__
from natsconnector.admin.health import Health
from natsconnector.admin.resources import pages
from natsconnector.config import reading
from tests.deployment.agreement import KEYS, AgreementCase, assert_valid, mounted_paths, text


def document(name: str) -> str:
    """The text of a file of deployment/k8s."""
    return text(f"deployment/k8s/{name}.yml")


def with_blocks(manifest: str) -> str:
    """A manifest with its commented blocks used: lines that begin with # but no single blank after it."""
    head, begin, objects = manifest.partition("apiVersion")
    return head + begin + re.sub(r"(?m)^( *)#(?=[^ \n]|  )", r"\1", objects)


class Manifest:
    """A file with a Deployment and its PodDisruptionBudget."""

    def __init__(self, manifest: str) -> None:
        self.objects: list[dict[str, Any]] = list(yaml.safe_load_all(manifest))
        self.deployment, self.budget = self.objects
        self.spec = self.deployment["spec"]
        self.pod = self.spec["template"]["spec"]
        (self.container,) = self.pod["containers"]
        self.environment = {entry["name"]: entry["value"] for entry in self.container["env"]}


class KubernetesTests(AgreementCase):
    """deployment/k8s/deployment.yml"""

    def setUp(self) -> None:
        self.core = Manifest(document("deployment"))

    def test_valid(self) -> None:
        """An API server takes it, old or new: no unknown field, no wrong type."""
        assert_valid(self.core.objects)

    def test_kinds(self) -> None:
        """A deployment and what protects it, in the namespace of OpenFaaS, under one name."""
        self.assertEqual([o["kind"] for o in self.core.objects], ["Deployment", "PodDisruptionBudget"])
        self.assertEqual({o["metadata"]["namespace"] for o in self.core.objects}, {"openfaas"})
        self.assertEqual(
            {o["metadata"]["name"] for o in self.core.objects} | {self.core.container["name"]},
            {"nats-connector"},
        )

    def test_labels(self) -> None:
        """Every selector finds the pods; the labels are those that OpenFaaS's parts carry."""
        labels = self.core.spec["template"]["metadata"]["labels"]
        (spread,) = self.core.pod["topologySpreadConstraints"]
        selectors = [self.core.spec["selector"], self.core.budget["spec"]["selector"], spread["labelSelector"]]
        for selector in selectors:
            self.assertEqual(selector, {"matchLabels": {"app": "nats-connector", "component": "nats-connector"}})
            self.assertLessEqual(selector["matchLabels"].items(), labels.items())
        self.assertEqual(self.core.deployment["metadata"]["labels"], labels)
        self.assertEqual(labels["app.kubernetes.io/part-of"], "openfaas")
        self.assertEqual(labels["app.kubernetes.io/version"], __version__)

    def test_image(self) -> None:
        """The image that `make image` makes of this version."""
        self.assertEqual(self.core.container["image"], f"natsconnector:{__version__}")

    def test_availability(self) -> None:
        """Three replicas, of which an update takes none away and a drained node one at a time."""
        self.assertEqual(self.core.spec["replicas"], 3)
        self.assertEqual(self.core.spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0)
        self.assertEqual(self.core.budget["spec"]["maxUnavailable"], 1)
        self.assertEqual(self.core.budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow")

    def test_environment(self) -> None:
        """Servers by their names in the cluster, and a grace period beyond the shutdown timeout."""
        read = self.assertEnvironment(self.core.environment, self.core.pod["terminationGracePeriodSeconds"])
        self.assertEqual((read.nats, read.gateway), (("nats://nats.openfaas:4222",), "http://gateway.openfaas:8080"))
        self.assertLessEqual({"NATS_HOST", "FAAS_GATEWAY"}, set(self.core.environment))

    def test_locked_down(self) -> None:
        """The user of the Dockerfile, a read-only root file system, no capability, no token, the default seccomp."""
        (user,) = re.findall(r"^USER (\d+):(\d+)$", text("Dockerfile"), re.MULTILINE)
        context = self.core.pod["securityContext"]
        self.assertEqual((context["runAsUser"], context["runAsGroup"]), tuple(map(int, user)))
        self.assertIs(context["runAsNonRoot"], True)
        self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertEqual(
            self.core.container["securityContext"],
            {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        )
        self.assertIs(self.core.pod["automountServiceAccountToken"], False)

    def test_blocks(self) -> None:
        """What is commented to be used is so: topics, and two kinds of credentials, each mounted and read."""
        manifest = Manifest(with_blocks(document("deployment")))
        assert_valid(manifest.objects)
        read = self.assertEnvironment(manifest.environment, manifest.pod["terminationGracePeriodSeconds"])
        self.assertEqual(read.topics, ("orders.*", "payments.>"))
        files = {name: value for name, value in manifest.environment.items() if value.startswith("/")}
        self.assertEqual(set(files), {"NATSCONNECTOR_GATEWAY_CREDENTIALS", "NATSCONNECTOR_NATS_CREDS"})
        self.assertSecretsMounted(files, mounted_paths(manifest.pod, manifest.container))

    def test_nothing_mounted(self) -> None:
        """Without them it needs no secret."""
        self.assertEqual(mounted_paths(self.core.pod, self.core.container), set())

    def test_probes(self) -> None:
        """What is asked for from outside is answered there: the port, the paths, and the annotations for Prometheus."""
        admin = self.assertEnvironment(self.core.environment, 60.0).admin
        assert admin is not None
        self.assertEqual(
            (admin.host, self.core.container["ports"]), ("", [{"name": "admin", "containerPort": admin.port}])
        )
        asked = {name: self.core.container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
        self.assertEqual({get["port"] for get in asked.values()}, {"admin"})
        self.assertEqual(
            {name: get["path"] for name, get in asked.items()},
            {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"},
        )
        annotations = self.core.spec["template"]["metadata"]["annotations"]
        self.assertEqual(annotations["prometheus.io/port"], str(admin.port))
        self.assertEqual(annotations["prometheus.io/path"], "/metrics")
        paths = {annotations["prometheus.io/path"], *(get["path"] for get in asked.values())}
        self.assertLessEqual(paths, {path.decode() for path in pages(Health((), lambda: None), Mock(), Mock()).paths})

    def test_no_stand_ins(self) -> None:
        """Nothing waits for a fixed time where a probe tells."""
        self.assertNotIn("minReadySeconds", self.core.spec)
        self.assertFalse([name for name in self.core.container if "initialDelaySeconds" in self.core.container[name]])


class CallbacksTests(AgreementCase):
    """deployment/k8s/callbacks.yml and callbacks-patch.yml"""

    def setUp(self) -> None:
        (self.service,) = yaml.safe_load_all(document("callbacks"))
        self.core = Manifest(document("deployment"))
        self.patch: Any = yaml.safe_load(document("callbacks-patch"))
        added = self.patch["spec"]["template"]["spec"]
        (self.added,) = added["containers"]
        # A strategic merge: lists grow by what has another name.
        for name in ("env", "ports", "volumeMounts"):
            self.core.container.setdefault(name, []).extend(self.added[name])
        self.core.pod.setdefault("volumes", []).extend(added["volumes"])

    def test_valid(self) -> None:
        """An API server takes the Service, and the Deployment when it is patched."""
        assert_valid([self.service, self.core.deployment])
        self.assertEqual(self.added["name"], self.core.container["name"])

    def test_agree(self) -> None:
        """The address is the Service's, its port is the one that the connector listens on, and the keys are mounted."""
        environment = {each["name"]: each["value"] for each in self.added["env"]}
        key_file = Path(environment[KEYS])
        read = self.assertEnvironment(environment, 60.0)
        self.assertIn(str(key_file.parent), mounted_paths(self.core.pod, self.core.container))
        self.assertIn(f"--from-file={key_file.name}", document("callbacks"))
        address, metadata = urlsplit(read.callback_address or ""), self.service["metadata"]
        (port,) = self.service["spec"]["ports"]
        self.assertEqual(
            (address.hostname, address.port), (f"{metadata['name']}.{metadata['namespace']}", port["port"])
        )
        ports = {each["name"]: each["containerPort"] for each in self.core.container["ports"]}
        assert read.callback_listen is not None
        self.assertEqual(ports[port["targetPort"]], read.callback_listen.port)
        labels = self.core.spec["template"]["metadata"]["labels"]
        self.assertLessEqual(self.service["spec"]["selector"].items(), labels.items())


class JetStreamTests(AgreementCase):
    """deployment/k8s/jetstream.yml"""

    def test_same_but_for_the_stream(self) -> None:
        """It is deployment.yml with other names and three more settings, so that all that holds there holds here."""
        core, stream = (
            Manifest(with_blocks(text(f"deployment/k8s/{name}.yml"))) for name in ("deployment", "jetstream")
        )
        more = stream.environment.keys() - core.environment.keys()
        self.assertEqual(more, {"NATSCONNECTOR_STREAM", "NATSCONNECTOR_SUBJECT", "NATSCONNECTOR_DEAD_LETTER"})
        stream.container["env"] = [entry for entry in stream.container["env"] if entry["name"] not in more]
        renamed = yaml.safe_dump_all(stream.objects).replace("nats-connector-stream", "nats-connector")
        self.assertEqual(list(yaml.safe_load_all(renamed)), core.objects)

    def test_apart(self) -> None:
        """It can run beside deployment.yml: the pods of either are not selected by the other."""
        core, stream = (Manifest(document(name)) for name in ("deployment", "jetstream"))
        self.assertNotEqual(core.deployment["metadata"]["name"], stream.deployment["metadata"]["name"])
        self.assertFalse(
            core.spec["selector"]["matchLabels"].items() <= stream.spec["template"]["metadata"]["labels"].items()
        )
        self.assertFalse(
            stream.spec["selector"]["matchLabels"].items() <= core.spec["template"]["metadata"]["labels"].items()
        )

    def test_settings(self) -> None:
        """The file says how to make its stream and dead letters, on subjects that core NATS does not have."""
        manifest = Manifest(document("jetstream"))
        assert_valid(manifest.objects)
        read = self.assertEnvironment(manifest.environment, manifest.pod["terminationGracePeriodSeconds"])
        made = dict(re.findall(r"nats stream add (\S+) --subjects (\S+)", document("jetstream")))
        assert read.stream is not None and read.dead_letter is not None
        self.assertEqual((made[read.stream],), read.subjects)
        self.assertIn(read.dead_letter, made.values())
        core = reading.read({}, {})
        self.assertEqual(set(read.subjects or ()) & set(core.subjects or ()), set())


class NetworkPolicyTests(AgreementCase):
    """deployment/k8s/networkpolicy.yml"""

    def setUp(self) -> None:
        self.policy = yaml.safe_load(document("networkpolicy"))
        self.core = Manifest(document("deployment"))

    def test_valid(self) -> None:
        """An API server takes it."""
        assert_valid([self.policy])

    def test_pods(self) -> None:
        """It is about the pods of both manifests."""
        selected = self.policy["spec"]["podSelector"]["matchLabels"]
        for name in ("deployment", "jetstream"):
            labels = Manifest(document(name)).spec["template"]["metadata"]["labels"]
            self.assertLessEqual(selected.items(), labels.items())

    def test_ports(self) -> None:
        """In comes who asks on the admin port or posts results; out go names, and to NATS and the gateway."""
        read = self.assertEnvironment(self.core.environment, 60.0)
        admin = read.admin
        assert admin is not None
        asking, posting = self.policy["spec"]["ingress"]
        (service,) = yaml.safe_load_all(document("callbacks"))
        self.assertEqual(asking["ports"], [{"port": admin.port}])
        self.assertEqual(posting["ports"], [{"port": service["spec"]["ports"][0]["port"]}])
        names, nats, gateway = self.policy["spec"]["egress"]
        self.assertEqual({port["port"] for port in names["ports"]}, {53})
        self.assertEqual(nats["ports"], [{"port": urlsplit(read.nats[0]).port}])
        self.assertEqual(gateway["ports"], [{"port": urlsplit(read.gateway).port}])
