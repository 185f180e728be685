"""What is to be done about the state of the connector."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.admin.advice import Advice, Row, advise
from natsconnector.admin.facts import Facts, Nats, Work
from natsconnector.model.limits import Limits

WELL = Facts(1000.0, True, Work(3, 0, 0, 0.0), Nats(True, 0.0, 0, 0, 0, 0, 0), True, 0.0)
NO_MISHAPS = dict.fromkeys(("refused", "shed", "dead_letters", "dead_letters_failed", "given_up", "answers_lost"), 0)


def row(name: str, calls: int, failures: int = 0, *, inflight: int = 0, failed_at: float | None = 990.0) -> Row:
    return Row(name, calls, failures, None, None, inflight, failed_at, "the answer was 500")


class AdviceTests(SynchronousTestCase):
    """From facts to sentences."""

    def advice(self, *rows: Row, facts: Facts = WELL, fault: str | None = None, **mishaps: int) -> list[Advice]:
        return advise({"fault": fault}, facts, Limits(100, 1000), {**NO_MISHAPS, **mishaps}, rows)

    def matters(self, *rows: Row, **more: Any) -> list[str]:
        return [matter for matter, _ in self.advice(*rows, **more)]

    def test_well(self) -> None:
        """When all is well there is nothing to be done; a failure here and there is no matter."""
        self.assertEqual(self.advice(row("f", 100, 9), row("g", 5, failed_at=None)), [])

    def test_parts(self) -> None:
        """What is away, and that it comes back by itself, or not."""
        away = replace(WELL, is_ready=False, nats=replace(WELL.nats, is_connected=False), gateway_up=False)
        self.assertEqual(self.matters(facts=away), ["NATS is away.", "The gateway is away."])
        self.assertEqual(self.matters(fault="closed"), ["The connector cannot go on: closed."])
        ((matter, action),) = self.advice(facts=replace(WELL, is_ready=False))
        self.assertIn("No messages come in", matter)
        self.assertIn("python -m natsconnector check", action)

    def test_load(self) -> None:
        """The slots are in use and messages wait; or the backlog was full. Who has most of the slots is named."""
        facts = replace(WELL, work=Work(100, 1, 0, 12.4))
        self.assertEqual(
            self.matters(facts=facts), ["All 100 slots are in use, and 1 message waits, the oldest for 12 s."]
        )
        self.assertEqual(self.matters(facts=replace(facts, work=Work(100, 0, 0, 0.0))), [])
        self.assertEqual(self.matters(facts=replace(facts, work=Work(99, 5, 0, 0.0))), [])
        ((matter, action),) = self.advice(row("f", 9, inflight=51), row("g", 9, inflight=40), facts=facts, shed=7)
        self.assertEqual(matter, "7 messages found the backlog full and got 503 in the last ten minutes.")
        self.assertIn("f has 51 slots: --max-inflight-per-function", action)
        for name, inflight in (("f", 50), ("other", 90)):
            ((_, action),) = self.advice(row(name, 9, inflight=inflight), facts=facts, shed=7)
            self.assertNotIn("per-function", action)

    def test_functions(self) -> None:
        """Those that fail now and of which a tenth fails; the worst are named; none while the gateway is away."""
        self.assertEqual(
            self.matters(row("f", 10, 1), row("old", 10, 9, failed_at=399.0), row("other", 20, 20)),
            [
                "Other functions: 20 of 20 calls failed in the last ten minutes; the last one: the answer was 500.",
                "f: 1 of 10 calls failed in the last ten minutes; the last one: the answer was 500.",
            ],
        )
        many = [row(f"f{number}", 10, number) for number in range(1, 7)]
        self.assertEqual(
            [each.split(":")[0] for each in self.matters(*many)], ["f6", "f5", "f4", "3 more functions fail."]
        )
        self.assertEqual(self.matters(*many, facts=replace(WELL, gateway_up=False)), ["The gateway is away."])

    def test_messages(self) -> None:
        """What became of messages, the gravest first."""
        mishaps: dict[str, Any] = dict.fromkeys(NO_MISHAPS, 2)
        self.assertEqual(
            self.matters(**mishaps),
            [
                "2 messages found the backlog full and got 503 in the last ten minutes.",
                "The dead letters of 2 messages could not be stored in the last ten minutes.",
                "2 messages of the stream given up in the last ten minutes.",
                "2 messages without the answer that somebody waits for in the last ten minutes.",
                "2 messages put to the dead letters in the last ten minutes.",
                "2 messages refused in the last ten minutes.",
            ],
        )
