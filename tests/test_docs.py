"""Tests of what the documents claim."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from docs import reference
from natsconnector import __version__
from natsconnector.nats import handshake
from natsconnector.planning import annotations as known

ROOT = Path(__file__).parent.parent


class ReadmeTests(SynchronousTestCase):
    """README.md, and the links of all documents."""

    def test_generated(self) -> None:
        """What it repeats from the code, the table of settings, is what the code says: ``make docs`` writes it."""
        for path, text in reference.written().items():
            self.assertEqual(path.read_text(), text, path.name)

    def test_links(self) -> None:
        """Every file that a document links to is there."""
        for document in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
            for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
                self.assertTrue((document.parent / target).exists(), f"{document.name}: {target}")


class TopicsDocumentTests(SynchronousTestCase):
    """docs/topics.md."""

    def test_annotations(self) -> None:
        """It names every annotation that counts."""
        text = (ROOT / "docs" / "topics.md").read_text()
        for annotation in known.ANNOTATIONS:
            self.assertIn(f"`{annotation}`" if "retry" not in annotation else annotation.split(".")[-1], text)


def events() -> dict[str, set[str]]:
    """The events that the code logs, each with the levels at which it does; no level where that is a variable."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "natsconnector").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            for keyword in node.keywords:
                if keyword.arg == "event" and isinstance(keyword.value, ast.Constant):
                    found[str(keyword.value.value)].add(node.func.attr)
            # The journal has two methods of its own, which are given level and event.
            name = node.args[1] if path.parent.name == "journal" and len(node.args) > 1 else None
            if node.func.attr in ("_tell", "_repeated") and isinstance(name, ast.Constant):
                level = {node.args[0].attr} if isinstance(node.args[0], ast.Attribute) else set()
                found[str(name.value)] |= level
                if node.func.attr == "_repeated":
                    found[f"{name.value!s}_again"] |= level
    return found


class LogDocumentTests(SynchronousTestCase):
    """docs/log.md."""

    def test_events(self) -> None:
        """It has every event of the code with its level, and no other."""
        rows = re.findall(r"^\| `(\w+)` \| ([\w, ]+) \|", (ROOT / "docs" / "log.md").read_text(), re.MULTILINE)
        told = {event: set(levels.split(", ")) for event, levels in rows}
        self.assertEqual(len(told), len(rows))
        logged = events()
        self.assertGreater(len(logged), 30)
        self.assertEqual(sorted(told), sorted(logged))
        for event, levels in logged.items():
            self.assertLessEqual(levels, told[event], event)


class VersionTests(SynchronousTestCase):
    """The version, where it stands a second time."""

    def test_client(self) -> None:
        """The NATS client, which imports nothing of the package, tells servers the package's version."""
        self.assertEqual(handshake.VERSION, __version__)
