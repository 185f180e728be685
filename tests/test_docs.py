"""Tests of what the documents claim."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from natsconnector import __version__, functions
from natsconnector.flags import FLAGS
from natsconnector.nats import handshake

ROOT = Path(__file__).parent.parent


class ReadmeTests(SynchronousTestCase):
    """README.md."""

    def setUp(self) -> None:
        self.rows: dict[str, list[str]] = {}
        for line in (ROOT / "README.md").read_text().splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            for flag in re.findall(r"`--([a-z-]+)", cells[0]) if line.startswith("| `--") else ():
                self.rows[flag] = cells

    def test_flags(self) -> None:
        """The table has every flag, no other, and no other alias than the code knows, in its order."""
        self.assertEqual(set(self.rows), {flag.name for flag in FLAGS})
        for flag in FLAGS:
            _, default, others, _ = self.rows[flag.name]
            for alias in flag.aliases:
                self.assertIn(f"`{alias.name}`", others, flag.name)
            if flag.default is not None:
                self.assertIn(f"`{flag.default}`", default, flag.name)
            if flag.stream_default is not None:
                self.assertIn(f"`{flag.stream_default}`", default, flag.name)

    def test_links(self) -> None:
        """Every file that a document links to is there."""
        for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
            for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
                self.assertTrue((document.parent / target).exists(), f"{document.name}: {target}")


class TopicsDocumentTests(SynchronousTestCase):
    """docs/topics.md."""

    def test_annotations(self) -> None:
        """It names every annotation that counts."""
        text = (ROOT / "docs" / "topics.md").read_text()
        for annotation in functions._OPTIONS:
            self.assertIn(f"`{annotation}`" if "retry" not in annotation else annotation.split(".")[-1], text)


class VersionTests(SynchronousTestCase):
    """The version, where it stands a second time."""

    def test_client(self) -> None:
        """The NATS client, which imports nothing of the package, tells servers the package's version."""
        self.assertEqual(handshake.VERSION, __version__)
