"""``python -m natsconnector redrive``: puts dead letters back to where they came from."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from natsconnector.commands.arguments import NATS_FLAGS, add_flags, connected, read
from natsconnector.commands.progress import Output, Progress
from natsconnector.config.nats_client import nats_client
from natsconnector.config.reading import ConfigurationError
from natsconnector.messages.redrive import Letter, Redrive, Result, Tally
from natsconnector.nats import NatsClient, NatsError
from natsconnector.nats.jetstream import JetStream, JetStreamError, check_name

NAME = "redrive"
_FLAGS = (*NATS_FLAGS, "js-domain")
_DESCRIPTION = """\
Puts the dead letters of a stream back to the subjects they came from, with their original headers, and removes each
from the stream when it is there. Where a stream listens on the subject, it has to store the message first; where none
does, a connector has to listen on core NATS. A run that was interrupted can be repeated: within the duplicate window
of the stream that gets them (two minutes, unless configured otherwise) nothing is stored twice.
"""


def add_to(commands: Any) -> None:
    """Make it one of the commands of a command line."""
    parser = commands.add_parser(NAME, help="put dead letters back to where they came from", description=_DESCRIPTION)
    parser.add_argument("--stream", required=True, type=_stream, help="the stream that holds the dead letters")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be put back, and change nothing")
    which = parser.add_argument_group("which of them; all that are given must fit")
    which.add_argument("--function", type=_list, metavar="P[,P]", help="of these functions, with *")
    which.add_argument("--status", type=_list, metavar="C[,C]", help="with these statuses, with *: 5*")
    which.add_argument("--reason", metavar="TEXT", help="with this in their reason, upper or lower case")
    which.add_argument("--limit", type=_number, metavar="N", help="no more than so many")
    add_flags(parser, _FLAGS, "connection to NATS, as the connector has it")
    parser.set_defaults(run=run)


def run(
    reactor: Any,
    arguments: argparse.Namespace,
    *,
    environment: Mapping[str, str] = os.environ,
    output: Output | None = None,
) -> Deferred[None]:
    """
    Do it; fires when all that was asked for is put back.

    Fails with ``SystemExit``: 1 when dead letters are left that were to be put back, a text when nothing could be done.
    """
    return Deferred.fromCoroutine(_run(reactor, arguments, environment, output or sys.stdout))


async def _run(reactor: Any, arguments: argparse.Namespace, environment: Mapping[str, str], output: Output) -> None:
    try:
        settings = read(arguments, _FLAGS, environment)
    except ConfigurationError as e:
        raise SystemExit("this configuration cannot work:\n  " + "\n  ".join(e.faults)) from None
    client = nats_client(reactor, settings, "natsconnector redrive")
    try:
        client.start()
        await connected(reactor, client, arguments.wait)
        await _redrive(reactor, client, JetStream(client, domain=settings.js_domain), arguments, output)
    except NatsError as e:
        raise SystemExit(f"stopped: {e}. What has not been put back is still there: run it again") from None
    finally:
        await client.close()


async def _redrive(
    reactor: Any, client: NatsClient, jetstream: JetStream, arguments: argparse.Namespace, output: Output
) -> None:
    try:
        state = (await jetstream.stream(arguments.stream)).get("state", {})
    except JetStreamError as e:
        raise SystemExit(f"stream {arguments.stream}: {e}") from None
    total, last = int(state.get("messages", 0)), int(state.get("last_seq", 0))
    progress = Progress(reactor, output, total)
    tally = Tally()
    redrive = Redrive(client, jetstream, arguments.stream, _selection(arguments), dry_run=arguments.dry_run)
    # Not those that come while it runs: what fails again at once would go round for ever.
    async for letter, result, detail in redrive.run(last, arguments.limit):
        tally.add(result)
        if result is Result.LEFT or result is Result.WOULD_PUT_BACK:
            progress.line(f"{letter.sequence}: {letter.summary}{f': {detail}' if detail else ''}")
        progress.step(str(tally))
    progress.line(f"{total} dead letters: {tally}")
    if tally.count(Result.LEFT):
        raise SystemExit(1)


def _selection(arguments: argparse.Namespace) -> Callable[[Letter], bool]:
    def wanted(letter: Letter) -> bool:
        return letter.fits(functions=arguments.function, statuses=arguments.status, reason=arguments.reason)

    return wanted


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _stream(text: str) -> str:
    try:
        return check_name(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(str(e)) from None


def _number(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)
