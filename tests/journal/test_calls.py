"""Tests of what is counted of calls."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.journal.calls import Calls, Histogram
from natsconnector.journal.counts import OTHER
from natsconnector.model.outcome import Outcome, failed

OK = Outcome(200)


class HistogramTests(SynchronousTestCase):
    """Durations in buckets."""

    def test_bounds_belong_below(self) -> None:
        """A value at a bound is not above it, as Prometheus has it; what is beyond the last is in infinity alone."""
        histogram = Histogram((0.1, 1.0))
        for value in (0.0, 0.1, 0.10001, 1.0, 7.0):
            histogram.add(value)
        self.assertEqual(list(histogram.cumulative()), [(0.1, 2), (1.0, 4), (float("inf"), 5)])
        self.assertAlmostEqual(histogram.sum, 8.20001)


class CallsTests(SynchronousTestCase):
    """Calls by function."""

    def setUp(self) -> None:
        self.calls = Calls(10)

    def end(self, function: str, outcome: Outcome, *, queued: bool = False) -> None:
        self.calls.ended(function, outcome, 0.2, 50.0, queued=queued)

    def codes(self) -> dict[str, dict[int, int]]:
        return {name: calls.codes for name, calls in self.calls.by_function()}

    def test_counted(self) -> None:
        """Each call by its function and status, with how long it took."""
        for outcome in (OK, OK, Outcome(500)):
            self.end("f", outcome)
        self.assertEqual(self.codes(), {"f": {200: 2, 500: 1}})
        (_, f), *_ = self.calls.by_function()
        self.assertEqual(sum(f.durations.counts), 3)
        self.assertEqual(self.calls.last_answer_at, 50.0)

    def test_names_that_are_not_there(self) -> None:
        """A name that no gateway has shown to know has no place of its own, whatever became of its calls."""
        self.end("a", Outcome(404))
        self.end("b", Outcome(500, not_deployed=True))
        self.end("c", failed(502, "unreachable", gateway_down=True))
        self.end("d", failed(504, "no answer"))
        self.end("e", Outcome(202), queued=True)
        self.end("g", Outcome(503, gateway_down=True))
        self.assertEqual(list(self.codes()), [OTHER])
        self.calls.is_known = {"d"}.__contains__
        self.end("d", failed(504, "no answer"))
        self.assertEqual(self.codes()["d"], {504: 1})

    def test_most(self) -> None:
        """So many functions have places of their own, a sixth of them details; the rest share one place."""
        for number in range(20):
            self.end(f"f{number}", OK)
        found = dict(self.calls.by_function())
        self.assertEqual([*found], [*(f"f{number}" for number in range(10)), OTHER])
        self.assertEqual(found[OTHER].codes, {200: 10})
        self.assertEqual([name for name, calls in found.items() if self.calls.has_details(calls)], ["f0", "f1", OTHER])
        self.assertEqual(sum(found[OTHER].durations.counts), 18)
        for number in range(20):
            self.calls.retried(f"f{number}", 503)
            self.calls.dead_letter(f"f{number}", 500)
        self.assertEqual((found["f1"].retries, found["f1"].dead_letters), ({503: 1}, {500: 1}))
        self.assertEqual((found[OTHER].retries, found[OTHER].dead_letters), ({503: 18}, {500: 18}))

    def test_most_codes(self) -> None:
        """A function that answers with ever other numbers has few of them counted, and the sum stays right."""
        for status in range(100, 600):
            self.end("f", Outcome(status))
        codes = self.codes()["f"]
        self.assertEqual((len(codes), codes[100], codes[0]), (11, 1, 490))

    def test_without_response(self) -> None:
        """Calls without a response are counted by the reason, which is the platform's fault or the function's."""
        self.end("f", failed(502, "refused", gateway_down=True))
        for status in (504, 413, 502, 503):
            self.end("f", failed(status, "no response"))
        self.end("f", Outcome(504))
        expected = {"unreachable": 1, "timeout": 1, "too_large": 1, "broken": 1, "other": 1}
        self.assertEqual(self.calls.without_response, expected)

    def test_only_what_has_no_call(self) -> None:
        """A dead letter of a message that was no call is counted among the others, which alone have a place then."""
        self.calls.dead_letter("", 400)
        (found,) = self.calls.by_function()
        self.assertEqual((found[0], found[1].dead_letters), (OTHER, {400: 1}))

    def test_gateway_away(self) -> None:
        """What tells of the gateway's absence is no answer of it."""
        self.end("f", failed(502, "unreachable", gateway_down=True))
        self.end("f", Outcome(503, gateway_down=True))
        self.assertIsNone(self.calls.last_answer_at)
