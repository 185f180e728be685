"""Tests of the command line."""

from __future__ import annotations

import re
from typing import Any

from twisted.logger import ILogObserver
from twisted.python.reflect import namedAny
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.config.options import Options
from natsconnector.config.settings import FLAGS


class OptionsTests(SynchronousTestCase):
    """``twistd natsconnector ...``."""

    def parsed(self, *arguments: str, parent: Any = None, **environment: str) -> Options:
        options = Options()
        options.environment = environment
        options.parent = parent
        options.parseOptions(list(arguments))
        return options

    def test_flags_and_environment(self) -> None:
        """Both reach the settings."""
        settings = self.parsed("--max-inflight", "5", "--print-response", NATSCONNECTOR_TIMEOUT="2s").settings
        self.assertEqual((settings.max_inflight, settings.print_response, settings.timeout_s), (5, True, 2))

    def test_faults(self) -> None:
        """All faults are in one usage error."""
        error = self.assertRaises(UsageError, self.parsed, "--timeout", "x", "--max-inflight", "y")
        self.assertIn("--timeout: 'x'", str(error))
        self.assertIn("--max-inflight: 'y'", str(error))

    def test_help(self) -> None:
        """Help has every flag under its theme, with what its value is, what it means, its other names and defaults."""
        text = str(Options())
        for flag in FLAGS:
            if flag.in_environment_only:
                self.assertNotIn(f"--{flag.name} ", text)
                continue
            self.assertIn(f"\n  {flag.usage}\n", text)
            entry = " ".join(text.partition(f"\n  {flag.usage}\n")[2].split("\n  --")[0].split("\n\n")[0].split())
            wanted = [flag.meaning, *(alias.name for alias in flag.aliases)]
            for part in (*wanted, *(f"{when}{value}" for when, value in flag.defaults)):
                self.assertIn(" ".join(part.split()), entry, flag.name)
        self.assertIn("[default: function.call; with topics or --function-subject none]", " ".join(text.split()))
        self.assertIn("[default: 3; with --stream 100]", " ".join(text.split()))
        headings = [line[:-1] for line in text.splitlines() if re.fullmatch(r"\w[^.]*:", line)]
        self.assertEqual(headings, list(dict.fromkeys(flag.group for flag in FLAGS)))
        self.assertLessEqual(max(len(line) for line in text.splitlines()), 120)

    def test_usage_faults(self) -> None:
        """A slip names itself, and the nearest flag; twistd and twist end with it, and say where the help is."""
        for arguments, says in [
            (["--max-inflght", "5"], "there is no flag --max-inflght: did you mean --max-inflight?"),
            (["--quite-another"], "there is no flag --quite-another"),
            (["--timeout", "5s", "stray"], "'stray' is a stray word"),
            (["--topics"], "topics"),
            (["-x"], "'-x' is a stray word"),
        ]:
            self.assertIn(says, str(self.assertRaises(UsageError, self.parsed, *arguments)))
            # A text as the code of SystemExit goes to standard error, with status 1.
            code = str(self.assertRaises(SystemExit, self.parsed, *arguments, parent={}).code)
            self.assertIn(says, code)
            self.assertTrue(code.endswith("\nSee twistd natsconnector --help"), code)

    def test_lists_add_up(self) -> None:
        """A list that is given several times is one list; anything else counts as it was given last."""
        settings = self.parsed(
            "--topics", "a", "--topics=b", "--topics", "c,d", "--timeout", "1s", "--timeout=2s"
        ).settings
        self.assertEqual((settings.topics, settings.timeout_s), (("a", "b", "c", "d"), 2))

    def test_beginnings(self) -> None:
        """An unambiguous beginning of a name stands for it, as getopt has it."""
        self.assertEqual(self.parsed("--max-inflight-per", "3").settings.max_inflight_per_function, 3)

    def test_twistd_parent(self) -> None:
        """twistd gets an observer, and leaves no pid file when it stays in the foreground."""
        parent: dict[str, Any] = {"nodaemon": 1, "pidfile": "twistd.pid", "logger": None, "logfile": "-"}
        self.parsed(parent=parent)
        self.assertEqual(parent["pidfile"], "")
        self.assertTrue(ILogObserver.providedBy(namedAny(parent["logger"])()))
        parent = {"nodaemon": 0, "pidfile": "twistd.pid", "logger": "mine"}
        self.parsed(parent=parent)
        self.assertEqual((parent["pidfile"], parent["logger"]), ("twistd.pid", "mine"))

    def test_twist_parent(self) -> None:
        """twist gets an observer in the way it takes one."""
        parent: dict[str, Any] = {"fileLogObserverFactory": None}
        self.parsed(parent=parent)
        self.assertTrue(callable(parent["fileLogObserverFactory"]))
