"""``python -m natsconnector call FUNCTION [BODY]``: calls a function by a message, and prints its answer."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError

from natsconnector.commands.arguments import NATS_FLAGS, add_flags, command, connected, read_or_exit
from natsconnector.config.nats_client import nats_client
from natsconnector.messages.in_hand import REPLY_SUBJECT
from natsconnector.nats import Msg, NatsClient, NatsError
from natsconnector.reactors import Reactor

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
    add_flags(parser, _FLAGS, "as the connector has it")
    parser.set_defaults(run=run)


@command
async def run(reactor: Reactor, arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Do it; fails with ``SystemExit`` when the call did."""
    settings = read_or_exit(arguments, _FLAGS, environment)
    (subject, *_) = settings.subjects or ("function.call",)
    params = {"body": _body(arguments), "callback_url": arguments.callback_url}
    client = nats_client(reactor, settings, "natsconnector call")
    try:
        client.start()
        await connected(reactor, client, arguments.wait)
        envelope = json.dumps({"function": arguments.function, "params": params}).encode()
        # The requester waits a little longer than the connector does, so that the connector's own word about a time-out
        # can come.
        answer = await _answer(reactor, client, subject, envelope, settings.timeout_s + 5.0)
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


async def _answer(reactor: Reactor, client: NatsClient, subject: str, envelope: bytes, timeout_s: float) -> Msg:
    """The connector's answer; when a stream holds the subject it comes where the message asks for it to."""
    outcome: Deferred[Msg] = Deferred()
    inbox = client.new_inbox()
    client.subscribe(inbox, lambda msg: None if outcome.called else outcome.callback(msg))
    reply = await client.request(subject, envelope, headers={REPLY_SUBJECT: inbox}, timeout_s=timeout_s)
    if not _is_stored(reply):
        return reply
    print("stored in a stream, waiting for its connector", file=sys.stderr, flush=True)
    try:
        return await outcome.addTimeout(timeout_s, reactor)
    except TimeoutError:
        raise SystemExit(f"no answer within {timeout_s:g} s: the message stays in its stream") from None


def _is_stored(reply: Msg) -> bool:
    """Whether a reply is not a connector's, but a stream's: that it has stored the message."""
    if reply.headers:
        return False
    try:
        fields = json.loads(reply.payload)
    except ValueError:
        return False
    return isinstance(fields, dict) and "stream" in fields and "seq" in fields


def _body(arguments: argparse.Namespace) -> str | None:
    if arguments.body is not None or sys.stdin is None or sys.stdin.isatty():
        return str(arguments.body) if arguments.body is not None else None
    return sys.stdin.read()
