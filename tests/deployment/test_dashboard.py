"""The Grafana dashboard: in agreement with what the connector tells, and such that Grafana can draw it."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.admin.families import FAMILIES, Kind

DASHBOARD = Path(__file__).parent.parent.parent / "deployment" / "grafana" / "natsconnector.json"
# Besides figures of the connector: what Prometheus adds, and the library tells of each process.
_ANYWHERE = {"job", "instance"}
_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def queries() -> list[str]:
    """The expressions of all panels, as Grafana has them."""
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]


def labels_by_name() -> dict[str, set[str]]:
    """Every name that can be queried, with its labels."""
    found = {name: set(_ANYWHERE) for name in _PROCESS}
    for families in FAMILIES.values():
        for family in families:
            labels = {*family.labels, *_ANYWHERE}
            if family.kind is Kind.HISTOGRAM:
                found[f"{family.full_name}_bucket"] = {*labels, "le"}
                found[f"{family.full_name}_sum"] = found[f"{family.full_name}_count"] = labels
            else:
                found[family.full_name] = labels
    return found


class DashboardTests(SynchronousTestCase):
    """deployment/grafana/natsconnector.json"""

    def assertQuery(self, text: str, known: dict[str, set[str]]) -> set[str]:
        """Every metric and label of a query is there; returns the metrics."""
        metrics = set(re.findall(r"\b(?:natsconnector|process)_\w+", text))
        self.assertTrue(metrics, text)
        for metric in metrics:
            self.assertIn(metric, known, text)
        for metric, selector in re.findall(r"(\w+)\{([^}]*)\}", text):
            self.assertLessEqual(set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector)), known[metric], text)
        for grouping in re.findall(r"(?:by|on) \(([^)]*)\)", text):
            for metric in metrics - {"natsconnector_build_info"} or metrics:
                self.assertLessEqual(set(grouping.split(", ")), known[metric], text)
        return metrics

    def test_queries(self) -> None:
        """Each query asks for figures and labels that there are, and every figure is shown."""
        known = labels_by_name()
        shown: set[str] = set()
        for text in queries():
            shown |= self.assertQuery(text, known)
        families = {family.full_name for families in FAMILIES.values() for family in families}
        self.assertEqual(families - {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}, set())

    def test_variables(self) -> None:
        """Likewise those of the variables, and every variable that a query names is there."""
        variables = {each["name"]: each for each in dashboard()["templating"]["list"]}
        self.assertEqual((next(iter(variables)), variables["datasource"]["type"]), ("datasource", "datasource"))
        texts = queries()
        for variable in variables.values():
            if variable["type"] == "query":
                query = variable["query"]["query"]
                texts.append(query)
                self.assertEqual(variable["definition"], query)
                metric, label = re.findall(r"label_values\((\w+).*, (\w+)\)", query)[0]
                self.assertIn(label, labels_by_name()[metric])
        used = {name for text in texts for name in re.findall(r"\$(\w+)", text)}
        self.assertEqual(used, variables.keys() - {"datasource"} | {"__rate_interval"})

    def test_layout(self) -> None:
        """Panels have names and numbers of their own, a place without overlap, a unit, and the data source chosen."""
        found = dashboard()
        panels = found["panels"]
        self.assertEqual(max(Counter(panel["id"] for panel in panels).values()), 1)
        self.assertEqual(max(Counter(panel["title"] for panel in panels).values()), 1)
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24)
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
            if panel["type"] == "row":
                continue
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
            for each in (panel, *panel["targets"]):
                self.assertEqual(each["datasource"], {"type": "prometheus", "uid": "${datasource}"})
        rows = [panel["title"] for panel in panels if panel["type"] == "row"]
        self.assertEqual(rows[:4], ["Overview", "Calls", "Messages and backlog", "NATS and stream"])
        # Of Grafana 10, which newer ones bring up to date when they read it.
        self.assertEqual((found["schemaVersion"], found["uid"]), (38, "natsconnector"))
