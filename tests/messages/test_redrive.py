"""Tests of the command line of a redrive, and of which letters it takes."""

from __future__ import annotations

import argparse
import contextlib
import io
from datetime import datetime, timedelta, timezone
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.commands import redrive
from natsconnector.commands.arguments import NATS_FLAGS, read
from natsconnector.messages.redrive import Letter, Result, Selection, Tally, read_letter
from natsconnector.nats.jetstream import StoredMessage
from natsconnector.nats.wire.headers import Headers


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    redrive.add_to(parser.add_subparsers(required=True))
    return parser.parse_args(["redrive", *argv])


class ArgumentsTests(SynchronousTestCase):
    """What can stand on the command line."""

    def test_connection(self) -> None:
        """The connection is named as the connector's: flags, then the environment, then its aliases."""
        environment = {"NATS_URL": "nats://a", "NATSCONNECTOR_NATS": "nats://b", "NATSCONNECTOR_INBOX_PREFIX": "_R"}
        self.assertEqual(read(parse("--stream", "D"), NATS_FLAGS, environment).nats, ("nats://b",))
        found = read(parse("--stream", "D", "--nats", "nats://c", "--nats-tls-first"), NATS_FLAGS, environment)
        self.assertEqual((found.nats, found.inbox_prefix, found.nats_tls_first), (("nats://c",), "_R", True))

    def test_other_environment(self) -> None:
        """What else the connector is configured with, right or wrong, is not asked for: its stream is another one."""
        environment = {"NATSCONNECTOR_STREAM": "CALLS", "NATSCONNECTOR_GATEWAY": "ftp://x", "gateway_url": "no url"}
        self.assertIsNone(read(parse("--stream", "D"), NATS_FLAGS, environment).stream)

    def test_faults(self) -> None:
        """A configuration that cannot work ends it with the reasons."""
        arguments = parse("--stream", "D", "--nats", "http://x", "--nats-user", "me")
        reactor: Any = MemoryReactorClock()
        ended = redrive.run(reactor, arguments, environment={}, output=io.StringIO())
        said = str(self.failureResultOf(ended, SystemExit).value)
        self.assertIn("--nats: is not a NATS server's URL", said)

    def test_no_server(self) -> None:
        """It does not wait for NATS for ever."""
        reactor: Any = MemoryReactorClock()
        ended = redrive.run(reactor, parse("--stream", "D", "--wait", "3"), environment={}, output=io.StringIO())
        self.assertNoResult(ended)
        reactor.pump([1, 1, 1.5])
        self.assertIn("no connection to NATS within 3 s", str(self.failureResultOf(ended, SystemExit).value))

    def test_bad_usage(self) -> None:
        """What argparse refuses."""
        for argv in ((), ("--stream", "a.b"), ("--stream", "D", "--limit", "0"), ("--stream", "D", "--limit", "x")):
            said = io.StringIO()
            with contextlib.redirect_stderr(said):
                self.assertRaises(SystemExit, parse, *argv)
            self.assertIn("error:", said.getvalue())

    def test_help(self) -> None:
        """The help names the environment of the connection."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            self.assertRaises(SystemExit, parse, "--help")
        for text in ("--dry-run", "--function", "--reason", "NATSCONNECTOR_", "NATS_URL", "--js-domain"):
            self.assertIn(text, said.getvalue())


def letter(**headers: str) -> Letter:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return read_letter(StoredMessage("dead", 5, b"payload", Headers(pairs), "2026-11-23T13:44:22Z"))


class LetterTests(SynchronousTestCase):
    """What a dead letter is and which are selected."""

    def test_read(self) -> None:
        """The originals' headers apart from those of the burial."""
        found = letter(
            A="b", Dead_Letter_Subject="function.call", Dead_Letter_Function="figlet", Dead_Letter_Status="500",
            Dead_Letter_Reason="figlet answered 500", Dead_Letter_Attempts="3", Nats_Msg_Id="dead-1",
        )  # fmt: skip
        self.assertEqual((found.subject, found.function, found.headers), ("function.call", "figlet", (("A", "b"),)))
        self.assertEqual(found.summary, "figlet on function.call, 500: figlet answered 500 (after 3 attempts)")

    def test_something_else(self) -> None:
        """Anything can lie in a stream."""
        found = letter()
        self.assertEqual((found.subject, found.function, found.summary), (None, None, "no dead letter"))

    def test_selection(self) -> None:
        """All that is given must fit; patterns are of the whole name, reasons anywhere in any case."""
        found = letter(Dead_Letter_Function="figlet", Dead_Letter_Status="503", Dead_Letter_Reason="Not JSON: x")

        def fits(functions: Any = None, statuses: Any = None, reason: str | None = None) -> bool:
            return Selection(functions, statuses, reason).has(found)

        for wanted in (
            fits(), fits(["cat", "fig*"]), fits(["figlet"]), fits(None, ["5*"]), fits(None, ["404", "503"]),
            fits(None, None, "not json"), fits(["*"], ["503"], "x"),
        ):  # fmt: skip
            self.assertTrue(wanted)
        for unwanted in (
            fits(["cat"]), fits(["fig"]), fits([]), fits(None, ["50"]), fits(None, None, "yaml"),
            fits(["figlet"], ["404"]), fits(["figlet"], None, "yaml"),
        ):  # fmt: skip
            self.assertFalse(unwanted)

    def test_selection_by_place_and_time(self) -> None:
        """Subjects as they are subscribed to, ranges of sequences, and when it was stored."""
        found = letter(Dead_Letter_Subject="function.call")
        moment = datetime(2026, 11, 23, 13, 44, 22, tzinfo=timezone.utc)
        for selection, fits in [
            (Selection(subjects=["function.*"]), True), (Selection(subjects=["orders.>"]), False),
            (Selection(sequences=[(1, 2), (5, 5)]), True), (Selection(sequences=[(6, 9)]), False),
            (Selection(stored_before=moment), True), (Selection(stored_before=moment - timedelta(seconds=1)), False),
            (Selection(stored_after=moment), True), (Selection(stored_after=moment + timedelta(seconds=1)), False),
        ]:  # fmt: skip
            self.assertIs(selection.has(found), fits, selection)

    def test_terminal(self) -> None:
        """What somebody wrote into a letter does not move the operator's terminal."""
        found = letter(Dead_Letter_Subject="a", Dead_Letter_Reason="\x1b[2J\u202eevil\u200b", Dead_Letter_Status="500")
        self.assertTrue(found.summary.isprintable(), found.summary)
        self.assertIn("\\x1b[2J\\u202eevil", found.summary)

    def test_tally(self) -> None:
        """What came of all, in words."""
        tally = Tally()
        self.assertEqual(str(tally), "nothing to do")
        for result in (Result.LEFT, Result.PUT_BACK, Result.PUT_BACK):
            tally.add(result)
        self.assertEqual(str(tally), "2 put back, 1 left where they are")
