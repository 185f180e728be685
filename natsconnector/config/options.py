"""The command line of ``twistd natsconnector``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from twisted.python import usage

from natsconnector import __version__
from natsconnector.config import logs
from natsconnector.config.reading import ConfigurationError, read
from natsconnector.config.settings import FLAGS, Settings


class Options(usage.Options):
    """What stands on the command line, completed by the environment into :attr:`settings`."""

    synopsis = "[options]"
    longdesc = (
        "Calls OpenFaaS functions for messages on NATS. Every flag can also be given in the environment, as named."
        " A flag counts before the environment, NATSCONNECTOR_* before the other names; an empty value counts as unset."
        " Durations are written 250ms, 30s, 1m30s, sizes 65536, 64KiB, 8MiB."
    )
    # Defaults are in the texts only: a None tells what the user did not give.
    optParameters = [[flag.name, None, None, flag.help_text] for flag in FLAGS if not flag.is_switch]
    optFlags = [[flag.name, None, flag.help_text] for flag in FLAGS if flag.is_switch]

    environment: Mapping[str, str] = os.environ
    settings: Settings
    _has_faults = False

    def getUsage(self, width: int | None = None) -> str:
        """The help text; only where to find it when there are faults to be seen."""
        return "See --help.\n" if self._has_faults else str(super().getUsage(width))

    def opt_version(self) -> None:
        """Display natsconnector's version and exit."""
        print(f"natsconnector {__version__}")
        sys.exit(0)

    def postOptions(self) -> None:
        """
        Read the settings, and tell twistd how to log.

        :raises usage.UsageError: with all that is wrong, a line each.
        """
        flags = {flag.name: "on" if flag.is_switch else self[flag.name] for flag in FLAGS if self[flag.name]}
        try:
            self.settings = read(flags, self.environment)
        except ConfigurationError as e:
            self._has_faults = True
            raise usage.UsageError("this configuration cannot work:\n  " + "\n  ".join(e.faults)) from None
        if self.parent is not None:
            _log_by_settings(self.parent, self.settings)


def _log_by_settings(parent: Any, chosen: Settings) -> None:
    """Set the options of twistd, or of twist, that make it log in the chosen form and leave no pid file."""
    if "fileLogObserverFactory" in parent:  # twist
        parent["fileLogObserverFactory"] = lambda stream: logs.observer(stream, chosen.log_format, chosen.log_level)
        return
    if parent.get("nodaemon") and parent.get("pidfile") == "twistd.pid":
        # In the foreground whoever started it knows the process; a second one in this folder would refuse to start.
        parent["pidfile"] = ""
    if not parent.get("logger") and not parent.get("syslog"):
        path = parent.get("logfile") or ("-" if parent.get("nodaemon") else "twistd.log")
        parent["logger"] = logs.choose(path, chosen.log_format, chosen.log_level)
