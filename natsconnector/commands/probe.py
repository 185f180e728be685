"""``python -m natsconnector probe``: asks a connector whether it is well, for health checks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseFailed, readBody
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from natsconnector.commands.arguments import command, read_or_exit
from natsconnector.model.shown import shown
from natsconnector.reactors import Reactor

NAME = "probe"
_FLAGS = ("admin",)
_DESCRIPTION = """\
Asks the connector that runs beside it, at --admin, for /healthz, and exits 0 if it is well, 1 with a line otherwise. A
connector whose admin site is turned off cannot be asked, and counts as well.
"""
_SHOWN = 300


def add_to(commands: Any) -> None:
    """Make it one of the commands of a command line."""
    parser = commands.add_parser(NAME, help="ask a connector whether it is well", description=_DESCRIPTION)
    parser.add_argument("url", metavar="URL", nargs="?", help="another place to ask; without a path, for /healthz")
    parser.add_argument("--ready", action="store_true", help="ask whether it takes messages: for /readyz")
    parser.add_argument("--admin", metavar="ENDPOINT", help="as the connector has it; also NATSCONNECTOR_ADMIN")
    parser.add_argument("--wait", type=float, default=5.0, metavar="SECONDS", help="how long the answer may take [5]")
    parser.set_defaults(run=run)


@command
async def run(reactor: Reactor, arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Do it; fails with ``SystemExit`` when the connector is not well."""
    path = ""
    url: str | None = arguments.url
    if url is None:
        admin = read_or_exit(arguments, _FLAGS, environment).admin
        if admin is None:
            print("not asked: --admin is none")
            return
        url, path = admin.url, admin.path
    if "://" not in url:
        url = f"http://{url}"
    if urlsplit(url).path in ("", "/"):
        url = url.rstrip("/") + ("/readyz" if arguments.ready else "/healthz")
    where = url if not path else f"{path} ({urlsplit(url).path})"
    try:
        status, text = await _ask(reactor, url, path).addTimeout(arguments.wait, reactor)
    except Exception as e:
        failures = e.reasons if isinstance(e, ResponseFailed) else [Failure(e)]
        # A time-out cancels the request, and the agent makes a failure of its own of that.
        if any(each.check(TimeoutError, CancelledError) for each in failures):
            raise SystemExit(f"{where} has not answered within {arguments.wait:g} s") from None
        reason = "; ".join(each.getErrorMessage() for each in failures)
        raise SystemExit(f"{where} cannot be asked: {reason}") from None
    if status != 200:
        raise SystemExit(f"{where} answered {status}: {text}")
    print(text)


def _ask(reactor: Reactor, url: str, path: str) -> Deferred[tuple[int, str]]:
    """Status and text of an answer, the text short. :param path: of a UNIX socket; empty for TCP."""
    pool = HTTPConnectionPool(reactor, persistent=False)
    agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor, path), pool)

    async def ask() -> tuple[int, str]:
        response = await agent.request(b"GET", url.encode())
        body = await readBody(response)
        return response.code, _told(body.decode("utf-8", "replace"))

    return Deferred.fromCoroutine(ask())


def _told(text: str) -> str:
    """A short line of an answer: of the parts of a connector those that are not ready."""
    try:
        parts = json.loads(text)["parts"]
        faults = [f"{part['name']}: {part['reason']}" for part in parts if part["needed"] and not part["ready"]]
        text = "; ".join(faults) or "ready"
    except (ValueError, LookupError, TypeError):
        pass  # another page, or somebody else's
    return shown(" ".join(text[:_SHOWN].split()))


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Where requests go: to the host of their URL, or all to one UNIX socket."""

    def __init__(self, reactor: Reactor, path: str) -> None:
        self._reactor = reactor
        self._path = path

    def endpointForURI(self, uri: URI) -> Any:
        if self._path:
            return UNIXClientEndpoint(self._reactor, self._path)
        if uri.scheme != b"http":
            raise ValueError("only http can be asked")
        return HostnameEndpoint(self._reactor, uri.host.decode(), uri.port)
