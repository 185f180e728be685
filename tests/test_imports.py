"""The import rule: who may know whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent / "natsconnector"
# What each room may import of natsconnector besides itself and `reactors`; `*` is everything. A message goes
# messages -> planning -> dispatch -> gateway and back, and each hands the next a value of model/. What config has is
# read before, journal is told after.
ALLOWED: dict[str, set[str]] = {
    "reactors": set(),
    "nats": set(),
    "model": set(),
    "config": {"model", "nats"},
    "messages": {"model", "nats"},
    "planning": {"model", "config.values"},
    "dispatch": {"model", "planning", "journal"},
    "gateway": {"model"},
    "journal": {"model"},
    "web": set(),
    "admin": {"model", "journal", "web"},
    "tracing": {"model", "journal"},
    "callbacks": {"model", "messages", "web"},
    "local": {"web"},
    "testing": {"model", "nats", "connector", "assembly", "config"},
    "connector": {"model", "nats", "planning", "dispatch", "journal"},
    "assembly": {"*"},
    "commands": {"*"},
}
# The modules through which the NATS client is used from outside of it.
FACES = {"natsconnector.nats", "natsconnector.nats.fake", "natsconnector.nats.jetstream"}
IO = {"twisted", "treq", "zope", "socket", "subprocess"}
PURE = [
    *(f"model/{n}" for n in "call dead_letter function headers limits outcome reply retries route subjects".split()),
    *(f"planning/{name}" for name in "annotations calls permissions results".split()),
    "config/traces",
    "config/values",
    "admin/advice",
    "admin/facts",
    "callbacks/seal",
    "admin/health",
    "admin/status",
    "dispatch/adaptive",
    "dispatch/backlog",
    "journal/calls",
    "journal/counts",
    "journal/failures",
    "nats/errors",
    *(f"nats/wire/{name}" for name in "encode events headers info parser subjects".split()),
]


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def is_module(name: str) -> bool:
    path = ROOT.parent / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").exists()


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
            # `from natsconnector.config import logs` imports a module.
            for alias in node.names:
                name = f"{module}.{alias.name}"
                found.add(name if is_module(name) else module)
    return found


class ImportRuleTests(SynchronousTestCase):
    """Data goes down once and comes back up once; nothing on the way knows its caller."""

    def test_rooms(self) -> None:
        """Each room imports what it may, and every room has its rule."""
        for path in modules():
            room = path.relative_to(ROOT).parts[0].removesuffix(".py").replace("__main__", "commands")
            allowed = {f"natsconnector.{name}" for name in ALLOWED[room] | {room, "__version__", "reactors"}}
            for name in imports(path):
                if name.startswith("natsconnector.") and "*" not in ALLOWED[room]:
                    self.assertTrue(
                        any(f"{name}.".startswith(f"{each}.") for each in allowed), f"{path} imports {name}"
                    )

    def test_faces(self) -> None:
        """The NATS client can leave the house: outside of it nothing looks behind its faces."""
        for path in modules():
            if path.relative_to(ROOT).parts[0] != "nats":
                behind = {name for name in imports(path) if name.startswith("natsconnector.nats.")} - FACES
                self.assertEqual(behind, set(), str(path))

    def test_no_circles(self) -> None:
        """No module imports itself by way of others."""
        known = {".".join(("natsconnector", *path.relative_to(ROOT).with_suffix("").parts)): path for path in modules()}
        edges = {name: {each for each in imports(path) if each in known} for name, path in known.items()}
        finished: set[str] = set()

        def visit(name: str, way: tuple[str, ...]) -> None:
            self.assertNotIn(name, way, " -> ".join((*way, name)))
            if name not in finished:
                for each in edges[name]:
                    visit(each, (*way, name))
                finished.add(name)

        for name in known:
            visit(name, ())

    def test_pure_modules(self) -> None:
        """What is pure imports neither Twisted nor anything else that does I/O."""
        for name in PURE:
            for each in imports(ROOT / f"{name}.py"):
                self.assertNotIn(each.split(".")[0], IO, name)

    def test_no_global_reactor(self) -> None:
        """Only the composition root, and programs of their own, import the reactor."""
        for path in modules():
            if path.name != "__main__.py" and path != ROOT / "assembly" / "service.py":
                self.assertNotRegex(path.read_text(), r"from twisted.internet import .*\breactor\b", str(path))

    def test_plugin_does_not_choose_the_reactor(self) -> None:
        """Neither the plugin nor the assembly, both imported for --help, installs a reactor or loads an extra."""
        code = (
            "import sys, natsconnector.assembly, twisted.plugins.natsconnector_plugin;"
            "assert 'twisted.internet.reactor' not in sys.modules;"
            "assert 'opentelemetry' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)

    def test_modules_are_rooms(self) -> None:
        """A module of more than 300 lines has a second concern in it."""
        for path in modules():
            self.assertLessEqual(len(path.read_text().splitlines()), 300, str(path))


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
