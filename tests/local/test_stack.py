"""Reading stack files."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.local.processes import Function
from natsconnector.local.stack import StackError, read_stack

EXAMPLE = Path(__file__).parents[2] / "examples" / "stack.yml"


class ReadStackTests(SynchronousTestCase):
    def write(self, text: str) -> str:
        path = Path(self.mktemp())
        path.mkdir()
        (path / "stack.yml").write_text(text)
        return str(path / "stack.yml")

    def faults(self, text: str) -> list[str]:
        """The faults found in `text`, each of which the message must name together with the file."""
        path = self.write(text)
        with self.assertRaises(StackError) as caught:
            read_stack(path)
        faults: list[str] = caught.exception.faults
        self.assertEqual(str(caught.exception).splitlines(), [f"{path}: {fault}" for fault in faults])
        return faults

    def fault(self, text: str) -> str:
        [fault] = self.faults(text)
        return fault

    def test_example(self) -> None:
        """The stack file that we ship can be read, and its functions be started."""
        functions = read_stack(EXAMPLE)
        self.assertEqual(set(functions), {"figlet", "cat", "slow"})
        self.assertEqual(functions["figlet"].annotations, {"topic": "banner"})

    def test_whole_declaration(self) -> None:
        """Each key that matters arrives, numbers and booleans as text; keys for building are left alone."""
        path = self.write(
            """
            version: 1.0
            provider: {name: openfaas}
            functions:
              upper:
                lang: python3
                handler: ./upper
                image: example/upper:1
                fprocess: tr a-z A-Z
                namespace: dev
                labels: {tier: "1"}
                annotations: {topic: "a,b"}
                environment: {write_debug: true, seconds: 1, ratio: 0.5}
            """
        )
        self.assertEqual(
            read_stack(path),
            {
                "upper": Function(
                    "upper",
                    "tr a-z A-Z",
                    namespace="dev",
                    image="example/upper:1",
                    labels={"tier": "1"},
                    annotations={"topic": "a,b"},
                    environment={"write_debug": "true", "seconds": "1", "ratio": "0.5"},
                    directory=str(Path(path).resolve().parent),
                )
            },
        )

    def test_no_functions(self) -> None:
        """A file that declares none is a fault; one that declares an empty mapping is not."""
        self.assertEqual(self.fault("version: 1.0"), "has no mapping 'functions'")
        self.assertEqual(self.fault(""), "has no mapping 'functions'")
        self.assertEqual(self.fault("functions: [a]"), "has no mapping 'functions'")
        self.assertEqual(read_stack(self.write("functions: {}")), {})

    def test_missing_file(self) -> None:
        """A file that is not there is named."""
        with self.assertRaises(StackError) as caught:
            read_stack("/nowhere/stack.yml")
        self.assertEqual(str(caught.exception), "/nowhere/stack.yml: No such file or directory")

    def test_not_yaml(self) -> None:
        """What is not YAML, or not even text, is said to be so in one line."""
        self.assertRegex(self.fault("functions: [\n"), r"\Anot YAML: .*line 2")
        path = self.write("")
        Path(path).write_bytes(b"\xff\x00\x01")
        self.assertRaises(StackError, read_stack, path)

    def test_only_plain_values(self) -> None:
        """Tags that would run Python code are refused."""
        self.assertIn("not YAML", self.fault("functions: !!python/object/apply:os.getcwd []"))

    def test_fprocess(self) -> None:
        """A command that is missing, empty, of the wrong type, not closed or not there is a fault."""
        self.assertIn("has no 'fprocess'", self.fault("functions: {f: {lang: go}}"))
        self.assertIn("'fprocess' must be text", self.fault("functions: {f: {fprocess: [cat]}}"))
        self.assertIn("'fprocess': no such executable: ''", self.fault("functions: {f: {fprocess: ''}}"))
        self.assertIn("'fprocess': No closing quotation", self.fault("functions: {f: {fprocess: 'sh -c \"'}}"))
        fault = self.fault("functions: {f: {fprocess: no-such-thing}}")
        self.assertEqual(fault, "function 'f': 'fprocess': no such executable: 'no-such-thing'")

    def test_names(self) -> None:
        """A name must be one that a URL can hold, and has no dot, which would separate a namespace."""
        for name in ("'a.b'", "'a/b'", "''", "-a", "'a b'", "7"):
            self.assertIn("the name must be", self.fault(f"functions: {{{name}: {{fprocess: cat}}}}"), name)
        self.assertIn("'namespace'", self.fault("functions: {f: {fprocess: cat, namespace: 'a/b'}}"))

    def test_shapes(self) -> None:
        """Whatever is no mapping, or holds what is no text, is a fault of its function."""
        self.assertEqual(self.fault("functions: {f: cat}"), "function 'f': must be a mapping")
        for key in ("annotations", "labels", "environment"):
            self.assertIn(f"{key!r} must be a mapping", self.fault(f"functions: {{f: {{fprocess: cat, {key}: x}}}}"))
            fault = self.fault(f"functions: {{f: {{fprocess: cat, {key}: {{a: [1]}}}}}}")
            self.assertIn(f"{key!r}: 'a' must be text", fault)
        self.assertIn("'A=B'", self.fault("functions: {f: {fprocess: cat, environment: {'A=B': c}}}"))

    def test_all_faults(self) -> None:
        """All faults of a file are reported at once."""
        faults = self.faults("functions: {a: {}, b: {fprocess: cat}, c: 1}")
        self.assertEqual([fault[:12] for fault in faults], ["function 'a'", "function 'c'"])


class CommandTests(SynchronousTestCase):
    def test_python(self) -> None:
        """`python` is the interpreter that runs us, not the first of PATH."""
        for name in ("python", "python3"):
            self.assertEqual(Function("f", f"{name} -c 'a b'").command(), [sys.executable, "-c", "a b"])

    def test_relative(self) -> None:
        """A path is relative to the function's directory; a bare name is looked for on PATH only."""
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        script = directory / "run"
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
        self.assertEqual(Function("f", "./run x", directory=str(directory)).command(), [f"{directory}/./run", "x"])
        self.assertRaises(ValueError, Function("f", "run", directory=str(directory)).command)
