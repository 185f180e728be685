"""What Helm makes of the chart. It needs ``helm``, on the path or named by ``HELM``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from docs import chart
from tests.deployment.agreement import AgreementCase, assert_valid, mounted_paths, text
from tests.deployment.test_chart import CHART, EXAMPLES

# What the cluster knows only with the Prometheus operator and KEDA.
EXTENSIONS = {"monitoring.coreos.com/v1", "keda.sh/v1alpha1"}


HELM = os.environ.get("HELM") or shutil.which("helm")


def helm(*words: str) -> str:
    """What ``helm`` writes; fails with what it complains about."""
    assert HELM is not None
    done = subprocess.run([HELM, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    return done.stdout


class Rendered:
    """The chart's objects, by kind."""

    def __init__(self, *words: str, release: str = "nats-connector") -> None:
        output = helm("template", release, str(CHART), "--namespace", "openfaas", "--kube-version", "1.35", *words)
        self.objects: list[dict[str, Any]] = [each for each in yaml.safe_load_all(output) if each]
        self.by_kind = {each["kind"]: each for each in self.objects}
        self.spec = self.by_kind["Deployment"]["spec"]
        self.labels = self.spec["template"]["metadata"]["labels"]
        self.pod = self.spec["template"]["spec"]
        (self.container,) = self.pod["containers"]
        self.environment = {entry["name"]: entry.get("value") for entry in self.container["env"]}

    def selectors(self) -> list[dict[str, str]]:
        """Every selector of pods."""
        found = [self.spec["selector"], self.pod["topologySpreadConstraints"][0]["labelSelector"]]
        found += [each["spec"]["selector"] for each in self.objects if each["kind"] == "PodDisruptionBudget"]
        found += [each["spec"]["podSelector"] for each in self.objects if each["kind"] == "NetworkPolicy"]
        found += [{"matchLabels": each["spec"]["selector"]} for each in self.objects if each["kind"] == "Service"]
        return [selector["matchLabels"] for selector in found]


class RenderedTests(AgreementCase):
    """What ``helm template`` makes of it."""

    if HELM is None:
        skip = "helm is not on the path, nor named by HELM"

    def test_lint(self) -> None:
        """Helm finds nothing wrong."""
        helm("lint", "--strict", "--quiet", str(CHART))
        for path in EXAMPLES:
            helm("lint", "--strict", "--quiet", str(CHART), "--values", str(path))

    def test_examples(self) -> None:
        """With each file of values an API server takes the objects, and the connector its settings."""
        kinds = set()
        for path in EXAMPLES:
            rendered = Rendered("--values", str(path))
            assert_valid([each for each in rendered.objects if each["apiVersion"] not in EXTENSIONS])
            kinds |= {each["kind"] for each in rendered.objects}
            environment = {name: value or "x" for name, value in rendered.environment.items()}
            self.assertEnvironment(environment, rendered.pod["terminationGracePeriodSeconds"])
            files = {name: value for name, value in environment.items() if value.startswith("/")}
            self.assertSecretsMounted(files, mounted_paths(rendered.pod, rendered.container))
            for selector in rendered.selectors():
                self.assertLessEqual(selector.items(), rendered.labels.items())
        optional = {"NetworkPolicy", "Service", "ServiceMonitor", "PrometheusRule", "HorizontalPodAutoscaler"}
        self.assertEqual(kinds, {"Deployment", "PodDisruptionBudget", "ScaledObject", *optional})

    def test_as_the_manifest(self) -> None:
        """Without secrets it is deployment/k8s/deployment.yml, but for labels and the names of two variables."""
        rendered = Rendered("--set", "secrets.gatewayCredentials=null,settings.shutdownTimeout=25s")
        plain = list(yaml.safe_load_all(text("deployment/k8s/deployment.yml")))
        self.assertEqual(len(rendered.objects), len(plain))

        def comparable(value: Any) -> Any:
            """An object without labels, and with variables as the settings that they are."""
            if isinstance(value, list):
                return [comparable(item) for item in value]
            if not isinstance(value, dict):
                return value
            found = {key: comparable(item) for key, item in value.items() if key not in ("labels", "matchLabels")}
            if "env" in found:
                read = self.assertEnvironment({each["name"]: each["value"] for each in found["env"]}, 60.0)
                found["env"] = (read.nats, read.gateway, read.log_format, read.admin, read.shutdown_timeout_s)
            return found

        for manifest in plain:
            self.assertEqual(comparable(rendered.by_kind[manifest["kind"]]), comparable(manifest))

    def test_every_setting(self) -> None:
        """Every setting becomes its variable, from a value or from a secret; numbers are written out."""
        samples: dict[str, Any] = {}
        for flag in chart.chart_flags():
            if not flag.in_environment_only:
                samples[chart.value_name(flag)] = True if flag.is_switch else flag.default or "none"
        samples |= {"maxInflight": 1, "maxPendingMessages": 65536, "retryAttempts": 3, "metricsFunctions": 500}
        samples |= {"maxPendingBytes": 1 << 30, "retryCodes": [429, 503], "admin": "tcp:8081"}
        path = Path(self.mktemp())
        path.write_text(yaml.safe_dump({"settings": samples, "secrets": {"gatewayCredentials": None}}))
        rendered = Rendered("--values", str(path))
        expected = {flag.environment_name: str(samples[chart.value_name(flag)]).replace("True", "true")
                    for flag in chart.chart_flags() if not flag.in_environment_only}  # fmt: skip
        expected |= {"NATSCONNECTOR_RETRY_CODES": "429,503"}
        self.assertEqual(rendered.environment, expected)
        self.assertEqual(rendered.environment["NATSCONNECTOR_MAX_PENDING_BYTES"], "1073741824")

    def test_every_secret(self) -> None:
        """Every one that is a file is mounted, under its key, and any other a variable; neither is there twice."""
        flags = [flag for flag in chart.chart_flags() if not flag.is_switch]
        secrets = {chart.value_name(flag): {"name": "s", "key": "k"} for flag in flags}
        path = Path(self.mktemp())
        path.write_text(yaml.safe_dump({"secrets": secrets | {"gatewayCredentials": {"name": "s"}}}))
        rendered = Rendered("--values", str(path))
        names = [entry["name"] for entry in rendered.container["env"]]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(set(names), {flag.environment_name for flag in flags})
        files = {name: value for name, value in rendered.environment.items() if value}
        self.assertEqual(set(files), {flag.environment_name for flag in flags if chart.kind(flag) != "value"})
        self.assertSecretsMounted(files, mounted_paths(rendered.pod, rendered.container))
        for entry in rendered.container["env"]:
            if "valueFrom" in entry:
                self.assertEqual(entry["valueFrom"], {"secretKeyRef": {"name": "s", "key": "k"}})
        assert_valid([rendered.by_kind["Deployment"]])

    def test_official_values(self) -> None:
        """The official chart's names count before the chart's own settings, and mean what they do there."""
        example = CHART / "ci" / "official-values.yaml"
        rendered = Rendered("--values", str(example), "--set", "settings.gateway=http://other")
        read = self.assertEnvironment({name: value or "" for name, value in rendered.environment.items()}, 60.0)
        self.assertEqual((read.nats, read.gateway), (("nats",), "http://gateway.openfaas:8080"))
        self.assertEqual((read.topics, read.timeout_s, rendered.spec["replicas"]), (("nats-test",), 30.0, 1))
        self.assertEqual(rendered.by_kind["Deployment"]["metadata"]["name"], "nats-connector")
        self.assertEqual(len(rendered.pod["volumes"]), 1)
        self.assertNotIn("volumes", Rendered("--set", "basic_auth=false").pod)

    def test_alerts(self) -> None:
        """The rule has the alerts of deployment/prometheus/rules.yml, and the monitor finds the service."""
        rendered = Rendered("--values", str(CHART / "ci" / "topics-values.yaml"))
        rule, monitor, service = (rendered.by_kind[kind] for kind in ("PrometheusRule", "ServiceMonitor", "Service"))
        self.assertEqual(rule["spec"], yaml.safe_load(text("deployment/prometheus/rules.yml")))
        self.assertEqual(rule["metadata"]["labels"]["release"], "prometheus")
        selected = monitor["spec"]["selector"]["matchLabels"]
        self.assertLessEqual(selected.items(), service["metadata"]["labels"].items())
        (endpoint,), (port,) = monitor["spec"]["endpoints"], service["spec"]["ports"]
        self.assertEqual((endpoint["port"], endpoint["path"], port["port"]), (port["name"], "/metrics", 8081))
        self.assertNotIn("annotations", rendered.spec["template"]["metadata"])

    def test_scaled_by_lag(self) -> None:
        """KEDA asks for the stream and the consumer of the settings, and nothing else says how many pods there are."""
        rendered = Rendered("--values", str(CHART / "ci" / "jetstream-values.yaml"))
        scaled = rendered.by_kind["ScaledObject"]["spec"]
        (trigger,) = scaled["triggers"]
        self.assertEqual((trigger["metadata"]["stream"], trigger["metadata"]["consumer"]), ("CALLS", "natsconnector"))
        self.assertTrue(all(isinstance(value, str) for value in trigger["metadata"].values()))
        self.assertEqual(scaled["scaleTargetRef"]["name"], rendered.by_kind["Deployment"]["metadata"]["name"])
        self.assertNotIn("replicas", rendered.spec)

    def test_results(self) -> None:
        """The queue-worker, and it alone, reaches the port by a Service, at the address that the connector is told."""
        example = str(CHART / "ci" / "callbacks-values.yaml")
        rendered = Rendered("--values", example, release="orders")
        environment = {name: value or "" for name, value in rendered.environment.items()}
        read = self.assertEnvironment(environment, 60.0)
        service = rendered.by_kind["Service"]
        (port,) = service["spec"]["ports"]
        self.assertEqual(
            (read.callback_address, service["metadata"]["name"]),
            ("http://orders-nats-connector-callbacks.openfaas:8082", "orders-nats-connector-callbacks"),
        )
        ports = {each["name"]: each["containerPort"] for each in rendered.container["ports"]}
        assert read.callback_listen is not None
        self.assertEqual((port["port"], ports[port["targetPort"]]), (8082, read.callback_listen.port))
        admin, callbacks = rendered.by_kind["NetworkPolicy"]["spec"]["ingress"]
        self.assertEqual((admin["ports"], callbacks["ports"]), ([{"port": 8081}], [{"port": 8082}]))
        self.assertEqual(callbacks["from"], [{"podSelector": {"matchLabels": {"app": "queue-worker"}}}])
        elsewhere = Rendered(
            "--values", example, "--set", "settings.callbackAddress=https://hooks.example.com,settings.admin=none"
        )
        self.assertEqual(elsewhere.environment["NATSCONNECTOR_CALLBACK_ADDRESS"], "https://hooks.example.com")
        self.assertEqual([each["name"] for each in elsewhere.container["ports"]], ["callbacks"])
        self.assertEqual(len(elsewhere.by_kind["NetworkPolicy"]["spec"]["ingress"]), 1)
        long = Rendered("--values", example, release="o" * 53).by_kind["Service"]["metadata"]["name"]
        self.assertLessEqual(len(long), 63)
        self.assertTrue(long.endswith("-callbacks"))

    def test_refused(self) -> None:
        """What cannot work is said before anything is changed."""
        for words, reason in {
            "keda.enabled=true": "needs settings.stream",
            "keda.enabled=true,autoscaling.enabled=true,settings.stream=S": "exclude each other",
            "settings.admin=unix:/run/admin.sock": "probes come from outside",
            "settings.admin=none,serviceMonitor.enabled=true": "needs settings.admin",
            "settings.callbackListen=tcp:8082": "needs secrets.callbackKeyFile",
            "settings.callbackListen=unix:/run/c.sock": "results come from outside",
            "settings.maxInFlight=1": "maxInFlight",
        }.items():
            with self.assertRaises(AssertionError) as caught:
                Rendered("--set", words)
            self.assertIn(reason, str(caught.exception))

    def test_no_admin(self) -> None:
        """Without an admin site there are no probes, no port and no annotations."""
        rendered = Rendered("--set", "settings.admin=none")
        self.assertEqual([name for name in rendered.container if "Probe" in name or name == "ports"], [])
        self.assertNotIn("annotations", rendered.spec["template"]["metadata"])

    def test_two_releases(self) -> None:
        """Two in one namespace have other names, and neither's selectors find the pods of the other."""
        one, two = Rendered(release="orders"), Rendered(release="payments")
        self.assertEqual(one.by_kind["Deployment"]["metadata"]["name"], "orders-nats-connector")
        for selector in two.selectors():
            self.assertFalse(selector.items() <= one.labels.items())
