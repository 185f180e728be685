"""Writes what the documents and the chart repeat from the code: ``make reference``. A test compares it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from docs import chart
from docs.events import events
from natsconnector.admin.families import FAMILIES
from natsconnector.config.flags import Flag
from natsconnector.config.settings import FLAGS

DOCS = Path(__file__).parent

# The colours of the picture in README.md: on a light page, and on a dark one.
_DARK = {
    "#1f2328": "#e6edf3",
    "#57606a": "#9198a1",
    "#ffffff": "#0d1117",
    "#f6f8fa": "#161b22",
    "#8c959f": "#6e7681",
    "#0969da": "#4493f8",
}


def settings_tables() -> str:
    """A table of settings for each group of them."""
    parts = []
    for group, flags in groupby(FLAGS, lambda flag: flag.group):
        rows = [f"## {group}", "", "| setting | default | other names | meaning |", "|---|---|---|---|"]
        for flag in flags:
            rows.append("|".join(["", *(f" {cell} " if cell else " " for cell in _cells(flag)), ""]))
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def metrics_tables() -> str:
    """A table of figures for each part that they tell of."""
    parts = []
    for part, families in FAMILIES.items():
        rows = [f"## {part}", "", "| metric | kind | labels | what | which decision |", "|---|---|---|---|---|"]
        for family in families:
            labels = ", ".join(f"`{label}`" for label in family.labels)
            cells = [f"`{family.full_name}`", family.kind.value, labels, _markdown(family.text), _markdown(family.use)]
            rows.append("|".join(["", *(f" {cell} " if cell else " " for cell in cells), ""]))
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _cells(flag: Flag) -> list[str]:
    words = [f"{when}{value if value in ('none', 'off') else f'`{value}`'}" for when, value in flag.defaults]
    names = [f"`{alias.name}`" + (f", if `{alias.only_if}` is on" if alias.only_if else "") for alias in flag.aliases]
    return [f"`{flag.usage}`", "; ".join(words), ", ".join(names), _markdown(flag.meaning)]


def events_table() -> str:
    """The table of all events with their fields."""
    rows = ["| event | logger | fields |", "|---|---|---|"]
    for name, event in sorted(events().items()):
        rows.append(f"| `{name}` | {_codes(event.parts)} | {_codes(event.fields)} |".replace("|  |", "| |"))
    return "\n".join(rows) + "\n"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _markdown(text: str) -> str:
    """A help text with its stars, pipes and angle brackets as they stand."""
    return re.sub(r"([*|<>])", r"\\\1", text)


def replaced(document: str, name: str, text: str, marker: str = "<!-- {} -->\n") -> str:
    """A document with ``text`` between its markers of that name, each of which is a line."""
    begin, end = marker.format(name), marker.format(f"end of {name}")
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"there are no markers of {name}")
    return f"{before}{begin}{text}{end}{after}"


def dark(picture: str) -> str:
    """A picture for a light page, in the colours for a dark one."""
    return re.sub("#[0-9a-f]{6}", lambda colour: _DARK[colour[0]], picture)


def written() -> dict[Path, str]:
    """Every document that has something from the code in it, as it should be."""
    settings, images, log, metrics = DOCS / "settings.md", DOCS / "images", DOCS / "log.md", DOCS / "metrics.md"
    values, schema = chart.CHART / "values.yaml", chart.CHART / "values.schema.json"
    return {
        settings: replaced(settings.read_text(), "settings", settings_tables()),
        metrics: replaced(metrics.read_text(), "metrics", metrics_tables()),
        log: replaced(log.read_text(), "events", events_table()),
        images / "message-dark.svg": dark((images / "message-light.svg").read_text()),
        values: replaced(values.read_text(), "the settings", chart.settings_values(), "  # ({})\n"),
        schema: chart.values_schema(schema.read_text()),
        chart.CHART / "files" / "settings.json": json.dumps(chart.table(), indent=1) + "\n",
        chart.CHART / "files" / "rules.yml": chart.rules(),
    }


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text)
