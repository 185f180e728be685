"""
Families of samples as text, in the format of Prometheus and as OpenMetrics.

The library's own functions check every name of every label, which takes five times as long: with many functions that
would be some per cent of the processor, were the connector asked each second. Sources:
https://prometheus.io/docs/instrumenting/exposition_formats/ and https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric

PLAIN_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of :func:`plain`."""
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""The content type of :func:`openmetrics`."""


def plain(families: Iterable[Metric]) -> bytes:
    """The text format of Prometheus, version 0.0.4."""
    lines: list[str] = []
    for family in families:
        _add(lines, family, family.name + ("_total" if family.type == "counter" else ""))
    return "".join(lines).encode(errors="replace")


def openmetrics(families: Iterable[Metric]) -> bytes:
    """OpenMetrics, version 1.0.0."""
    lines: list[str] = []
    for family in families:
        _add(lines, family, family.name)
    lines.append("# EOF\n")
    return "".join(lines).encode(errors="replace")


def _add(lines: list[str], family: Metric, name: str) -> None:
    lines.append(f"# HELP {name} {_escaped(family.documentation)}\n# TYPE {name} {family.type}\n")
    for sample in family.samples:
        labels = ",".join([f'{label}="{_escaped(value)}"' for label, value in sample.labels.items()])
        in_braces = f"{{{labels}}}" if labels else ""
        lines.append(f"{sample.name}{in_braces} {float(sample.value)!r}\n")


def _escaped(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text
