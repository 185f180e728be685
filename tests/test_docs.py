"""Tests of what the documents claim."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from docs import reference
from docs.events import events
from natsconnector import __version__
from natsconnector.__main__ import COMMANDS
from natsconnector.config import logs
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


class LogDocumentTests(SynchronousTestCase):
    """docs/log.md."""

    text = (ROOT / "docs" / "log.md").read_text()

    def test_events(self) -> None:
        """It has every event of the code with its levels, and no other; no line of the code is without an event."""
        rows = re.findall(r"^\| `(\w+)` \| (\w[\w, ]*) \|", self.text.partition("## Fields\n")[0], re.MULTILINE)
        told = {event: sorted(levels.split(", ")) for event, levels in rows}
        self.assertEqual(len(told), len(rows))
        self.assertEqual(told.pop(logs.NOT_OURS), ["any"])
        self.assertEqual(told, {name: sorted(event.levels) for name, event in events().items()})

    def test_fields(self) -> None:
        """It has every field that an event has, and no other; which event has which is generated."""
        fields = self.text.partition("## Fields\n")[2].partition("###")[0]
        told = re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE)
        self.assertEqual(sorted(told), sorted(set().union(*(event.fields for event in events().values()))))

    def test_parts(self) -> None:
        """It has the short name of every part that logs."""
        for event in events().values():
            for part in event.parts:
                self.assertIn(f"`{part}`", self.text.partition("## Events")[0])


class VersionTests(SynchronousTestCase):
    """The version, where it stands a second time."""

    def test_client(self) -> None:
        """The NATS client, which imports nothing of the package, tells servers the package's version."""
        self.assertEqual(handshake.VERSION, __version__)
