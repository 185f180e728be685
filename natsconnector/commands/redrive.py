"""``python -m natsconnector redrive``: puts dead letters back to where they came from."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from natsconnector.assembly.sources import make_jetstream
from natsconnector.commands.arguments import NATS_FLAGS, add_flags, command, connected, read_or_exit
from natsconnector.commands.progress import Progress
from natsconnector.config import nats_values, values
from natsconnector.config.nats_client import nats_client
from natsconnector.config.settings import Settings
from natsconnector.messages.redrive import CannotRemove, Redrive, Result, Selection, Tally
from natsconnector.nats import NatsClient, NatsError
from natsconnector.nats.jetstream import JetStream, JetStreamError
from natsconnector.reactors import Reactor

T = TypeVar("T")

NAME = "redrive"
_FLAGS = (*NATS_FLAGS, "js-domain", "js-prefix", "subject", "function-subject", "topics")
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
    which.add_argument("--status", type=_statuses, metavar="C[,C]", help="with these statuses, with *: 5*")
    which.add_argument("--reason", metavar="TEXT", help="with this in their reason, upper or lower case")
    which.add_argument("--from-subject", type=_subjects, metavar="S[,S]", help="that came from these subjects")
    which.add_argument("--sequence", type=_ranges, metavar="N[-M],...", help="with these sequences in their stream")
    which.add_argument("--older-than", type=_duration, metavar="D", help="stored longer ago: 30m, 24h")
    which.add_argument("--newer-than", type=_duration, metavar="D", help="stored less long ago")
    which.add_argument("--limit", type=_number, metavar="N", help="no more than so many")
    where = parser.add_argument_group("where they go")
    where.add_argument(
        "--to-subject",
        type=_subjects,
        metavar="S[,S]",
        help="subjects that letters may be put back to [default: those of --subject, --function-subject and --topics,"
        " but for those that begin with $]",
    )
    where.add_argument(
        "--max-returns",
        type=_number,
        default=3,
        metavar="N",
        help="leave letters that were put back so often already [3]",
    )
    add_flags(parser, _FLAGS, "connection to NATS, and subjects, as the connector has them")
    parser.set_defaults(run=run)


@command
async def run(reactor: Reactor, arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """
    Do it; fires when all that was asked for is put back.

    Fails with ``SystemExit``: 1 when dead letters are left that were to be put back, a text when nothing could be done.
    """
    settings = read_or_exit(arguments, _FLAGS, environment)
    client = nats_client(reactor, settings, "natsconnector redrive")
    try:
        client.start()
        await connected(reactor, client, arguments.wait)
        targets = _targets(arguments, settings)
        await _redrive(reactor, client, make_jetstream(client, settings), arguments, targets)
    except CannotRemove as e:
        raise SystemExit(f"nothing is put back: {e}") from None
    except NatsError as e:
        raise SystemExit(f"stopped: {e}. What has not been put back is still there: run it again") from None
    finally:
        await client.close()


async def _redrive(
    reactor: Reactor,
    client: NatsClient,
    jetstream: JetStream,
    arguments: argparse.Namespace,
    targets: Sequence[str],
) -> None:
    try:
        state = (await jetstream.stream(arguments.stream)).get("state", {})
    except JetStreamError as e:
        raise SystemExit(f"stream {arguments.stream}: {e}") from None
    total, last = int(state.get("messages", 0)), int(state.get("last_seq", 0))
    progress = Progress(reactor, sys.stdout, total)
    tally = Tally()
    redrive = Redrive(
        client,
        jetstream,
        arguments.stream,
        _selection(arguments),
        targets=targets,
        max_returns=arguments.max_returns,
        dry_run=arguments.dry_run,
    )
    if not arguments.dry_run:
        await redrive.check_that_letters_can_be_removed(last)
    # Letters that come while redrive runs are left: a message that fails again at once would go round for ever.
    async for letter, result, detail in redrive.run(last, arguments.limit):
        tally.add(result)
        if result is Result.LEFT or result is Result.WOULD_PUT_BACK:
            progress.line(f"{letter.sequence}: {letter.summary}{f': {detail}' if detail else ''}")
        progress.step(str(tally))
    progress.line(f"{total} dead letters: {tally}")
    if tally.count(Result.LEFT):
        raise SystemExit(1)


def _targets(arguments: argparse.Namespace, settings: Settings) -> Sequence[str]:
    """Where letters may go."""
    if arguments.to_subject:
        named: Sequence[str] = arguments.to_subject
        return named
    # That functions are called for changes of a bucket says nothing of changing it.
    return [subject for subject in settings.sources if not subject.startswith("$")]


def _selection(arguments: argparse.Namespace) -> Selection:
    now = datetime.now(timezone.utc)

    def ago(seconds: float | None) -> datetime | None:
        return None if seconds is None else now - timedelta(seconds=seconds)

    return Selection(
        arguments.function,
        arguments.status,
        arguments.reason,
        arguments.from_subject,
        arguments.sequence,
        ago(arguments.older_than),
        ago(arguments.newer_than),
    )


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser for argparse, whose errors name the value and what is wrong with it."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as e:
            raise argparse.ArgumentTypeError(f"{text!r} {e}") from None

    return checked


def _status(text: str) -> str:
    if not re.fullmatch(r"[0-9*?]{1,3}", text):
        raise ValueError("is no status of three digits, with * or ?")
    return text


def _range(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9][0-9]{0,17})(?:-([1-9][0-9]{0,17}))?", text)
    if found is None or int(found[2] or found[1]) < int(found[1]):
        raise ValueError("is no sequence, or range of sequences like 5-9")
    return int(found[1]), int(found[2] or found[1])


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError("is not a number from 1")
    return int(text)


_list = _checked(values.list_of(values.function_pattern))
_statuses = _checked(values.list_of(_status))
_subjects = _checked(values.list_of(nats_values.subject))
_ranges = _checked(values.list_of(_range))
_duration = _checked(values.duration)
_stream = _checked(nats_values.name)
_number = _checked(_count)
