"""``python -m natsconnector COMMAND``: tools beside the connector itself, which twistd runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from twisted.internet.task import react

from natsconnector import __version__
from natsconnector.commands import call, check, probe, redrive

COMMANDS = (call, check, probe, redrive)
"""Modules with ``add_to(commands)``, which adds a parser whose default ``run(reactor, arguments)`` gives a Deferred."""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and do what it says; ends the process."""
    parser = argparse.ArgumentParser(
        prog="python -m natsconnector",
        description="Tools beside the connector, which itself is run by: twistd -n natsconnector",
    )
    parser.add_argument("--version", action="version", version=f"natsconnector {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    arguments = parser.parse_args(argv)
    react(arguments.run, [arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
