"""The import rule: who may know whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent / "natsconnector"
PURE = {
    "backlog",
    "calls",
    "deadletters",
    "functions",
    "httpheaders",
    "outcome",
    "permissions",
    "topics",
    "values",
}
# What each part may import of natsconnector; a folder may always import itself, `*` is everything.
ALLOWED: dict[str, set[str]] = {
    "nats": set(),
    "gateway": {"calls", "functions", "httpheaders", "interfaces", "outcome"},
    "local": set(),
    "backlog": set(),
    "httpheaders": set(),
    "topics": set(),
    "values": set(),
    "calls": {"httpheaders"},
    "outcome": {"calls", "httpheaders"},
    "deadletters": {"httpheaders"},
    "permissions": {"calls"},
    "functions": {"outcome", "topics", "values"},
    "interfaces": {"calls", "httpheaders", "outcome"},
    "ending": {"calls", "interfaces", "outcome"},
    "logs": set(),
    "journal": {"calls", "ending", "logs", "outcome"},
    "settlement": {"deadletters", "ending", "httpheaders", "interfaces", "journal", "outcome"},
    "fanout": {"httpheaders", "interfaces", "outcome"},
    "catalogue": {"functions", "topics"},
    "planner": {"calls", "catalogue", "deadletters", "functions", "interfaces", "permissions", "topics"},
    "dispatcher": {
        "backlog", "calls", "ending", "fanout", "interfaces", "journal", "outcome", "planner", "settlement",
    },
    "sources": {"httpheaders", "interfaces", "nats", "topics"},
    "login": {"nats", "topics"},
    "flags": {"login", "nats", "topics", "values"},
    "settings": {"flags", "login", "nats", "topics", "values"},
    "connection": {"login", "nats", "settings"},
    "options": {"flags", "logs", "settings"},
    "connector": {"catalogue", "dispatcher", "interfaces", "journal", "nats"},
    "testing": {"calls", "httpheaders", "interfaces", "outcome"},
    "service": {"*"},
    "commands": {"*"},
    "__main__": {"commands"},
}  # fmt: skip
SANS_IO = ["nats/errors", *(f"nats/wire/{name}" for name in ("parser", "events", "headers", "encode", "subjects"))]


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imports(path: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever it does."""
    package = ["natsconnector", *path.relative_to(ROOT).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) + 1 - node.level], *([node.module] if node.module else [])]
            module = ".".join(base) if node.level else node.module or ""
            # `from natsconnector import logs` imports a module.
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "natsconnector" else {module}
    return found


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


class ImportRuleTests(SynchronousTestCase):
    """Data goes down once and comes back up once; nothing on the way knows its caller."""

    def test_parts(self) -> None:
        """Each part imports what it may, and every part has its rule."""
        for path in modules():
            allowed = ALLOWED[part(path)] | {part(path), "__version__"}
            for name in imports(path):
                names = name.split(".")
                if names[0] == "natsconnector" and "*" not in allowed:
                    self.assertIn(names[1], allowed, f"{path} imports {name}")

    def test_pure_parts(self) -> None:
        """What is pure imports neither Twisted nor anything else that does I/O."""
        pure = [ROOT / f"{name}.py" for name in [*PURE, *SANS_IO]]
        for path in pure:
            for name in imports(path):
                self.assertNotIn(name.split(".")[0], {"twisted", "treq", "zope", "socket", "subprocess"}, path)

    def test_no_global_reactor(self) -> None:
        """Only the composition root, and programs of their own, import the reactor."""
        for path in modules():
            if path.name not in ("service.py", "__main__.py"):
                self.assertNotRegex(path.read_text(), r"from twisted.internet import .*\breactor\b", str(path))

    def test_plugin_does_not_choose_the_reactor(self) -> None:
        """Neither the plugin nor the service module, both imported for --help, installs a reactor."""
        code = (
            "import sys, natsconnector.service, twisted.plugins.natsconnector_plugin;"
            "assert 'twisted.internet.reactor' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)

    def test_modules_are_rooms(self) -> None:
        """A module of much more than 300 lines has a second concern in it."""
        for path in modules():
            self.assertLess(len(path.read_text().splitlines()), 350, str(path))


class TestsThatRunTests(SynchronousTestCase):
    """Tests that would pass without running."""

    def test_no_asynchronous_test_in_a_synchronous_case(self) -> None:
        """A SynchronousTestCase does not wait: a coroutine in it passes whatever it asserts."""
        bases: dict[str, list[str]] = {}
        asynchronous: dict[str, list[str]] = {}
        for path in Path(__file__).parent.rglob("test_*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    bases[node.name] = [ast.unparse(base).split(".")[-1] for base in node.bases]
                    asynchronous[node.name] = [
                        each.name for each in node.body if isinstance(each, ast.AsyncFunctionDef)
                    ]

        def is_synchronous(name: str) -> bool:
            return name == "SynchronousTestCase" or any(is_synchronous(base) for base in bases.get(name, []))

        self.assertEqual([n for n, tests in asynchronous.items() if tests and is_synchronous(n)], [])
