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
        """Help says of every flag what it means, its environment name and aliases, and its defaults."""
        rows = dict(re.findall(r"^      ?--([a-z-]+)=? *(.*?)(?=^      ?--|\Z)", str(Options()), re.M | re.S))
        for flag in FLAGS:
            text = " ".join(rows[flag.name].split()).replace("- ", "-")
            wanted = [flag.meaning, *flag.environment_names, *(f"{when}{value}" for when, value in flag.defaults)]
            for part in wanted:
                self.assertIn(part.replace("- ", "-"), text, flag.name)
        self.assertIn("[default: function.call; with topics none]", " ".join(rows["subject"].split()))
        self.assertIn("[default: 3; with --stream 100]", " ".join(rows["retry-attempts"].split()))

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
