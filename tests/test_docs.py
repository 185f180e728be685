"""Tests of what the documents claim."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections import defaultdict
from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from docs import reference
from natsconnector import __version__
from natsconnector.__main__ import COMMANDS
from natsconnector.config.options import Options
from natsconnector.nats import handshake
from natsconnector.planning import annotations as known

ROOT = Path(__file__).parent.parent
DOCUMENTS = (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
# What stands for something of the reader's own in a command.
PLACES = ("/var/secrets", "/run/secrets")
KEYS = "/run/secrets/callback-keys"


def commands(program: str) -> list[tuple[Path, list[str]]]:
    """The arguments of each command line of the documents that runs a program."""
    found = []
    for path in (*DOCUMENTS, ROOT / "deployment" / "nats" / "nats-server.conf"):
        text = re.sub(r"\\\n[# ]*", "", path.read_text())
        for line in re.findall(rf"^(?:#|    )[^\n]*?\b{re.escape(program)}( .*|)$", text, re.MULTILINE):
            found.append((path, shlex.split(line, comments=True)))
    return found


def anchors(document: Path) -> set[str]:
    """The names of a document's headings in links."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


class ReadmeTests(SynchronousTestCase):
    """README.md, and the links of all documents."""

    def test_generated(self) -> None:
        """What it repeats from the code, the table of settings, is what the code says: ``make docs`` writes it."""
        for path, text in reference.written().items():
            self.assertEqual(path.read_text(), text, path.name)

    def test_links(self) -> None:
        """Every file that a document links to is there, with the heading, if the link names one."""
        for document in DOCUMENTS:
            for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", document.read_text()):
                linked = document.parent / target if target else document
                self.assertTrue(linked.exists(), f"{document.name}: {target}")
                if anchor:
                    self.assertIn(anchor, anchors(linked), f"{document.name}: {target}")

    def test_connector_commands(self) -> None:
        """Every command line that runs the connector is one that it takes."""
        found = commands("twistd -n natsconnector")
        self.assertGreater(len(found), 5)
        folder = Path(self.mktemp())
        folder.mkdir()
        for name in ("basic-auth-user", "basic-auth-password"):
            (folder / name).write_text("x")
        (folder / "callback-keys").write_text("k" * 32)
        places = {KEYS: str(folder / "callback-keys"), **dict.fromkeys(PLACES, str(folder))}
        for path, arguments in found:
            options = Options()
            # A command may leave to the environment what a user needs.
            options.environment = {"NATSCONNECTOR_NATS_PASSWORD": "x"} if "--nats-user" in arguments else {}
            try:
                options.parseOptions([places.get(each, each) for each in arguments])
            except UsageError as e:
                self.fail(f"{path.name}: {shlex.join(arguments)}: {e}")

    def test_other_commands(self) -> None:
        """Likewise the commands beside it."""
        found = commands("python -m natsconnector")
        self.assertGreater(len(found), 5)
        parser = argparse.ArgumentParser(exit_on_error=False)
        subparsers = parser.add_subparsers(required=True)
        for command in COMMANDS:
            command.add_to(subparsers)
        for path, arguments in found:
            try:
                parser.parse_args(arguments)
            except SystemExit:
                self.fail(f"{path.name}: {shlex.join(arguments)}")


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
                    found[str(name.value) + "_again"] |= level
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
