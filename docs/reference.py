"""Writes what the documents repeat from the code: ``make docs``. A test compares it, so that it cannot drift."""

from __future__ import annotations

import re
from pathlib import Path

from natsconnector.admin.families import FAMILIES
from natsconnector.config.flags import Flag
from natsconnector.config.settings import FLAGS

ROOT = Path(__file__).parent.parent


def settings_table() -> str:
    """The table of all settings."""
    rows = ["| flag | default | other names | meaning |", "|---|---|---|---|"]
    group = ""
    for flag in FLAGS:
        if flag.group != group:
            group = flag.group
            rows.append(f"| **{group}** | | | |")
        rows.append("|".join(["", *(f" {cell} " if cell else " " for cell in _cells(flag)), ""]))
    return "\n".join(rows) + "\n"


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


def _markdown(text: str) -> str:
    """A help text with its stars, pipes and angle brackets as they stand."""
    return re.sub(r"([*|<>])", r"\\\1", text)


def replaced(document: str, name: str, text: str) -> str:
    """A document with ``text`` between its markers of that name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"there are no markers of {name}")
    return f"{before}{begin}{text}{end}{after}"


def written() -> dict[Path, str]:
    """Every document that has something from the code in it, as it should be."""
    parts = {"README.md": ("settings", settings_table()), "docs/metrics.md": ("metrics", metrics_tables())}
    return {ROOT / path: replaced((ROOT / path).read_text(), *part) for path, part in parts.items()}


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text)
