"""What came of the messages of each subject."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.journal.endpoints import Endpoints
from natsconnector.journal.journal import Journal
from natsconnector.model.call import FunctionCall
from natsconnector.model.ending import Ending
from natsconnector.model.outcome import Outcome, failed
from natsconnector.testing import FakeDelivery

CALL = FunctionCall("figlet", b"", call_id="id-1")


def ending(subject: str, outcome: Outcome, call: FunctionCall | None = CALL, elapsed_s: float = 0.25) -> Ending:
    return Ending(FakeDelivery(subject=subject), call, outcome, 1, elapsed_s, "figlet.openfaas-fn")


class EndpointsTests(SynchronousTestCase):
    """Counting by subscription subject."""

    def setUp(self) -> None:
        self.endpoints = Endpoints()

    def numbers(self, pattern: str) -> tuple[int, int, str, float]:
        calls = self.endpoints.of(pattern)
        return calls.requests, calls.errors, calls.last_error, calls.elapsed_s

    def test_counts(self) -> None:
        """Each message counts for the subject it came by; what its publisher wrote is in no error."""
        self.endpoints.listen_on(["function.call", "fn.*", "orders.>"])
        self.endpoints.ended(ending("fn.figlet", Outcome(200)))
        self.endpoints.ended(ending("fn.nosuch", Outcome(500), elapsed_s=1.0))
        self.endpoints.ended(ending("fn.figlet", Outcome(200)))
        self.endpoints.ended(ending("function.call", failed(400, "secret is not JSON"), None, 0.5))
        self.endpoints.ended(ending("elsewhere", Outcome(200)))
        self.assertEqual(self.numbers("fn.*"), (3, 1, "the answer was 500", 1.5))
        self.assertEqual(self.numbers("function.call"), (1, 1, "a malformed message", 0.5))
        self.assertEqual(self.numbers("orders.>"), (0, 0, "", 0))

    def test_other_subjects(self) -> None:
        """A subject that stays keeps its numbers; a message counts for the subjects of now, also one seen before."""
        self.endpoints.listen_on(["a.*", "b"])
        for subject in ("a.x", "b"):
            self.endpoints.ended(ending(subject, Outcome(200)))
        self.endpoints.listen_on(["a.x", "b"])
        for subject in ("a.x", "b"):
            self.endpoints.ended(ending(subject, Outcome(200)))
        self.assertEqual([self.numbers(pattern)[0] for pattern in ("a.*", "a.x", "b")], [0, 1, 2])

    def test_bounded(self) -> None:
        """Publishers choose concrete subjects: what is remembered of them has a bound."""
        self.endpoints.listen_on([">"])
        for number in range(2500):
            self.endpoints.ended(ending(f"s.{number}", Outcome(200)))
        self.endpoints.ended(ending("s." + "x" * 500, Outcome(200)))
        self.assertLessEqual(len(self.endpoints._by_subject), 1000)
        self.assertNotIn("s." + "x" * 500, self.endpoints._by_subject)
        self.assertEqual(self.numbers(">")[0], 2501)

    def test_nobody_asks(self) -> None:
        """Nothing is counted before it is wanted."""
        self.endpoints.ended(ending("a", Outcome(200)))
        self.assertEqual((self.endpoints._by_subject, self.numbers("a")[0]), ({}, 0))

    def test_journal(self) -> None:
        """The journal tells of each end: of those that are given up, too."""
        journal = Journal(Clock())
        journal.endpoints.listen_on(["a"])
        journal.ended(ending("a", Outcome(200)))
        journal.lost(ending("a", Outcome(500)))
        calls = journal.endpoints.of("a")
        self.assertEqual((calls.requests, calls.errors), (2, 1))
