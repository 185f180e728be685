"""Tests of what is told."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.journal.journal import Journal
from natsconnector.model.call import FunctionCall
from natsconnector.model.ending import Ending
from natsconnector.model.outcome import Outcome, failed
from natsconnector.testing import FakeDelivery

CALL = FunctionCall("figlet", b"secret {body}", call_id="id-1")


class JournalTests(SynchronousTestCase):
    """Counts and lines."""

    def told(self, *outcomes: Outcome, call: FunctionCall | None = CALL, **options: Any) -> list[str]:
        """The lines of level info and above for messages that ended so."""
        clock = Clock()
        with capturedLogs() as events:
            self.journal = Journal(clock, **options)
            for outcome in outcomes:
                if call is not None:
                    self.journal.calling(call)
                self.journal.settled(Ending(FakeDelivery(), call, outcome, 1, 0.5))
            clock.advance(10)
        return [formatEvent(event) for event in events if event["log_level"] >= LogLevel.info]

    def test_success_is_silent(self) -> None:
        """A message that went well makes no line unless asked for."""
        self.assertEqual(self.told(Outcome(200, b"secret")), [])
        self.assertEqual(self.journal.succeeded, 1)

    def test_printed(self) -> None:
        """Lines for answers, with bodies only if those are asked for; braces in a body are no placeholders."""
        (line,) = self.told(Outcome(200, b"secret"), print_response=True)
        self.assertEqual(line, "figlet answered 200 with 6 bytes after 0.500 s [call id-1]")
        (line,) = self.told(Outcome(200, b"{x} secret"), print_response_body=True)
        self.assertIn(": {x} secret [call id-1]", line)
        (line,) = self.told(Outcome(200), print_request_body=True)
        self.assertEqual(line, "calling figlet with 13 bytes: secret {body} [call id-1]")
        (line,) = self.told(Outcome(200, b"x" * 100_000), print_response_body=True)
        self.assertLess(len(line), 5000)

    def test_failure(self) -> None:
        """A failure says subject, function, reason and call; never the payload."""
        (line,) = self.told(failed(502, "the gateway is unreachable"))
        self.assertEqual(
            line, "failed for a message on function.call after 1 attempt(s): the gateway is unreachable [call id-1]"
        )

    def test_repeated_failures(self) -> None:
        """The first is told, the others are counted, each kind for itself."""
        lines = self.told(*[Outcome(500)] * 5, Outcome(404), *[failed(502, "x")] * 3)
        self.assertEqual(len(lines), 5)
        self.assertIn("4 more calls of figlet failed with 500", lines)
        self.assertIn("2 more calls of figlet failed with 502", lines)
        self.assertEqual(self.journal.failed, {500: 5, 404: 1, 502: 3})

    def test_refused(self) -> None:
        """A message that is no call is told too, without its payload."""
        lines = self.told(*[failed(400, "not JSON")] * 3, call=None)
        self.assertEqual(
            lines, ["refused a message on function.call: not JSON", "2 more messages on function.call refused"]
        )
