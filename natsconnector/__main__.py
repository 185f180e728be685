"""``natsconnector COMMAND``, also ``python -m natsconnector COMMAND``: the connector, and the tools beside it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from twisted.internet.task import react
from twisted.scripts import twistd

from natsconnector import __version__
from natsconnector.commands import call, check, probe, redrive

COMMANDS = (call, check, probe, redrive)
"""Modules with ``add_to(commands)``, which adds a parser whose default ``run(reactor, arguments)`` gives a Deferred."""
_RUN = "run"


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and do what it says; ends the process."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == [_RUN]:
        # twistd parses the flags, chooses the reactor, and ends the process.
        sys.argv = ["twistd", "-n", "natsconnector", *words[1:]]
        twistd.run()
        return
    parser = argparse.ArgumentParser(
        prog="natsconnector",
        description="Calls OpenFaaS functions for messages on NATS. Each command has a --help.",
    )
    parser.add_argument("--version", action="version", version=f"natsconnector {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands.add_parser(_RUN, help="run the connector: the same as twistd -n natsconnector")
    for command in COMMANDS:
        command.add_to(commands)
    arguments = parser.parse_args(words)
    react(arguments.run, [arguments])


if __name__ == "__main__":
    main()
