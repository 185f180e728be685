"""Tests of what the documents claim."""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
import subprocess
from collections import defaultdict
from pathlib import Path

import yaml
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from docs import reference
from docs.events import events
from natsconnector import __version__, nats
from natsconnector.__main__ import COMMANDS
from natsconnector.config import logs
from natsconnector.config.options import Options
from natsconnector.local.nats_server import find_nats_server
from natsconnector.local.stack import read_stack
from natsconnector.model.call import Malformed
from natsconnector.nats import handshake
from natsconnector.planning import annotations as known
from natsconnector.planning.envelope import envelope_call, read_envelope

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
        # In a block, indented or fenced, or in a comment of a configuration.
        blocks = "\n".join(re.findall(r"^(?:#|    ).*$", text, re.MULTILINE) + fenced(text, "shell"))
        for line in re.findall(rf"^[^\n]*?\b{re.escape(program)}( .*|)$", blocks, re.MULTILINE):
            found.append((path, shlex.split(line, comments=True)))
    return found


def fenced(text: str, language: str) -> list[str]:
    """The fenced blocks of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The names of a document's headings in links."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


# What a reason is given to, for the publisher and the log.
_FAULTS = {"Malformed", "Forbidden", "Refused", "failed", "unfinished", "Outcome"}


class DocumentsTests(SynchronousTestCase):
    """All documents."""

    def test_generated(self) -> None:
        """What they repeat from the code, such as the settings, is what the code says: ``make reference`` writes it."""
        for path, text in reference.written().items():
            self.assertEqual(path.read_text(), text, path.name)

    def test_index(self) -> None:
        """The index links every page, and every page is once in the site's tables of contents."""
        index = (ROOT / "docs" / "index.md").read_text()
        pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
        self.assertEqual(pages - set(re.findall(r"\]\(([\w-]+)\.md\)", index)), set())
        listed = [line for tree in fenced(index, "{toctree}") for line in tree.splitlines() if re.match(r"\w", line)]
        self.assertEqual(sorted(listed), sorted(pages))

    def test_json(self) -> None:
        """Every JSON example is JSON, and what names a function in it is an envelope that the connector understands."""
        examples = [(path, text) for path in DOCUMENTS for text in fenced(path.read_text(), "json")]
        self.assertGreater(len(examples), 5)
        for path, text in examples:
            while text := text.strip():
                try:
                    value, end = json.JSONDecoder().raw_decode(text)
                    if "params" in value:
                        self.assertTrue(envelope_call(*read_envelope(text[:end].encode())).body)
                except (ValueError, Malformed) as e:
                    self.fail(f"{path.name}: {e}: {text}")
                text = text[end:]

    def test_programs(self) -> None:
        """Every example in Python is Python."""
        for path in DOCUMENTS:
            for text in fenced(path.read_text(), "python"):
                compile(text, path.name, "exec")

    def test_stacks(self) -> None:
        """Every YAML example is YAML, and every stack file one that the local gateway reads."""
        examples = [text for path in DOCUMENTS for text in fenced(path.read_text(), "yaml")]
        stacks = [text for text in examples if yaml.safe_load(text).get("provider")]
        self.assertGreater(len(stacks), 1)
        for text in stacks:
            path = Path(self.mktemp())
            path.write_text(text)
            self.assertTrue(read_stack(path))

    def test_servers(self) -> None:
        """nats-server understands every example of its configuration."""
        examples = [text for path in DOCUMENTS for text in fenced(path.read_text(), "conf")]
        self.assertGreater(len(examples), 0)
        for text in examples:
            path = Path(self.mktemp())
            path.write_text(text)
            result = subprocess.run([find_nats_server(), "-t", "-c", path], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stderr + text)

    def test_links(self) -> None:
        """Every file that a document links to is there, with the heading, if the link names one."""
        link = re.compile(r"""(?:\]\(|(?:src|srcset|href)=")([^)#:"]*)(?:\#([^)"]+))?[)"]""")
        for document in DOCUMENTS:
            for target, anchor in link.findall(document.read_text()):
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


class ApiDocumentTests(SynchronousTestCase):
    """docs/api-*.md."""

    def test_client(self) -> None:
        """The NATS client's page has all that the client exports."""
        text = (ROOT / "docs" / "api-nats.md").read_text()
        self.assertEqual(
            sorted(re.findall(r"^\.\. (?:auto\w+|data):: (\w+)$", text, re.MULTILINE)), sorted(nats.__all__)
        )


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


def _template(node: ast.expr) -> str | None:
    """A text as the documents write it, ``...`` for what is filled in; None if it is no text."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def reasons() -> set[str]:
    """The reasons for which messages are refused and calls fail, as far as this package words them."""
    found = set()
    for path in (ROOT / "natsconnector").rglob("*.py"):
        if path.parent.name not in ("planning", "gateway", "dispatch", "model"):
            continue
        tree = ast.parse(path.read_text())
        # A text of more than a line has a name.
        named: dict[str, list[ast.expr]] = defaultdict(list)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                named[node.targets[0].id].append(node.value)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FAULTS:
                texts = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "failure")]
                for text in texts:
                    found |= {_template(each) for each in (named[text.id] if isinstance(text, ast.Name) else [text])}
    return {text for text in found if text}


class TroubleshootingTests(SynchronousTestCase):
    """docs/troubleshooting.md."""

    def setUp(self) -> None:
        self.text = (ROOT / "docs" / "troubleshooting.md").read_text()

    def test_reasons(self) -> None:
        """It has every reason for which a message is refused, or a call fails, and no other."""
        told = re.findall(r"^\| `([^`]* [^`]*)` \|", self.text.partition("\n## Reasons")[2], re.MULTILINE)
        worded = reasons()
        self.assertGreater(len(worded), 40)
        self.assertEqual(sorted(worded - {*told}), [])
        self.assertEqual(sorted({*told} - worded), [])
        self.assertEqual(len(told), len({*told}))

    def test_events(self) -> None:
        """Every event that it names is one that the code logs; docs/log.md has all of them."""
        rows = re.findall(r"^\| (`.*?`) \|", self.text.partition("\n## Events")[2], re.MULTILINE)
        told = [event for row in rows for event in re.findall(r"`(\w+)`", row)]
        self.assertGreater(len(told), 20)
        self.assertEqual(sorted({*told} - events().keys()), [])
        self.assertEqual(len(told), len({*told}))


# Where the version stands a second time, and how often.
_VERSION_PLACES = {
    "deployment/helm/natsconnector/Chart.yaml": 2,
    "deployment/k8s/deployment.yml": 3,
    "deployment/k8s/jetstream.yml": 3,
    "deployment/swarm/stack.yml": 1,
    "docs/deploying.md": 2,
    "docs/migrating-from-openfaas-nats-connector.md": 2,
}


class VersionTests(SynchronousTestCase):
    """The version, where it stands a second time."""

    def test_client(self) -> None:
        """The NATS client, which imports nothing of the package, tells servers the package's version."""
        self.assertEqual(handshake.VERSION, __version__)

    def test_places(self) -> None:
        """Manifests, chart and documents name this version; the places are these and no others."""
        found: dict[str, list[str]] = {}
        for folder in ("deployment", "docs"):
            for path in (ROOT / folder).rglob("*.*"):
                if path.suffix in (".md", ".yml", ".yaml"):
                    versions = re.findall(
                        r"""(?:natsconnector:|app\.kubernetes\.io/version: "|^(?:appV|v)ersion: "?)(\d+\.\d+\.\d+)""",
                        path.read_text(),
                        re.MULTILINE,
                    )
                    if versions:
                        found[str(path.relative_to(ROOT))] = versions
        self.assertEqual(found, {place: [__version__] * times for place, times in _VERSION_PLACES.items()})
