"""Alerts and the page of the figures: in agreement with what the connector tells."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from natsconnector.admin.families import FAMILIES

ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "deployment" / "prometheus" / "rules.yml"
RULES_TESTS = Path(__file__).parent / "rules_test.yml"
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
# What Prometheus makes of a histogram's name.
_PARTS = re.compile(r"_(bucket|count|sum)$")


def told() -> set[str]:
    """The names of all figures, as they are queried; a histogram's without its parts."""
    return {family.full_name for families in FAMILIES.values() for family in families}


def named(text: str) -> set[str]:
    """The figures that a text names."""
    return {_PARTS.sub("", name) for name in re.findall(r"natsconnector_\w+", text)}


class RulesTests(SynchronousTestCase):
    """deployment/prometheus/rules.yml"""

    def setUp(self) -> None:
        (group,) = yaml.safe_load(RULES.read_text())["groups"]
        self.rules: list[dict[str, Any]] = group["rules"]

    def test_figures(self) -> None:
        """Each alert asks for figures that there are."""
        known = told()
        for rule in self.rules:
            self.assertTrue(named(rule["expr"]), rule["alert"])
            self.assertLessEqual(named(rule["expr"]), known, rule["alert"])

    def test_what_to_do(self) -> None:
        """Each is explained under its name, tells how urgent it is, and no explanation is left over."""
        headings = re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)
        self.assertEqual([rule["alert"] for rule in self.rules], headings)
        for rule in self.rules:
            self.assertEqual(rule["annotations"]["runbook"], f"docs/monitoring.md#{rule['alert'].lower()}")
            self.assertIn(rule["labels"]["severity"], ("page", "ticket"))
            self.assertTrue(rule["annotations"]["summary"].endswith("."))

    def test_both_ways(self) -> None:
        """The tests of the rules have each alert fire, not at once and by its fault; all is quiet when all is well."""
        fires: set[str] = set()
        *faults, well = yaml.safe_load(RULES_TESTS.read_text())["tests"]
        for fault in faults:
            (alert,) = {each["alertname"] for each in fault["alert_rule_test"]}
            self.assertEqual(sorted(bool(each["exp_alerts"]) for each in fault["alert_rule_test"][:2]), [False, True])
            fires.add(alert)
        names = {rule["alert"] for rule in self.rules}
        self.assertEqual((fires, {each["alertname"] for each in well["alert_rule_test"]}), (names, names))
        self.assertFalse(any(each["exp_alerts"] for each in well["alert_rule_test"]))

    def test_promtool(self) -> None:
        """Prometheus takes the file, and each alert fires by its fault and by nothing else."""
        promtool = shutil.which("promtool")
        if promtool is None:
            raise SkipTest("promtool, which comes with Prometheus, is not on the path")
        for command in ("check", RULES), ("test", RULES_TESTS):
            ran = subprocess.run([promtool, command[0], "rules", str(command[1])], capture_output=True, text=True)
            self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)


class PageTests(SynchronousTestCase):
    """docs/monitoring.md"""

    def test_figures(self) -> None:
        """Its queries ask for figures that there are."""
        self.assertTrue(named(PAGE))
        self.assertLessEqual(named(PAGE), told())
