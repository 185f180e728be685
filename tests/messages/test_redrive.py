"""Tests of the command line of a redrive, and of which letters it takes."""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
from datetime import datetime, timedelta, timezone
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.commands import redrive
from natsconnector.commands.arguments import NATS_FLAGS, read
from natsconnector.messages.redrive import CannotRemove, Letter, Redrive, Result, Selection, Tally, read_letter
from natsconnector.nats.jetstream import JetStreamError, StoredMessage
from natsconnector.nats.wire.headers import Headers
from tests.nats.jetstream.support import Heard, JetStreamPeer, ScriptedApi, error


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
        ended = redrive.run(reactor, arguments, environment={})
        said = str(self.failureResultOf(ended, SystemExit).value)
        self.assertIn("--nats: is not a NATS server's URL", said)

    def test_targets(self) -> None:
        """Letters go to the connector's subjects, but into a bucket only where --to-subject says so."""

        def targets(*argv: str) -> list[str]:
            arguments = parse("--stream", "D", *argv)
            return [*redrive._targets(arguments, read(arguments, redrive._FLAGS, {}))]

        self.assertEqual(targets("--topics", "orders,$KV.CONFIG.>", "--function-subject", "fn.*"), ["fn.*", "orders"])
        self.assertEqual(targets("--topics", "orders", "--to-subject", "$KV.CONFIG.>,a"), ["$KV.CONFIG.>", "a"])

    def test_no_server(self) -> None:
        """It does not wait for NATS for ever."""
        reactor: Any = MemoryReactorClock()
        ended = redrive.run(reactor, parse("--stream", "D", "--wait", "3"), environment={})
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
            (Selection(sequences=[(1, 9)]), True), (Selection(sequences=[(1, 4), (6, 9)]), False),
            (Selection(stored_before=moment), True), (Selection(stored_before=moment - timedelta(seconds=1)), False),
            (Selection(stored_after=moment), True), (Selection(stored_after=moment + timedelta(seconds=1)), False),
        ]:  # fmt: skip
            self.assertIs(selection.has(found), fits, selection)

    def test_selection_by_a_time_that_cannot_be_read(self) -> None:
        """A letter whose time says nothing is selected by no time."""
        found = read_letter(StoredMessage("dead", 5, b"payload", Headers(), "soon"))
        self.assertTrue(Selection().has(found))
        self.assertFalse(Selection(stored_before=datetime.now(timezone.utc)).has(found))

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
        self.assertEqual((tally.count(Result.PUT_BACK), tally.count(Result.WAS_THERE)), (2, 0))


class RedriveTests(SynchronousTestCase):
    """Putting letters back, at a server in memory with the streams DEAD and CALLS, and nobody on other subjects."""

    def setUp(self) -> None:
        self.server = JetStreamPeer()
        self.api = ScriptedApi(self.server)
        self.letters: dict[int, dict[str, str]] = {}
        self.hears = True
        self.duplicate = False
        self.put_back: list[Heard] = []
        self.api.answers = {
            "STREAM.MSG.GET.DEAD": self.get,
            "STREAM.MSG.DELETE.DEAD": self.delete,
            "STREAM.NAMES": lambda body: {
                "streams": {"function.call": ["CALLS"], "dead": ["DEAD"]}.get(body["subject"])
            },
        }

    def bury(self, sequence: int, **headers: str) -> None:
        letter = {"Dead_Letter_Subject": "function.call", "Dead_Letter_Function": "figlet", "A": "b", **headers}
        self.letters[sequence] = {name.replace("_", "-"): value for name, value in letter.items()}

    def get(self, body: Any) -> Any:
        sequence = min((each for each in self.letters if each >= body["seq"]), default=None)
        if sequence is None:
            return error(10037)
        block = "".join(f"{name}: {value}\r\n" for name, value in self.letters[sequence].items())
        message = {
            "subject": "dead", "seq": sequence, "data": base64.b64encode(b"%d" % sequence).decode(), "time": "then",
            "hdrs": base64.b64encode(f"NATS/1.0\r\n{block}\r\n".encode()).decode(),
        }  # fmt: skip
        return {"message": message}

    def delete(self, body: Any) -> Any:
        return {"success": True} if self.letters.pop(body["seq"], None) is not None else error(10043)

    def start(self, last: int = 99, limit: int | None = None, **more: Any) -> Deferred[list[tuple[int, Result, str]]]:
        more = {"targets": ["function.*", "dead", "core"], "wanted": Selection(), **more}
        redriving = Redrive(self.server.client, self.server.js, "DEAD", more.pop("wanted"), **more)

        async def collect() -> list[tuple[int, Result, str]]:
            return [(letter.sequence, result, why) async for letter, result, why in redriving.run(last, limit)]

        return Deferred.fromCoroutine(collect())

    def run_to_its_end(self, **more: Any) -> list[tuple[int, Result, str]]:
        ended = self.start(**more)
        while published := self.api.serve():
            for each in published:
                self.put_back.append(each)
                if each.subject == "function.call":
                    self.server.answer(each, {"stream": "CALLS", "seq": 1, "duplicate": self.duplicate})
                elif not self.hears:
                    self.server.status("503", to=str(each.reply))
            self.server.peer.say(b"PONG\r\n")
        return self.successResultOf(ended)

    def left(self, says: str, **more: Any) -> None:
        """The one letter there is stays, with this reason, and nothing is published."""
        before, self.put_back = dict(self.letters), []
        ((_, result, why),) = self.run_to_its_end(**more)
        self.assertIs(result, Result.LEFT)
        self.assertIn(says, why)
        self.assertEqual((self.letters, self.put_back), (before, []))

    def test_put_back(self) -> None:
        """Each goes where it came from with its publisher's headers, names its function, and is removed."""
        self.bury(3, Dead_Letter_Returns="2")
        self.bury(7)
        found = self.run_to_its_end()
        self.assertEqual(found, [(3, Result.PUT_BACK, ""), (7, Result.PUT_BACK, "")])
        self.assertEqual(
            [(each.subject, each.payload) for each in self.put_back], [("function.call", b"3"), ("function.call", b"7")]
        )
        headers = (
            b"A: b\r\nNatsconnector-Function: figlet\r\nNatsconnector-Returns: %d\r\nNats-Msg-Id: redrive-DEAD-%d-then"
        )
        self.assertIn(headers % (3, 3), self.put_back[0].headers)
        self.assertIn(headers % (1, 7), self.put_back[1].headers)
        self.assertEqual(self.letters, {})
        self.assertEqual([what for what, _ in self.api.asked].count("STREAM.NAMES"), 1, "asked once for a subject")

    def test_without_a_function(self) -> None:
        """What failed before it was a call is for all functions that want it."""
        self.bury(1)
        del self.letters[1]["Dead-Letter-Function"]
        self.run_to_its_end()
        self.assertNotIn(b"Natsconnector-Function", self.put_back[0].headers)

    def test_was_there(self) -> None:
        """What an earlier run has put back already is only removed."""
        self.bury(1)
        self.duplicate = True
        self.assertEqual(self.run_to_its_end(), [(1, Result.WAS_THERE, "")])
        self.assertEqual(self.letters, {})

    def test_core(self) -> None:
        """Where no stream listens somebody has to, as the server says."""
        self.bury(1, Dead_Letter_Subject="core")
        self.assertEqual(self.run_to_its_end(), [(1, Result.PUT_BACK, "")])
        self.assertEqual(([each.subject for each in self.put_back], self.letters), (["core"], {}))
        self.bury(2, Dead_Letter_Subject="core")
        self.hears = False
        ((_, result, why),) = self.run_to_its_end()
        self.assertEqual((result, [*self.letters]), (Result.LEFT, [2]))
        self.assertIn("nobody listens on 'core'", why)
        self.successResultOf(self.server.client._session.requests.when_idle())

    def test_left(self) -> None:
        """What must not be put back stays, with the reason."""
        for subject, says in (
            ("$JS.API.STREAM.DELETE.CALLS", "is NATS's own"),
            ("orders", "is not among the subjects function.*, dead, core: name it with --to-subject"),
            ("dead", "stream DEAD itself listens on dead"),
        ):
            self.bury(1, Dead_Letter_Subject=subject)
            self.left(says)
        self.bury(1, Dead_Letter_Subject="$KV.CONFIG.colour")
        for targets in ([], [">"], ["*.CONFIG.*"], ["function.call", ">"], ["$O.>", ">"]):
            self.left("would change it to what it was back then: name it with --to-subject", targets=targets)
        self.bury(1, Dead_Letter_Returns="2")
        self.left("it was put back 2 times already", max_returns=2)
        self.left("it was put back 2 times already", max_returns=1)
        self.bury(1, Dead_Letter_Returns="3")
        self.left("it was put back 3 times already")
        del self.letters[1]["Dead-Letter-Subject"]
        self.left("it names no subject to put it back to")

    def test_bucket(self) -> None:
        """A value goes back into its bucket where the operator says so by the bucket's name."""
        for targets in (["$KV.CONFIG.>"], [">", "$KV.>"], ["$KV.*.colour"]):
            self.bury(1, Dead_Letter_Subject="$KV.CONFIG.colour")
            self.assertEqual(self.run_to_its_end(targets=targets), [(1, Result.PUT_BACK, "")])

    def test_not_stored(self) -> None:
        """One that the stream refuses stays."""
        self.bury(1)
        ended = self.start()
        (heard,) = self.api.serve()
        self.server.answer(heard, error(10077, 503, "maximum messages exceeded"))
        self.api.serve()
        ((_, result, why),) = self.successResultOf(ended)
        self.assertEqual((result, why, [*self.letters]), (Result.LEFT, "maximum messages exceeded (10077)", [1]))

    def test_not_removed(self) -> None:
        """That one was put back but not removed is said."""
        self.bury(1)
        self.api.answers["STREAM.MSG.DELETE.DEAD"] = error(10110, 400, "message delete not permitted")
        ((_, result, why),) = self.run_to_its_end()
        self.assertIs(result, Result.LEFT)
        self.assertIn("it was put back, but not removed from stream DEAD: message delete not permitted", why)

    def test_dry_run(self) -> None:
        """It only looks."""
        self.bury(1)
        self.assertEqual(self.run_to_its_end(dry_run=True), [(1, Result.WOULD_PUT_BACK, "")])
        self.assertEqual((self.put_back, [*self.letters]), ([], [1]))

    def test_bounds(self) -> None:
        """Neither those that came while it runs, nor more than were asked for; those not selected do not count."""
        for sequence in range(1, 6):
            self.bury(sequence, Dead_Letter_Status="500" if sequence > 1 else "404")
        wanted = Selection(statuses=["500"])
        found = self.run_to_its_end(limit=2, wanted=wanted)
        self.assertEqual(found, [(1, Result.NOT_SELECTED, ""), (2, Result.PUT_BACK, ""), (3, Result.PUT_BACK, "")])
        self.assertEqual([each[0] for each in self.run_to_its_end(last=4, wanted=wanted)], [1, 4])
        self.assertEqual([*self.letters], [1, 5])

    def checked(self, **config: Any) -> Deferred[None]:
        self.api.answers["STREAM.INFO.DEAD"] = {"config": {"subjects": ["dead"], **config}}
        redriving = Redrive(self.server.client, self.server.js, "DEAD", Selection(), targets=[])
        checked = Deferred.fromCoroutine(redriving.check_that_letters_can_be_removed(5))
        self.api.serve()
        return checked

    def test_can_be_removed(self) -> None:
        """The server says of a message that is not there that there is none."""
        self.successResultOf(self.checked())
        self.assertEqual(self.api.asked[-1], ("STREAM.MSG.DELETE.DEAD", {"seq": 1_000_005, "no_erase": True}))

    def test_cannot_be_removed(self) -> None:
        """A stream that keeps all, a user who may not, and a server that says nothing."""
        for config in ({"deny_delete": True}, {"sealed": True}):
            fault = self.failureResultOf(self.checked(**config), CannotRemove).value
            self.assertIn("does not allow that messages are removed", str(fault))
        del self.api.answers["STREAM.MSG.DELETE.DEAD"]
        refused, unanswered = (
            self.checked(),
            b"-ERR 'Permissions Violation for Publish to \"$JS.API.STREAM.MSG.DELETE.DEAD\"'\r\n",
        )
        self.server.peer.say(unanswered)
        self.assertIn("may not be removed by this user", str(self.failureResultOf(refused, CannotRemove).value))
        silent = self.checked()
        self.server.clock.advance(5)
        self.failureResultOf(silent, CannotRemove)

    def test_no_stream(self) -> None:
        """What the server says of the stream itself is passed on."""
        self.api.answers["STREAM.MSG.GET.DEAD"] = error(10059, 404, "stream not found")
        ended = self.start()
        self.api.serve()
        self.failureResultOf(ended, JetStreamError)
