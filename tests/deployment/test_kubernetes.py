"""
The manifests and the chart at an API server: ``TEST_KUBECONFIG=FILE python -m tests tests.deployment.test_kubernetes``.

It makes a namespace of its own, in which only restricted pods are admitted, and removes it. Nodes are not needed: it
looks at what the server says and keeps. It needs ``kubectl`` (or ``KUBECTL``, a path), and for the chart ``helm``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import Any

import yaml
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.deployment.test_chart import EXAMPLES
from tests.deployment.test_chart_rendered import EXTENSIONS, HELM, Rendered
from tests.deployment.test_k8s_manifests import document, with_blocks

KUBECONFIG = os.environ.get("TEST_KUBECONFIG", "")
KUBECTL = os.environ.get("KUBECTL") or shutil.which("kubectl")


class KubernetesTests(SynchronousTestCase):
    """Each is applied with strict validation, no warning allowed: tried by the server first, then for real."""

    if not KUBECONFIG:
        skip = "asked for by TEST_KUBECONFIG, which names a kubeconfig"
    elif KUBECTL is None:
        skip = "kubectl is not on the path, nor named by KUBECTL"

    def setUp(self) -> None:
        restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
        self.namespace = f"natsconnector-test-{os.getpid()}-{time.monotonic_ns()}"
        namespace = {"name": self.namespace, "labels": restricted}
        self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": namespace}])
        self.addCleanup(self.kubectl, "delete", "namespace", self.namespace, "--wait=false")
        # Pods have to have one. That which each namespace has, a controller makes in its own time.
        account = {"name": "tried", "namespace": self.namespace}
        self.apply([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}])

    def kubectl(self, *words: str, given: str = "") -> str:
        """What ``kubectl`` writes; fails with what it complains about."""
        assert KUBECTL is not None
        command = [KUBECTL, "--kubeconfig", KUBECONFIG, *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        return done.stdout

    def apply(self, objects: list[dict[str, Any]], *words: str) -> None:
        strict = ("--validate=strict", "--warnings-as-errors")
        self.kubectl("apply", *strict, *words, "--filename", "-", given=yaml.safe_dump_all(objects))

    def assertTaken(self, objects: list[dict[str, Any]]) -> None:
        """The server takes them, and keeps every field as it is written."""
        for each in objects:
            each["metadata"]["namespace"] = self.namespace
        self.apply(objects, "--dry-run=server")
        self.apply(objects)
        for each in objects:
            words = ("get", each["kind"], each["metadata"]["name"], "--namespace", self.namespace, "--output", "json")
            kept = json.loads(self.kubectl(*words))
            self.assertContains(kept["spec"], each["spec"], each["kind"])
        # A Deployment is taken whatever its pods are like: so one of them, for what is restricted.
        for template in [each["spec"]["template"] for each in objects if each["kind"] == "Deployment"]:
            metadata = {**template["metadata"], "name": "tried", "namespace": self.namespace}
            spec = {**template["spec"], "serviceAccountName": "tried"}
            self.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}], "--dry-run=server")

    def assertContains(self, kept: Any, written: Any, where: str) -> None:
        """What was written is there, among what the server adds."""
        if isinstance(written, dict):
            for key, value in written.items():
                self.assertIn(key, kept, where)
                self.assertContains(kept[key], value, f"{where}.{key}")
        elif isinstance(written, list):
            self.assertEqual(len(kept), len(written), where)
            for number, (one, other) in enumerate(zip(kept, written, strict=True)):
                self.assertContains(one, other, f"{where}[{number}]")
        else:
            self.assertEqual(kept, written, where)

    def test_manifests(self) -> None:
        """Those of deployment/k8s, as they are and with the blocks that are there to be used."""
        for name in ("deployment", "jetstream", "networkpolicy"):
            for manifest in (document(name), with_blocks(document(name))):
                self.assertTaken(list(yaml.safe_load_all(manifest)))

    def test_chart(self) -> None:
        """What the chart becomes with each file of values, without what needs an operator in the cluster."""
        if HELM is None:
            raise SkipTest("helm is not on the path, nor named by HELM")
        for path in EXAMPLES:
            rendered = Rendered("--values", str(path), release=path.name.removesuffix("-values.yaml"))
            self.assertTaken([each for each in rendered.objects if each["apiVersion"] not in EXTENSIONS])

    def test_refused(self) -> None:
        """What is wrong is refused, so that the above says something: a misspelt field, a pod that may be root."""
        deployment, _ = yaml.safe_load_all(document("deployment"))
        deployment["metadata"]["namespace"] = self.namespace
        misspelt = {**deployment, "spec": {**deployment["spec"], "replica": 3}}
        with self.assertRaises(AssertionError) as caught:
            self.apply([misspelt], "--dry-run=server")
        self.assertIn("replica", str(caught.exception))
        deployment["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] = False
        with self.assertRaises(AssertionError) as caught:
            self.apply([deployment], "--dry-run=server")
        self.assertIn("PodSecurity", str(caught.exception))
