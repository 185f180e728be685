"""The Helm chart's values and their schema, in agreement with the settings."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml
from twisted.trial.unittest import SynchronousTestCase

from docs import chart
from natsconnector import __version__
from natsconnector.config.settings import FLAGS
from natsconnector.config.values import duration
from tests.deployment.agreement import ROOT

CHART = ROOT / "deployment" / "helm" / "natsconnector"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))


def without_nulls(value: Any) -> Any:
    """Values as Helm takes them: null removes what the chart has."""
    if not isinstance(value, dict):
        return value
    return {key: without_nulls(item) for key, item in value.items() if item is not None}


def merged(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Our values with another file's over them, as Helm merges them."""
    both = {key: merged(ours[key], item) for key, item in theirs.items() if isinstance(item, dict) and key in ours}
    found: dict[str, Any] = without_nulls({**ours, **theirs, **both})
    return found


class ValuesTests(SynchronousTestCase):
    """values.yaml and values.schema.json"""

    def setUp(self) -> None:
        self.values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
        self.schema: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
        self.validator = jsonschema.Draft7Validator(self.schema)

    def faults(self, **values: Any) -> list[str]:
        return [error.message for error in self.validator.iter_errors(values)]

    def test_fit(self) -> None:
        """The chart's values fit their schema, and so do those that it is tried with; the schema is one itself."""
        self.validator.check_schema(self.schema)
        self.assertEqual(self.faults(**self.values), [])
        self.assertEqual(
            [path.name.removesuffix("-values.yaml") for path in EXAMPLES],
            ["callbacks", "envelopes", "jetstream", "official", "topics"],
        )
        for path in EXAMPLES:
            self.assertEqual(self.faults(**merged(self.values, yaml.safe_load(path.read_text()))), [], path.name)

    def test_all_settings(self) -> None:
        """Every setting has a value and a schema, but for those that are secrets or start servers."""
        expected = {flag.environment_name for flag in FLAGS} - {"NATSCONNECTOR_EMBEDDED", "NATSCONNECTOR_FUNCTIONS"}
        self.assertEqual({row["variable"] for row in chart.table()}, expected)
        named = set(re.findall(r"(?m)^  (?:# )?(\w+): ", chart.settings_values()))
        self.assertEqual(named, set(self.schema["properties"]["settings"]["properties"]))
        secret = {"natsPassword", "natsToken"}
        self.assertEqual({row["name"] for row in chart.table()} - named, secret)
        self.assertLessEqual(secret, set(self.schema["properties"]["secrets"]["properties"]))

    def test_defaults(self) -> None:
        """What the comments say is the default, and a value that the schema takes."""
        lines = [line for line in chart.settings_values().splitlines() if re.match(r"  (# )?\w+: ", line)]
        found: dict[str, Any] = yaml.safe_load("\n".join(re.sub(r"^  (# )?", "", line) for line in lines))
        for flag in chart.chart_flags():
            if flag.in_environment_only:
                continue
            value = found[chart.value_name(flag)]
            self.assertEqual(self.faults(settings={chart.value_name(flag): value}), [], flag.name)
            if flag.name not in chart.DEFAULTS:
                self.assertEqual(str(value), "False" if flag.is_switch else flag.default or "none")

    def test_refused(self) -> None:
        """What the connector would refuse is refused before anything is changed in the cluster."""
        good = {"timeout": "1m30s", "maxPendingBytes": "8MiB", "maxInflight": 5, "async": True, "maxWait": "none"}
        self.assertEqual(self.faults(settings=good), [])
        for name, value in {
            "timeout": "60", "maxPendingBytes": "8 apples", "maxInflight": 0, "async": "maybe", "logLevel": "loud",
            "retryBackoff": "none", "maxInFlight": 5, "natsPassword": "secret",
        }.items():  # fmt: skip
            self.assertTrue(self.faults(settings={name: value}), name)
        self.assertTrue(self.faults(replica=1))
        self.assertTrue(self.faults(secrets={"natsCreds": {"name": "nats"}}))

    def test_bounds(self) -> None:
        """The schema's words and bounds are those of the settings: what the one takes the other does."""
        tried = [
            "0",
            "1",
            "65536",
            "65537",
            "5s",
            "5",
            "1h30m",
            "0.5s",
            "8MiB",
            "8mib",
            "auto",
            "console",
            "full",
            "debug",
            "x",
        ]
        strict = [flag for flag in chart.chart_flags() if hasattr(flag.parse, "bounds") or hasattr(flag.parse, "words")]
        self.assertGreater(len(strict), 8)
        for flag in strict:
            for word in tried:
                value = int(word) if hasattr(flag.parse, "bounds") and word.isdigit() else word
                try:
                    flag.parse(word)
                    is_taken = True
                except ValueError:
                    is_taken = False
                self.assertEqual(not self.faults(settings={chart.value_name(flag): value}), is_taken, (flag.name, word))

    def test_files(self) -> None:
        """Settings that name a file get it mounted."""
        for flag in chart.chart_flags():
            is_file = flag.name.endswith("-file") or "PEM file" in flag.meaning or flag.name == "nats-creds"
            self.assertEqual(chart.kind(flag) == "file", is_file, flag.name)

    def test_official_names(self) -> None:
        """Each name of the official chart is a variable that the connector knows, and a value of ours."""
        self.assertEqual({chart.official_name(flag) for flag in FLAGS} - {""}, set(chart.OFFICIAL))
        self.assertLessEqual({*chart.OFFICIAL, "basic_auth", "replicas"}, set(self.schema["properties"]))

    def test_templates(self) -> None:
        """The templates use every value that there is, and no other."""
        templates = "\n".join(path.read_text() for path in (CHART / "templates").iterdir())
        used = set(re.findall(r"\.Values\.(\w+)", templates))
        self.assertEqual(used, set(self.schema["properties"]) - {*chart.OFFICIAL, "global"})
        for name in ("podDisruptionBudget", "networkPolicy", "serviceMonitor", "prometheusRule", "autoscaling", "keda"):
            inner = set(re.findall(rf"\.Values\.{name}\.(\w+)", templates))
            self.assertEqual(inner, set(self.schema["properties"][name]["properties"]), name)
            self.assertEqual(inner, set(self.values[name]), name)

    def test_version(self) -> None:
        """The chart is of the project's version."""
        found = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.assertEqual((found["version"], found["appVersion"]), (__version__, __version__))

    def test_time_to_stop(self) -> None:
        """A pod has longer than the connector takes to end."""
        (shutdown,) = (flag.default for flag in FLAGS if flag.name == "shutdown-timeout")
        assert shutdown is not None
        self.assertGreaterEqual(self.values["terminationGracePeriodSeconds"], duration(shutdown) + 5)
