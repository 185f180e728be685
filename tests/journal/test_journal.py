"""Tests of what is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.journal.journal import Journal
from natsconnector.model.call import FunctionCall
from natsconnector.model.ending import Ending
from natsconnector.model.outcome import Outcome, failed
from natsconnector.testing import FakeDelivery

CALL = FunctionCall("figlet", b"secret {body}", call_id="id-1")
UNREACHABLE = failed(502, "the gateway is unreachable")


class JournalCase(SynchronousTestCase):
    """A journal on a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: Sequence[LogEvent] = []

    def lines(self) -> list[str]:
        """The lines of level info and above."""
        return [formatEvent(event) for event in self.events if event["log_level"] >= LogLevel.info]

    def told(self, *outcomes: Outcome, call: FunctionCall | None = CALL, **options: Any) -> list[str]:
        """The lines for messages that ended so, and for the ten seconds after them."""
        with capturedLogs() as self.events:
            self.journal = Journal(self.clock, **options)
            for outcome in outcomes:
                if call is not None:
                    self.journal.calling(call)
                self.journal.ended(Ending(FakeDelivery(), call, outcome, 1, 0.5))
            self.clock.advance(10)
        return self.lines()


class EndTests(JournalCase):
    """Messages that ended."""

    def test_success_is_silent(self) -> None:
        """A message that went well makes no line unless asked for, and no event that is thrown away."""
        self.assertEqual(self.told(Outcome(200, b"secret")), [])
        self.assertEqual((self.journal.counts.succeeded, len(self.events)), (1, 0))
        self.told(Outcome(200), debug=True)
        self.assertEqual([event["log_level"] for event in self.events], [LogLevel.debug])

    def test_printed(self) -> None:
        """Lines for responses, with bodies only if those are asked for; braces in a body are no placeholders."""
        (line,) = self.told(Outcome(200, b"secret"), print_response=True)
        self.assertEqual(line, "figlet answered 200 with 6 bytes after 0.500 s [call id-1]")
        (line,) = self.told(Outcome(200, b"{x} secret"), print_response_body=True)
        self.assertIn(": {x} secret [call id-1]", line)
        self.assertEqual(self.events[0]["body"], "{x} secret")
        (line,) = self.told(Outcome(200), print_request_body=True)
        self.assertEqual(line, "calling figlet with 13 bytes: secret {body} [call id-1]")
        (line,) = self.told(Outcome(200, b"x" * 100_000), print_response_body=True)
        self.assertLess(len(line), 5000)

    def test_failure(self) -> None:
        """A failure says function, subject, reason and call; never the payload. Fields are there for machines."""
        (line,) = self.told(UNREACHABLE)
        self.assertEqual(
            line,
            "call of figlet failed for a message on function.call after 1 attempt: the gateway is unreachable"
            " [call id-1]",
        )
        (event,) = self.events
        expected = {"event": "call_failed", "function": "figlet", "status": 502, "attempts": 1, "call_id": "id-1"}
        self.assertEqual({name: event[name] for name in expected}, expected)
        self.assertEqual({"identity", "trace_id", "dead_letter"} & event.keys(), set(), "absent values are left out")

    def test_trace(self) -> None:
        """A line of a failing call names the trace of the call; one of a message that is none, that of the message."""
        trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
        headers = (("traceparent", f"00-{trace_id}-00f067aa0ba902b7-01"),)
        call = FunctionCall("figlet", call_id="id-1", headers=headers)
        with capturedLogs() as self.events:
            journal = Journal(self.clock)
            journal.ended(Ending(FakeDelivery(), call, UNREACHABLE, 1, 0.5))
            journal.ended(Ending(FakeDelivery(headers=headers), None, failed(400, "not JSON"), 0, 0.5))
            journal.retrying(FakeDelivery(durable=True), call, UNREACHABLE, 1, 2.0, call.function)
        self.assertEqual([event["trace_id"] for event in self.events], [trace_id] * 3)

    def test_left(self) -> None:
        """A message that is left to a later delivery is told at level debug; otherwise no event is made of it."""
        for debug, events in ((False, []), (True, ["message_left"])):
            with capturedLogs() as self.events:
                Journal(self.clock, debug=debug).left(Ending(FakeDelivery(identity="S-7"), CALL, UNREACHABLE, 1, 0.5))
            self.assertEqual([event["event"] for event in self.events], events)

    def test_dead_letter(self) -> None:
        """A dead letter is told as one."""
        with capturedLogs() as self.events:
            Journal(self.clock).ended(
                Ending(FakeDelivery(), CALL, Outcome(500), 4, 0.5), "its dead letter is stored, on d"
            )
        (line,) = self.lines()
        self.assertIn("after 4 attempts: figlet answered 500; its dead letter is stored, on d [call id-1]", line)

    def test_given_up(self) -> None:
        """Each message that is lost for good has its line; one that was no call has no call id."""
        with capturedLogs() as self.events:
            journal = Journal(self.clock)
            journal.lost(Ending(FakeDelivery(identity="S-7"), CALL, Outcome(500), 3, 0.5))
            journal.lost(Ending(FakeDelivery(identity="S-8"), None, failed(400, "not JSON"), 1, 0.5))
        first, second = self.lines()
        self.assertIn("gave up message S-7 on function.call after 3 attempts", first)
        self.assertTrue(first.endswith("[call id-1]"))
        self.assertTrue(second.endswith("not JSON"))
        self.assertEqual(journal.counts.given_up, 2)

    def test_repeated_failures(self) -> None:
        """The first is told, the others are counted, each kind for itself, with the window."""
        lines = self.told(*[Outcome(500)] * 5, Outcome(404), *[UNREACHABLE] * 3)
        self.assertEqual(len(lines), 5)
        self.assertIn("4 more calls of figlet failed with 500 within 10 s", lines)
        self.assertIn("2 more calls of figlet failed with 502 within 10 s", lines)
        self.assertEqual(self.journal.counts.failed, {500: 5, 404: 1, 502: 3})
        more = [event for event in self.events if event["event"] == "calls_failed"]
        self.assertEqual(
            [(e["count"], e["function"], e["status"]) for e in more], [(4, "figlet", 500), (2, "figlet", 502)]
        )

    def test_names_that_are_not_there(self) -> None:
        """Functions that are not deployed share one kind: invented names hide nobody else's failures."""
        with capturedLogs() as self.events:
            journal = Journal(self.clock)
            for number in range(1000):
                call = FunctionCall(f"invented{number}", call_id="x")
                journal.ended(Ending(FakeDelivery(), call, Outcome(404), 1, 0.1))
            for _ in range(3):
                journal.ended(Ending(FakeDelivery(), FunctionCall("billing", call_id="y"), Outcome(500), 1, 0.1))
            self.clock.advance(10)
        lines = self.lines()
        self.assertEqual(len(lines), 4)
        self.assertIn("999 more calls of functions that are not deployed failed with 404 within 10 s", lines)
        self.assertIn("2 more calls of billing failed with 500 within 10 s", lines)

    def test_refused(self) -> None:
        """A message that is no call is told too, by subject and status: one kind does not hide another."""
        lines = self.told(*[failed(400, "not JSON")] * 3, failed(403, "not allowed"), call=None)
        self.assertEqual(
            lines,
            [
                "refused a message on function.call with 400: not JSON",
                "refused a message on function.call with 403: not allowed",
                "2 more messages on function.call were refused with 400 within 10 s",
            ],
        )


class AttemptTests(JournalCase):
    """Attempts that are followed by others."""

    def test_durable(self) -> None:
        """A function that fails is told at its first attempt, then counted with who waits and since when."""
        with capturedLogs() as self.events:
            journal = Journal(self.clock)
            for number in range(3):
                call = FunctionCall("figlet", call_id=f"id-{number}")
                journal.retrying(FakeDelivery(durable=True), call, Outcome(500), 1, 2.0, call.function)
            journal.ended(
                Ending(FakeDelivery(durable=True), FunctionCall("figlet", call_id="id-0"), Outcome(200), 2, 1)
            )
            self.clock.advance(10)
        first, more = self.lines()
        self.assertEqual(
            first,
            "attempt 1 for a message on function.call failed, the next follows in 2.0 s: figlet answered 500"
            " [call id-0]",
        )
        self.assertEqual(
            more,
            "2 more attempts to call figlet failed with 500 within 10 s; 2 messages wait for another attempt,"
            " the oldest for 10 s",
        )
        self.assertEqual(journal.counts.retries, 3)

    def test_core(self) -> None:
        """On core NATS the end comes soon, and is told then."""
        with capturedLogs() as self.events:
            journal = Journal(self.clock)
            journal.retrying(FakeDelivery(), CALL, Outcome(503), 1, 0.5, CALL.function)
        self.assertEqual((self.lines(), journal.counts.retries), ([], 1))


class ReportTests(JournalCase):
    """The line of each minute."""

    def test_traffic(self) -> None:
        """With traffic, one line a minute; without, none. Messages that come again are not counted as messages."""
        with capturedLogs() as self.events:
            journal = Journal(self.clock)
            journal.report.work = lambda: (2, 5)
            for attempt in (1, 1, 1, 2):
                journal.received(FakeDelivery(durable=True, attempt=attempt), "envelope")
            for outcome in (Outcome(200), Outcome(200), Outcome(500)):
                journal.ended(Ending(FakeDelivery(), CALL, outcome, 1, 0.1))
            self.clock.pump([10] * 6)
            journal.report.work = lambda: (0, 0)
            self.clock.pump([10] * 12)
        reports = [formatEvent(event) for event in self.events if event["event"] == "report"]
        self.assertEqual(
            reports,
            [
                "in the last minute: 3 messages received; 2 calls succeeded, 1 failed (1 with 500), 0 attempts are"
                " tried again; now 2 in flight, 5 waiting for a slot, 0 for another attempt"
            ],
        )
        self.assertEqual(journal.counts.redelivered, 1)
        journal.finish()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_new(self) -> None:
        """As long as there is work the line goes on, also in a minute in which nothing came or ended."""
        with capturedLogs() as self.events:
            journal = Journal(self.clock)
            journal.report.work = lambda: (1, 0)
            journal.received(FakeDelivery(), "envelope")
            self.clock.pump([10] * 18)
            journal.report.work = lambda: (0, 0)
            self.clock.pump([10] * 18)
        self.assertEqual([event["received"] for event in self.events if event["event"] == "report"], [1, 0, 0])


class ConnectorTests(JournalCase):
    """What concerns all messages."""

    def test_overload(self) -> None:
        """One line when it begins, which names who holds the slots and the flags that help; one when it is over."""
        with capturedLogs() as self.events:
            journal = Journal(self.clock)
            for _ in range(3):
                journal.shed(100, 4683, 3.25, ("slow", 5))
            journal.relieved()
            journal.relieved()
            journal.shed(100, 4683, 3.25, None)
            journal.relieved()
        first, over, _, again = self.lines()
        for text in ("100 messages with 4683 bytes", "the oldest for 3.2 s", "slow holds 5 slots", "--max-inflight"):
            self.assertIn(text, first)
        self.assertEqual(over, "no longer overloaded: 3 messages were answered 503")
        self.assertEqual(again, "no longer overloaded: 1 messages were answered 503")

    def test_gateway(self) -> None:
        """One line when it goes, one when it is back, with how long and how many."""
        with capturedLogs() as self.events:
            journal = Journal(self.clock)
            journal.gateway_away("connection refused")
            journal.gateway_back(12.04, 7)
        away, back = self.lines()
        self.assertEqual(away, "gateway away: connection refused; calls wait for the gateway, and use up no attempts")
        self.assertEqual(back, "gateway back after 12.0 s; 7 calls had found it away, the waiting calls are made now")

    def test_skipped_headers(self) -> None:
        """A header that cannot be read costs only itself, and is named once."""
        with capturedLogs() as self.events:
            journal = Journal(self.clock)
            for _ in range(3):
                journal.headers_skipped("a", ("line 3 has a bad name", "line 4 has no colon"))
        (line,) = self.lines()
        self.assertIn("a message on a has headers that cannot be read and are left out: line 3 has a bad name", line)

    def test_topic_that_nobody_wants(self) -> None:
        """A durable message for it says once that it waits."""
        with capturedLogs() as self.events:
            journal = Journal(self.clock)
            for _ in range(3):
                journal.nobody_wants("orders")
            journal.finish()
        first, again, _ = self.lines()
        self.assertIn("no function is annotated with the topic orders", first)
        self.assertTrue(again.startswith("2 more times within 10 s: no function is annotated"))
