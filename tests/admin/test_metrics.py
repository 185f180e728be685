"""The figures, as a Prometheus reads them."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.admin.facts import Consumer, Facts, FunctionList, Nats, Work
from natsconnector.admin.families import FAMILIES, PREFIX
from natsconnector.admin.metrics import Metrics
from natsconnector.admin.resources import Page
from natsconnector.journal.journal import Journal
from natsconnector.journal.results import ResultsJournal
from natsconnector.model.call import FunctionCall
from natsconnector.model.ending import Ending
from natsconnector.model.limits import Limits
from natsconnector.model.outcome import Outcome, failed
from natsconnector.model.seams import ReplyNotSent, ReplyTooLarge
from natsconnector.testing import FakeDelivery

FACTS = Facts(100.0, True, Work(3, 7, 700, 2.5), Nats(True, 40.0, 2, 10, 11, 1000, 1100), True, 60.0)


def fullest_page() -> Page:
    """A page with at least one sample of each figure."""
    journal = Journal(Clock())
    journal.calls.ended("f", Outcome(200), 0.1, 1.0, queued=False)
    call = FunctionCall("f", call_id="c")
    journal.ended(Ending(FakeDelivery(), call, Outcome(500), 1, 0.1))
    journal.retrying(FakeDelivery(), call, Outcome(503), 1, 5.0, "f")
    journal.stored(Ending(FakeDelivery(), call, Outcome(500), 1, 0.1, "f"))
    work = replace(FACTS.work, inflight_limits={"f": 4})
    facts = replace(
        FACTS, work=work, functions=FunctionList(1, 1.0, 0, 0, 0), consumers=[Consumer("S", "c", 1, 1, 1, 1.0)]
    )
    return Metrics(journal, lambda: facts, Limits(1, 1, 1), "1", lambda: 0.0).page("")


class MetricsTests(SynchronousTestCase):
    """From counts to text."""

    def setUp(self) -> None:
        self.journal = Journal(Clock(), most_functions=500)
        self.facts = FACTS
        self.collector = Metrics(self.journal, lambda: self.facts, Limits(100, 1000, 10_000), "1.2", lambda: 0.25)

    def samples(self) -> dict[str, float]:
        """Every sample of ours by name and labels, as in ``calls_total{code=200,function=f}``."""
        found = {}
        for family in parse(self.collector.page("").body.decode()):
            self.assertTrue(family.documentation, family.name)
            for sample in family.samples:
                if sample.name.startswith("natsconnector_"):
                    labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                    found[sample.name.removeprefix("natsconnector_") + (f"{{{labels}}}" if labels else "")] = (
                        sample.value
                    )
        return found

    def test_calls(self) -> None:
        """Calls by function and status, their durations, and the waits."""
        for outcome in (Outcome(200), Outcome(200), Outcome(503), Outcome(999)):
            self.journal.calls.begins(0.02)
            self.journal.calls.ended("f", outcome, 0.3, 90.0, queued=False)
        samples = self.samples()
        self.assertEqual(samples["calls_total{code=200,function=f}"], 2)
        self.assertEqual(samples["calls_total{code=503,function=f}"], 1)
        self.assertEqual(samples["calls_total{code=other,function=f}"], 1, "a status that there is not")
        self.assertEqual(samples["call_duration_seconds_bucket{function=f,le=0.25}"], 0)
        self.assertEqual(samples["call_duration_seconds_bucket{function=f,le=0.5}"], 4)
        self.assertEqual(samples["call_duration_seconds_bucket{function=f,le=+Inf}"], 4)
        self.assertAlmostEqual(samples["call_duration_seconds_sum{function=f}"], 1.2)
        self.assertEqual(samples["queue_wait_seconds_bucket{le=0.025}"], 4)
        self.assertEqual(samples["gateway_last_answer_age_seconds"], 10.0)

    def test_messages(self) -> None:
        """What became of messages: those that were no call apart from calls that failed."""
        self.journal.received(FakeDelivery(), "envelope")
        self.journal.received(FakeDelivery(), "topic")
        self.journal.received(FakeDelivery(), "function")
        self.journal.received(FakeDelivery(durable=True, attempt=2), "envelope")
        self.journal.calls.ended("f.fn", Outcome(503), 0.1, 1.0, queued=False)
        call = FunctionCall("f", call_id="c")
        self.journal.ended(Ending(FakeDelivery(), call, Outcome(200), 1, 0.1))
        self.journal.ended(Ending(FakeDelivery(), call, Outcome(500), 1, 0.1))
        self.journal.ended(Ending(FakeDelivery(), None, failed(400, "not JSON"), 0, 0.1))
        self.journal.lost(Ending(FakeDelivery(identity="S-1"), None, failed(400, "not JSON"), 0, 0.1))
        for attempt in (1, 2):
            self.journal.retrying(FakeDelivery(durable=True), call, Outcome(503), attempt, 5.0, "f.fn")
        self.journal.stored(Ending(FakeDelivery(), call, Outcome(500), 1, 0.1, "f.fn"))
        self.journal.not_stored(Ending(FakeDelivery(), call, Outcome(500), 1, 0.1), "no stream")
        self.journal.reply_lost("s", ReplyTooLarge("2 MB"))
        self.journal.reply_lost("s", ReplyNotSent("not connected"))
        self.journal.counts.answer_not_sent("refused")
        self.journal.shed(1, 1, 1.0, None)
        self.journal.gateway_away("refused")
        self.journal.finish()
        expected = {
            "messages_received_total{kind=envelope}": 1,
            "messages_received_total{kind=topic}": 1,
            "messages_received_total{kind=function}": 1,
            "messages_redelivered_total": 1,
            "messages_succeeded_total": 1,
            "messages_failed_total{code=500}": 1,
            "messages_refused_total{code=400}": 2,
            "messages_refused_total{code=403}": 0,
            "messages_given_up_total": 1,
            "messages_shed_total": 1,
            "messages_awaiting_retry": 1,
            "messages_awaiting_retry_highest_attempt": 2,
            "retries_total": 2,
            "function_retries_total{code=503,function=f.fn}": 2,
            "dead_letters_stored_total": 1,
            "function_dead_letters_total{code=500,function=f.fn}": 1,
            "dead_letters_failed_total": 1,
            "answers_not_sent_total{reason=too_large}": 1,
            "answers_not_sent_total{reason=not_published}": 1,
            "answers_not_sent_total{reason=refused}": 1,
            "answers_not_sent_total{reason=not_allowed}": 0,
            "gateway_outages_total": 1,
        }
        samples = self.samples()
        self.assertEqual({name: samples[name] for name in expected}, expected)
        self.assertNotIn("messages_failed_total{code=400}", samples)

    def test_results(self) -> None:
        """What became of callbacks; reasons are words of our own."""
        told = ResultsJournal(Clock(), self.journal.counts)
        told.published()
        told.not_published("results.f", "away")
        told.refused("used", "the result of f was taken before")
        told.finish()
        samples = self.samples()
        for name in ("results_published_total", "results_failed_total", "callbacks_refused_total{reason=used}"):
            self.assertEqual(samples[name], 1, name)

    def test_facts(self) -> None:
        """What the parts are like; what does not apply is absent."""
        expected: dict[str, float] = {
            "ready": 1,
            "calls_inflight": 3,
            "calls_inflight_limit": 100,
            "backlog_messages": 7,
            "backlog_messages_limit": 1000,
            "backlog_bytes": 700,
            "backlog_bytes_limit": 10_000,
            "backlog_oldest_age_seconds": 2.5,
            "nats_connected": 1,
            "nats_disconnected_seconds": 0,
            "nats_reconnects_total": 2,
            "nats_received_messages_total": 10,
            "nats_sent_messages_total": 11,
            "nats_received_bytes_total": 1000,
            "nats_sent_bytes_total": 1100,
            "gateway_up": 1,
            "gateway_away_seconds": 0,
            "reactor_delay_seconds": 0.25,
        }
        samples = self.samples()
        self.assertEqual({name: samples[name] for name in expected}, expected)
        absent = ("functions", "function_list", "stream", "gateway_last", "topics")
        self.assertEqual([name for name in samples if name.startswith(absent)], [])
        (build,) = (name for name in samples if name.startswith("build_info"))
        self.assertIn("version=1.2", build)

    def test_outages(self) -> None:
        """Since when there is no NATS, and that the gateway is away."""
        self.facts = replace(FACTS, is_ready=False, nats=replace(FACTS.nats, is_connected=False), gateway_up=False)
        samples = self.samples()
        self.assertEqual(
            [samples[name] for name in ("ready", "nats_connected", "nats_disconnected_seconds", "gateway_up")],
            [0, 0, 60, 0],
        )
        self.assertEqual(samples["gateway_away_seconds"], 40)

    def test_in_flight(self) -> None:
        """Which functions hold the slots: those that have durations of their own each for itself, the others as one."""
        self.journal = Journal(Clock(), most_functions=5)
        for name in ("a", "b"):
            self.journal.calls.ended(name, Outcome(200), 0.1, 1.0, queued=False)
        limits = {"a": 7, "b": 8, "invented": 9}
        running = {"a": 2, "b": 3, "invented": 1}
        work = replace(FACTS.work, inflight=6, inflight_by_function=running, inflight_limits=limits)
        self.facts = replace(FACTS, work=work)
        self.collector = Metrics(self.journal, lambda: self.facts, Limits(1, 1, 1), "1", lambda: 0.0)
        found = {name: value for name, value in self.samples().items() if name.startswith("function_calls_inflight")}
        self.assertEqual(
            found,
            {
                "function_calls_inflight{function=a}": 2,
                "function_calls_inflight{function=other}": 4,
                "function_calls_inflight_limit{function=a}": 7,
            },
        )

    def test_table(self) -> None:
        """All figures of the table are told, with its labels, and no others."""
        page = fullest_page()
        found = {
            family.name: (family.type, {label for sample in family.samples for label in sample.labels} - {"le"})
            for family in parse(page.body.decode())
            if family.name.startswith(PREFIX)
        }
        table = {
            PREFIX + family.name: (family.kind.value, set(family.labels))
            for families in FAMILIES.values()
            for family in families
        }
        self.assertEqual(found, table)

    def test_list_and_stream(self) -> None:
        """The list of functions, and the stream's consumer, where there are such."""
        self.facts = replace(
            FACTS, functions=FunctionList(12, 95.0, 3, 1, 2), consumers=[Consumer("CALLS", "c", 50, 4, 2, 7.5)]
        )
        samples = self.samples()
        expected: dict[str, float] = {
            "functions": 12,
            "function_list_age_seconds": 5.0,
            "function_list_failures_total": 3,
            "function_annotation_faults": 1,
            "stream_pending_messages{consumer=c,stream=CALLS}": 50,
            "stream_unacknowledged_messages{consumer=c,stream=CALLS}": 4,
            "stream_redelivered_messages{consumer=c,stream=CALLS}": 2,
            "stream_oldest_unacknowledged_age_seconds{consumer=c,stream=CALLS}": 7.5,
            "topics_without_function": 2,
        }
        self.assertEqual({name: samples[name] for name in expected}, expected)
        self.facts = replace(FACTS, functions=FunctionList(0, None, 3, 0, 0))
        self.assertNotIn("function_list_age_seconds", self.samples())

    def test_openmetrics(self) -> None:
        """Who asks for OpenMetrics gets the same as that, which its strict parser takes."""
        self.journal.calls.ended("f", Outcome(200), 0.3, 90.0, queued=False)
        page = self.collector.page("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        self.assertTrue(page.content_type.startswith("application/openmetrics-text; version=1.0.0"))
        strict = {family.name for family in parse_openmetrics(page.body.decode())}
        plain = self.collector.page("text/plain")
        self.assertTrue(plain.content_type.startswith("text/plain; version=0.0.4"))
        self.assertEqual(len(strict), len(list(parse(plain.body.decode()))))

    def test_memory(self) -> None:
        """Nor do they take memory, however many come."""

        def call(prefix: str, outcome: Outcome) -> None:
            for number in range(5000):
                self.journal.calls.ended(f"{prefix}-{number}", outcome, 0.1, 1.0, queued=False)
                self.journal.calls.retried(f"{prefix}-{number}", 503)

        call("first", Outcome(200))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        call("second", Outcome(200))
        call("third", Outcome(404))
        self.assertLess(tracemalloc.get_traced_memory()[0] - before, 10_000)

    def test_cardinality(self) -> None:
        """Ten thousand names of functions, there or not, cost less than 200 kB."""
        for number in range(10_000):
            self.journal.calls.ended(f"invented-{number}", Outcome(404), 0.1, 1.0, queued=False)
        self.assertLess(len(self.collector.page("").body), 20_000)
        running: dict[str, int] = {}
        for number in range(10_000):
            name = f"function-{number:05}.openfaas-fn"
            running[name] = 1
            self.journal.calls.ended(name, Outcome(200), 0.1, 1.0, queued=False)
            self.journal.calls.retried(name, 503)
            self.journal.calls.dead_letter(name, 500)
        self.facts = replace(FACTS, work=replace(FACTS.work, inflight=10_000, inflight_by_function=running))
        self.assertLess(len(self.collector.page("").body), 200_000)
        samples = self.samples()
        self.assertEqual(sum(name.startswith("calls_total") for name in samples), 502)
        self.assertEqual(samples["calls_total{code=200,function=other}"], 9500)
        self.assertEqual(samples["calls_total{code=404,function=other}"], 10_000)
        self.assertEqual(
            sum(value for name, value in samples.items() if name.startswith("call_duration_seconds_count")), 20_000
        )
