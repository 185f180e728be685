"""Tests of what the documents claim."""

from __future__ import annotations

import re
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
        for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
            for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
                self.assertTrue((document.parent / target).exists(), f"{document.name}: {target}")


class TopicsDocumentTests(SynchronousTestCase):
    """docs/topics.md."""

    def test_annotations(self) -> None:
        """It names every annotation that counts."""
        text = (ROOT / "docs" / "topics.md").read_text()
        for annotation in known.ANNOTATIONS:
            self.assertIn(f"`{annotation}`" if "retry" not in annotation else annotation.split(".")[-1], text)


class VersionTests(SynchronousTestCase):
    """The version, where it stands a second time."""

    def test_client(self) -> None:
        """The NATS client, which imports nothing of the package, tells servers the package's version."""
        self.assertEqual(handshake.VERSION, __version__)
