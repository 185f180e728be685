"""``python -m natsconnector call FUNCTION [BODY]``: calls a function by a message, and prints its answer."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from natsconnector.commands.arguments import NATS_FLAGS, add_flags, connected, read
from natsconnector.connection import nats_client
from natsconnector.nats import NatsError
from natsconnector.settings import ConfigurationError

NAME = "call"
_FLAGS = (*NATS_FLAGS, "subject", "timeout")
_DESCRIPTION = """\
Publishes the envelope that calls a function, as any publisher would, and prints the answer. Without BODY, the body is
read from standard input, unless that is a terminal.
"""


def add_to(commands: Any) -> None:
    """Make it one of the commands of a command line."""
    parser = commands.add_parser(NAME, help="call a function by a message", description=_DESCRIPTION)
    parser.add_argument("function", metavar="FUNCTION", help="NAME or NAME.NAMESPACE")
    parser.add_argument("body", metavar="BODY", nargs="?", help="the body, text")
    parser.add_argument("--callback-url", metavar="URL", help="call asynchronously, with the result posted there")
    parser.add_argument(
        "--wait", type=float, default=10.0, metavar="SECONDS", help="how long to wait for NATS at the start [10]"
    )
    add_flags(parser, _FLAGS, "as the connector has it")
    parser.set_defaults(run=run)


def run(reactor: Any, arguments: argparse.Namespace, *, environment: Mapping[str, str] = os.environ) -> Deferred[None]:
    """Do it; fails with ``SystemExit`` when the call did."""
    return Deferred.fromCoroutine(_run(reactor, arguments, environment))


async def _run(reactor: Any, arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    try:
        settings = read(arguments, _FLAGS, environment)
    except ConfigurationError as e:
        raise SystemExit("this configuration cannot work:\n  " + "\n  ".join(e.faults)) from None
    (subject, *_) = settings.subjects or ("function.call",)
    params = {"body": _body(arguments), "callback_url": arguments.callback_url}
    client = nats_client(reactor, settings, "natsconnector call")
    try:
        client.start()
        await connected(reactor, client, arguments.wait)
        envelope = json.dumps({"function": arguments.function, "params": params}).encode()
        # A little longer than the connector waits, so that its own word about a time-out can come.
        answer = await client.request(subject, envelope, timeout_s=settings.timeout_s + 5.0)
    except NatsError as e:
        raise SystemExit(f"no answer: {e}") from None
    finally:
        await client.close()
    sys.stdout.flush()
    if error := answer.headers.get("Nats-Service-Error"):
        if answer.headers.get("X-Function-Status"):
            sys.stderr.buffer.write(answer.payload)
        raise SystemExit(f"failed with {answer.headers.get('Nats-Service-Error-Code')}: {error}")
    if answer.headers.get("X-Function-Status") == "202":
        print(f"accepted, call id {answer.headers.get('X-Call-Id')}")
    sys.stdout.buffer.write(answer.payload)
    sys.stdout.buffer.flush()


def _body(arguments: argparse.Namespace) -> str | None:
    if arguments.body is not None or sys.stdin is None or sys.stdin.isatty():
        return str(arguments.body) if arguments.body is not None else None
    return sys.stdin.read()
