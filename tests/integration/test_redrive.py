"""Putting dead letters back, against a real nats-server."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

from twisted.internet.defer import fail
from twisted.internet.utils import getProcessOutputAndValue

from natsconnector.commands import redrive
from natsconnector.messages.redrive import Redrive, Selection
from natsconnector.model.dead_letter import letter_headers
from natsconnector.nats import ConnectionLost, Msg
from tests.integration.forks import run_tool
from tests.integration.support import Recorded, envelope, reactor
from tests.integration.test_jetstream import StreamCase
from tests.messages.test_redrive import parse


class RedriveCase(StreamCase):
    """Dead letters in the stream DEAD."""

    async def bury(self, payload: bytes, subject: str = "function.call", **more: Any) -> None:
        fields = {"function": "figlet", "status": 500, "reason": "figlet answered 500", **more}
        headers = letter_headers(
            [("X-Mine", payload.decode())], subject=subject, attempts=3, first_time_s=1.0, last_time_s=2.0,
            identity=None, **fields,
        )  # fmt: skip
        await self.js.publish("dead", payload, headers=headers)

    async def redrive(self, *flags: str) -> tuple[int, list[str]]:
        """Run the command as its users do; exit code and lines."""
        argv = ["redrive", "--stream", "DEAD", "--nats", self.server.url, *flags]
        output, errors, code = await run_tool(reactor, *argv, environment={})
        return code, (output + errors).decode().splitlines()

    async def stored(self, stream: str) -> list[bytes]:
        return [message.payload async for message in self.js.messages(stream)]


class RedriveTests(RedriveCase):
    """What is put back and what is not."""

    async def test_put_back(self) -> None:
        """Each goes to where it came from with its own headers, and is gone from the dead letters."""
        for number in range(3):
            await self.bury(b"%d" % number)
        code, lines = await self.redrive()
        self.assertEqual((code, lines), (0, ["3 dead letters: 3 put back"]))
        self.assertEqual(await self.stored("DEAD"), [])
        found = [message async for message in self.js.messages("CALLS")]
        self.assertEqual([message.payload for message in found], [b"0", b"1", b"2"])
        headers = dict(found[0].headers)
        self.assertRegex(headers.pop("Nats-Msg-Id"), r"^redrive-DEAD-1-\d{4}-")
        self.assertEqual(headers, {"X-Mine": "0", "Natsconnector-Function": "figlet", "Natsconnector-Returns": "1"})

    async def test_interrupted(self) -> None:
        """A run that ends between putting back and removing makes no doubles when it is repeated."""
        await self.bury(b"x")
        kept = self.js.delete_message
        redriving = Redrive(self.client, self.js, "DEAD", Selection(), targets=["function.call"])
        self.js.delete_message = lambda *_: fail(ConnectionLost("here", "cut"))  # type: ignore[method-assign]
        with self.assertRaises(ConnectionLost):
            async for _ in redriving.run(10):
                pass
        self.js.delete_message = kept  # type: ignore[method-assign]
        self.assertEqual((await self.stored("DEAD"), await self.stored("CALLS")), ([b"x"], [b"x"]))
        self.assertEqual(await self.redrive(), (0, ["1 dead letters: 1 put back by an earlier run"]))
        self.assertEqual((await self.stored("DEAD"), await self.stored("CALLS")), ([], [b"x"]))

    async def test_what_comes_meanwhile(self) -> None:
        """Letters that come while it runs are not its business: what fails again at once would go round for ever."""
        for number in range(3):
            await self.bury(b"%d" % number)
        redriving = Redrive(self.client, self.js, "DEAD", Selection(), targets=["function.call"])
        self.assertEqual([letter.sequence async for letter, _, _ in redriving.run(2)], [1, 2])
        self.assertEqual(await self.stored("DEAD"), [b"2"])

    async def test_dry_run(self) -> None:
        """It tells what it would do, and does nothing."""
        await self.bury(b"x")
        code, lines = await self.redrive("--dry-run")
        self.assertEqual(
            (code, lines),
            (
                0,
                [
                    "1: figlet on function.call, 500: figlet answered 500 (after 3 attempts)",
                    "1 dead letters: 1 would be put back",
                ],
            ),
        )
        self.assertEqual((await self.stored("DEAD"), await self.stored("CALLS")), ([b"x"], []))

    async def test_filters(self) -> None:
        """Only those that are asked for, and no more than were asked for."""
        await self.bury(b"1", function="cat")
        await self.bury(b"2", status=404)
        await self.bury(b"3", reason="Not JSON")
        await self.bury(b"4")
        await self.bury(b"5")
        for flags, said, left in [
            (("--function", "c*"), "5 dead letters: 1 put back, 4 not selected", [b"2", b"3", b"4", b"5"]),
            (("--reason", "json"), "4 dead letters: 1 put back, 3 not selected", [b"2", b"4", b"5"]),
            (("--status", "4*"), "3 dead letters: 1 put back, 2 not selected", [b"4", b"5"]),
            (("--limit", "1"), "2 dead letters: 1 put back", [b"5"]),
        ]:
            self.assertEqual(await self.redrive(*flags), (0, [said]))
            self.assertEqual(await self.stored("DEAD"), left)

    async def test_cannot_be_put_back(self) -> None:
        """What is no dead letter, or names a subject that is not for us, stays, with a line and a failing exit code."""
        await self.js.publish("dead", b"something else")
        await self.bury(b"a", "$JS.API.STREAM.DELETE.CALLS")
        await self.bury(b"b", "dead")
        await self.bury(b"f", "payments.release")
        await self.bury(b"c", "nobody.listens")
        await self.bury(b"d", "two words")
        await self.bury(b"e")
        targets = "function.call,dead,nobody.*"
        code, lines = await self.redrive("--to-subject", targets)
        self.assertEqual(code, 1)
        for line, says in zip(
            lines,
            (
                "1: no dead letter: it names no subject",
                r"2: .*\$JS.API.STREAM.DELETE.CALLS is NATS's own",
                "3: .*stream DEAD itself listens on dead",
                "4: .*payments.release is not among the subjects function.call, dead, nobody.*: name it with --to-sub",
                "5: .*nobody listens on 'nobody.listens'",
                "6: .*two words is not among",
                "7 dead letters: 1 put back, 6 left where they are",
            ),
            strict=True,
        ):
            self.assertRegex(line, says)
        self.assertEqual(await self.stored("CALLS"), [b"e"])
        self.assertEqual(len(await self.stored("DEAD")), 6)

    async def test_cannot_be_removed(self) -> None:
        """Where letters could not be removed afterwards nothing is put back: each run would call them again."""
        await self.bury(b"x")
        fields = await self.js.stream("DEAD")
        await self.js.delete_stream("DEAD")
        await self.js.create_stream({**fields["config"], "deny_delete": True})
        await self.bury(b"x")
        code, lines = await self.redrive()
        self.assertEqual(code, 1)
        self.assertIn("nothing is put back: stream DEAD does not allow that messages are removed", lines[-1])
        self.assertEqual(await self.stored("CALLS"), [])

    async def test_goes_round(self) -> None:
        """A letter that was put back often enough stays; how often goes with the message, and with its next letter."""
        await self.taking("--dead-letter", "dead")
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 400)
        await self.js.publish("function.call", envelope("poison"))
        for number in range(3):
            await self.gateway.when_requests(number + 1)
            await self.when_settled()
            self.assertEqual((await self.redrive("--max-returns", "2"))[0], 0 if number < 2 else 1)
        self.assertEqual(len(self.gateway.requests), 3)
        ((_, headers),) = await self.dead_letters()
        self.assertEqual(headers["Dead-Letter-Returns"], "2")
        _, lines = await self.redrive("--max-returns", "2")
        self.assertIn("put back 2 times before): it was put back 2 times already", lines[0])

    async def test_more_filters(self) -> None:
        """By sequence, by subject, by age; what cannot match is an error."""
        for payload, subject in ((b"1", "function.call"), (b"2", "function.other"), (b"3", "function.call")):
            await self.bury(payload, subject)
        to = ("--to-subject", "function.*")
        self.assertEqual((await self.redrive(*to, "--older-than", "1h"))[1], ["3 dead letters: 3 not selected"])
        self.assertEqual((await self.redrive(*to, "--sequence", "2-3", "--from-subject", "*.other"))[0], 0)
        self.assertEqual(await self.stored("DEAD"), [b"1", b"3"])
        self.assertEqual((await self.redrive(*to, "--newer-than", "1h", "--sequence", "1"))[0], 0)
        self.assertEqual(await self.stored("DEAD"), [b"3"])
        for flags in (("--status", "abc"), ("--sequence", "9-5"), ("--older-than", "soon"), ("--from-subject", "a b")):
            code, lines = await self.redrive(*flags)
            self.assertEqual(code, 2)
            self.assertIn(f"{flags[1]!r}", lines[-1])

    async def test_core(self) -> None:
        """Where no stream listens a subscriber has to."""
        heard: list[Msg] = []
        self.client.subscribe("core.subject", heard.append)
        await self.client.flush()
        await self.bury(b"x", "core.subject")
        self.assertEqual(await self.redrive("--to-subject", "core.*"), (0, ["1 dead letters: 1 put back"]))
        self.assertEqual([(msg.payload, msg.headers.get("X-Mine")) for msg in heard], [(b"x", "x")])
        self.assertEqual(await self.stored("DEAD"), [])

    async def test_no_such_stream(self) -> None:
        """It says so."""
        await self.js.delete_stream("DEAD")
        code, lines = await self.redrive()
        self.assertEqual(code, 1)
        self.assertRegex(lines[-1], "^stream DEAD: stream not found")

    async def test_round(self) -> None:
        """Through the connector and back: what fails again at once does not go round for ever."""

        def respond(recorded: Recorded) -> None:
            self.gateway.answer(recorded, 200 if recorded.path == "/function/figlet" and self.repaired else 404)

        self.repaired = False
        self.gateway.respond = respond
        await self.taking("--dead-letter", "dead")
        await self.js.publish("function.call", envelope("good"))
        await self.js.publish("function.call", envelope("bad", function="cat"))
        await self.when_settled()
        self.repaired = True
        arguments = parse("--stream", "DEAD", "--nats", self.server.url)
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        await redrive.run(reactor, arguments, environment={})
        self.assertEqual(output.getvalue(), "2 dead letters: 2 put back\n")
        await self.when_settled()
        self.assertEqual(self.gateway.count(), {b"good": 2, b"bad": 2})
        (left,) = await self.dead_letters()
        self.assertEqual(json.loads(left[0])["function"], "cat")
        self.assertNotIn("Natsconnector-Function", left[1])


class MainTests(RedriveCase):
    """``python -m natsconnector``."""

    async def test_commands(self) -> None:
        """It has help and a version, and wants a command."""
        for argv, code, says in [
            (["--help"], 0, "redrive"),
            (["--version"], 0, "natsconnector"),
            ([], 2, "COMMAND"),
            (["nothing"], 2, "invalid choice"),
        ]:
            output, errors, ended = await getProcessOutputAndValue(
                sys.executable, ["-m", "natsconnector", *argv], os.environ
            )
            self.assertEqual(ended, code)
            self.assertIn(says, (output + errors).decode())
