"""``python -m natsconnector.local``: the local gateway alone."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.usage import Options, UsageError

from natsconnector.local.gateway import LocalGateway
from natsconnector.local.stack import StackError, read_stack
from natsconnector.reactors import Reactor


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(f"not in 0-65535: {text}")
    return port


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9](?:[-A-Za-z0-9._]{0,253}[A-Za-z0-9])?", name):
            raise ValueError(f"no name of a host, without its port: {name!r}")
    return names


def _number(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 1000:
        raise ValueError(f"not in 0-1000: {text}")
    return number


_names.coerceDoc = "Must be names, with commas."  # type: ignore[attr-defined]
_number.coerceDoc = "Must be a number."  # type: ignore[attr-defined]
_port.coerceDoc = "Must be a port number."  # type: ignore[attr-defined]


class GatewayOptions(Options):
    """The command line, checked: ``stack`` and ``secrets`` hold what the named files say."""

    synopsis = "Usage: python -m natsconnector.local --functions FILE [options]"
    longdesc = "Serves the functions of an OpenFaaS stack file, each call as a local process."
    optParameters = [
        ["functions", None, None, "OpenFaaS stack file that declares the functions"],
        ["host", None, "127.0.0.1", "Address to listen on"],
        ["names", None, [], "Further names under which it is reached: gateway.team.svc,gateway.example.com", _names],
        ["port", None, 8080, "Port to listen on; 0 takes a free one", _port],
        ["queue-retries", None, 0, "How often asynchronous calls and callbacks that fail are tried again", _number],
        ["credentials", None, None, "Folder of basic-auth-user and basic-auth-password, asked for on /system/"],
    ]

    def postOptions(self) -> None:
        if not self["functions"]:
            raise UsageError("--functions is missing")
        try:
            self.stack = read_stack(self["functions"])
        except StackError as error:
            raise UsageError(f"--functions: {error}") from error
        self.secrets: tuple[str, str] | None = None
        if self["credentials"]:
            folder = Path(self["credentials"])
            try:
                user, password = (
                    (folder / name).read_text().strip() for name in ("basic-auth-user", "basic-auth-password")
                )
            except (OSError, UnicodeError) as error:
                raise UsageError(f"--credentials: {error}") from error
            self.secrets = (user, password)


async def _serve(reactor: Reactor, options: GatewayOptions) -> None:
    gateway = LocalGateway(
        reactor,
        options.stack,
        host=options["host"],
        names=options["names"],
        port=options["port"],
        credentials=options.secrets,
        queue_retries=options["queue-retries"],
    )
    try:
        await gateway.start()
    except CannotListenError as error:
        raise SystemExit(str(error)) from error
    reactor.addSystemEventTrigger("before", "shutdown", gateway.stop)
    await Deferred()


def main() -> None:
    """Parse the command line, then serve until a signal comes."""
    options = GatewayOptions()
    try:
        options.parseOptions()
    except UsageError as error:
        sys.exit(f"{error}\nTry --help.")
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
    react(_serve, [options])


if __name__ == "__main__":
    main()
