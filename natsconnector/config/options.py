"""The command line of ``twistd natsconnector``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from twisted.python import usage

from natsconnector import __version__
from natsconnector.config import logs
from natsconnector.config.reading import ConfigurationError, read
from natsconnector.config.settings import FLAGS, Settings
from natsconnector.config.usage import help_text

_ON_COMMAND_LINE = tuple(flag for flag in FLAGS if not flag.in_environment_only)


class Options(usage.Options):
    """What stands on the command line, completed by the environment into :attr:`settings`."""

    synopsis = "[options]"
    # Defaults are in the texts only: a None tells what the user did not give.
    optParameters = [[flag.name, None, None, ""] for flag in _ON_COMMAND_LINE if not flag.is_switch]
    optFlags = [[flag.name, None, ""] for flag in _ON_COMMAND_LINE if flag.is_switch]

    environment: Mapping[str, str] = os.environ
    settings: Settings

    def getUsage(self, width: int | None = None) -> str:
        """The help text."""
        return help_text(_ON_COMMAND_LINE)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line.

        :raises usage.UsageError: with what is wrong.
        :raises SystemExit: the same under twistd or twist, which tell an error in different ways: on standard output,
            with the whole help, in old versions with exit status 0.
        """
        arguments = list(sys.argv[1:] if options is None else options)
        try:
            self._refuse_unknown(arguments)
            super().parseOptions(_added_up(arguments))
        except usage.UsageError as e:
            if self.parent is None:
                raise
            raise SystemExit(f"natsconnector: {e}\nSee twistd natsconnector --help") from None

    def _refuse_unknown(self, arguments: list[str]) -> None:
        names = {*(flag.name for flag in _ON_COMMAND_LINE), "help", "version"}
        takes_value = {flag.name for flag in _ON_COMMAND_LINE if not flag.is_switch}
        rest = iter(arguments)
        for argument in rest:
            if not argument.startswith("--"):
                raise usage.UsageError(f"{argument!r} is a stray word: every setting is a flag with two dashes")
            name, equals, _ = argument.removeprefix("--").partition("=")
            # getopt takes an unambiguous beginning for the whole name.
            whole = [each for each in names if each == name] or [each for each in names if each.startswith(name)]
            if not whole:
                near = get_close_matches(name, names, 1)
                hint = f": did you mean --{near[0]}?" if near else ""
                raise usage.UsageError(f"there is no flag --{name}{hint}")
            if len(whole) == 1 and whole[0] in takes_value and not equals:
                next(rest, None)

    def opt_version(self) -> None:
        """Display natsconnector's version and exit."""
        print(f"natsconnector {__version__}")
        sys.exit(0)

    def postOptions(self) -> None:
        """
        Read the settings, and tell twistd how to log.

        :raises usage.UsageError: with all that is wrong, a line each.
        """
        flags = {flag.name: "on" if flag.is_switch else self[flag.name] for flag in _ON_COMMAND_LINE if self[flag.name]}
        try:
            self.settings = read(flags, self.environment)
        except ConfigurationError as e:
            raise usage.UsageError("this configuration cannot work:\n  " + "\n  ".join(e.faults)) from None
        if self.parent is not None:
            _log_by_settings(self.parent, self.settings)


def _added_up(arguments: list[str]) -> list[str]:
    """The arguments with lists that are given several times as one: the last would count alone."""
    lists = {flag.name for flag in FLAGS if flag.is_list}
    found: dict[str, int] = {}
    added: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.removeprefix("--").partition("=")
        if name not in lists:
            added.append(argument)
            continue
        if not equals and (given := next(rest, None)) is None:
            added.append(argument)  # its value is missing, which getopt says
            continue
        value = value if equals else given or ""
        if name in found:
            added[found[name]] += f",{value}"
        else:
            found[name] = len(added)
            added.append(f"--{name}={value}")
    return added


def _log_by_settings(parent: Any, chosen: Settings) -> None:
    """Set the options of twistd, or of twist, that make it log in the chosen form and leave no pid file."""
    if "fileLogObserverFactory" in parent:  # twist
        parent["fileLogObserverFactory"] = lambda stream: logs.observer(stream, chosen.log_format, chosen.log_level)
        return
    if parent.get("nodaemon") and parent.get("pidfile") == "twistd.pid":
        # In the foreground whoever started twistd knows the process; with a pid file, a second connector in this folder
        # would refuse to start.
        parent["pidfile"] = ""
    if not parent.get("logger") and not parent.get("syslog"):
        path = parent.get("logfile") or ("-" if parent.get("nodaemon") else "twistd.log")
        parent["logger"] = logs.choose(path, chosen.log_format, chosen.log_level)
