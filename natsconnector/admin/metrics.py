"""The figures, as Prometheus and OpenMetrics have them. They are put together when somebody asks, and nowhere kept."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

import twisted
from natsconnector.admin.facts import Consumer, Facts, FunctionList, Nats, Work
from natsconnector.admin.resources import Page
from natsconnector.journal.calls import Calls, Histogram
from natsconnector.journal.counts import OTHER, Counts
from natsconnector.journal.journal import Journal
from natsconnector.model.limits import Limits

_PREFIX = "natsconnector_"
_CODES = range(100, 600)


class Metrics(Collector):
    """
    Everything that is counted, read at each scrape.

    :param look: gives the facts of this moment.
    :param delay_s: tells how late the reactor was in the last minute at worst.
    """

    def __init__(
        self,
        journal: Journal,
        look: Callable[[], Facts],
        limits: Limits,
        version: str,
        delay_s: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._look = look
        self._limits = limits
        self._build = {"version": version, "python": platform.python_version(), "twisted": str(twisted.__version__)}
        self._delay_s = delay_s
        # Not the library's own registry: it belongs to the process, and this one to the connector.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: asking for the names would take a scrape."""
        return ()

    def page(self, accept: str) -> Page:
        """The exposition: OpenMetrics for who accepts that, the text of Prometheus for all others."""
        if "application/openmetrics-text" in accept:
            return Page(openmetrics.generate_latest(self._registry), openmetrics.CONTENT_TYPE_LATEST)
        return Page(generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)

    def collect(self) -> Iterator[Metric]:
        """All families."""
        facts = self._look()
        yield gauge("build_info", "The versions that run; always 1.", [(self._build, 1)])
        yield gauge("ready", "1 while messages come in, as /readyz has it.", float(facts.is_ready))
        yield gauge("reactor_delay_seconds", "How late timers were in the last minute, at worst.", self._delay_s())
        yield from _calls(self._journal.calls)
        yield from _work(facts.work, self._limits)
        yield from _messages(self._journal)
        yield from _results(self._journal.counts)
        yield from _nats(facts.nats, facts.now)
        yield from self._gateway(facts)
        if facts.functions is not None:
            yield from _functions(facts.functions, facts.now)
        if facts.consumers:
            yield from _consumers(facts.consumers)

    def _gateway(self, facts: Facts) -> Iterator[Metric]:
        yield gauge("gateway_up", "1 while the gateway can be reached, as far as calls show.", float(facts.gateway_up))
        answered_at = self._journal.calls.last_answer_at
        if answered_at is not None:
            text = "How long ago the gateway last answered a call."
            yield gauge("gateway_last_answer_age_seconds", text, max(0.0, facts.now - answered_at))
        outages = self._journal.counts.gateway_outages
        yield counter("gateway_outages", "How often the gateway went away for longer than a moment.", outages)


Samples = Iterable[tuple[Mapping[str, str], float]]


def gauge(name: str, text: str, value: float | Samples) -> Metric:
    """A family of values that go up and down; without labels a single number."""
    return _filled(GaugeMetricFamily(_PREFIX + name, text), value)


def counter(name: str, text: str, value: float | Samples) -> Metric:
    """A family of sums since the start; the library adds ``_total`` to the name."""
    return _filled(CounterMetricFamily(_PREFIX + name, text), value, "_total")


def _filled(family: Metric, value: float | Samples, suffix: str = "") -> Metric:
    for labels, each in [({}, value)] if isinstance(value, (int, float)) else value:
        family.add_sample(family.name + suffix, dict(labels), each)
    return family


def _histogram(name: str, text: str, found: Iterable[tuple[Mapping[str, str], Histogram]]) -> Metric:
    family = HistogramMetricFamily(_PREFIX + name, text)
    for labels, histogram in found:
        total = 0
        for bound, total in histogram.cumulative():
            le = "+Inf" if bound == float("inf") else repr(bound)
            family.add_sample(f"{family.name}_bucket", {**labels, "le": le}, total)
        family.add_sample(f"{family.name}_count", dict(labels), total)
        family.add_sample(f"{family.name}_sum", dict(labels), histogram.sum)
    return family


def _code(status: int) -> str:
    """A status as a label: whoever answers may invent numbers, which share one."""
    return str(status) if status in _CODES else OTHER


def _calls(calls: Calls) -> Iterator[Metric]:
    places = list(calls.by_function())
    sums: dict[tuple[str, str], int] = {}
    for function, place in places:
        for status, number in place.codes.items():
            key = function, _code(status)
            sums[key] = sums.get(key, 0) + number
    ended = [({"function": function, "code": code}, number) for (function, code), number in sums.items()]
    yield counter("calls", "Attempts to call a function that have ended, by HTTP status.", ended)
    text = "How long the gateway had a call."
    durations = [({"function": name}, place.durations) for name, place in places if calls.has_durations(place)]
    yield _histogram("call_duration_seconds", text, durations)
    yield _histogram("queue_wait_seconds", "How long a call waited for its slot.", [({}, calls.waits)])


def _work(work: Work, limits: Limits) -> Iterator[Metric]:
    yield gauge("calls_inflight", "Calls at the gateway.", work.inflight)
    yield gauge("calls_inflight_limit", "How many there may be: --max-inflight.", limits.inflight)
    yield gauge("backlog_messages", "Messages that wait for a slot, a retry in memory or a list.", work.pending)
    yield gauge("backlog_messages_limit", "How many may: --max-pending-messages.", limits.pending_messages)
    yield gauge("backlog_bytes", "Bytes of the messages that wait.", work.pending_bytes)
    yield gauge("backlog_bytes_limit", "How many may wait: --max-pending-bytes.", limits.pending_bytes)
    yield gauge("backlog_oldest_age_seconds", "How long the message waits that waits longest.", work.oldest_s)


def _messages(journal: Journal) -> Iterator[Metric]:
    counts = journal.counts
    waiting, oldest_s = journal.awaiting_another_attempt()
    failed = counts.failed - counts.refused
    yield counter("messages_received", "Messages that came for the first time.", counts.received)
    yield counter("messages_redelivered", "Deliveries of messages of a stream that came again.", counts.redelivered)
    yield counter("messages_succeeded", "Calls that ended well.", counts.succeeded)
    yield counter("messages_failed", "Calls that failed for good.", _by_code(failed))
    yield counter("messages_refused", "Messages that no call was made for.", _by_code(counts.refused))
    yield counter("messages_shed", "Messages that found the backlog full.", counts.shed)
    yield counter("messages_given_up", "Messages of a stream that are lost for want of a dead letter.", counts.given_up)
    yield counter("retries", "Attempts that failed and were followed by another.", counts.retries)
    yield gauge("messages_awaiting_retry", "Messages whose next attempt is due later.", waiting)
    yield gauge("messages_awaiting_retry_oldest_age_seconds", "Since the first attempt of the oldest failed.", oldest_s)
    yield counter("dead_letters_stored", "Dead letters that were stored.", counts.dead_letters)
    yield counter("dead_letters_failed", "Attempts to store one that failed.", counts.dead_letters_failed)
    yield counter(
        "answers_not_sent", "Answers that somebody waits for and that could not be sent.", counts.replies_lost
    )


def _results(counts: Counts) -> Iterator[Metric]:
    yield counter("results_published", "Results of asynchronous calls that were published.", counts.results)
    yield counter("results_failed", "Callbacks answered 503: their results go nowhere yet.", counts.results_failed)
    refused = [({"reason": reason}, number) for reason, number in counts.callbacks_refused.items()]
    yield counter("callbacks_refused", "Callbacks that were refused for good.", refused)


def _by_code(counts: Mapping[int, int]) -> Samples:
    sums: dict[str, int] = {}
    for status, number in counts.items():
        sums[_code(status)] = sums.get(_code(status), 0) + number
    return [({"code": code}, number) for code, number in sums.items()]


def _nats(nats: Nats, now: float) -> Iterator[Metric]:
    away_s = 0.0 if nats.is_connected else max(0.0, now - nats.changed_at)
    yield gauge("nats_connected", "1 while there is a connection to NATS.", float(nats.is_connected))
    yield gauge("nats_disconnected_seconds", "For how long there is none; 0 while there is one.", away_s)
    yield counter("nats_reconnects", "Connections after the first.", nats.reconnects)
    yield counter("nats_received_messages", "Messages that the server sent.", nats.in_messages)
    yield counter("nats_sent_messages", "Messages that it was sent.", nats.out_messages)
    yield counter("nats_received_bytes", "Bytes that the server sent.", nats.in_bytes)
    yield counter("nats_sent_bytes", "Bytes that it was sent.", nats.out_bytes)


def _functions(functions: FunctionList, now: float) -> Iterator[Metric]:
    yield gauge("functions", "Functions that the gateway lists.", functions.functions)
    yield counter("function_list_failures", "How often the list could not be had.", functions.failures)
    yield gauge("function_annotation_faults", "Annotations that cannot be followed.", functions.annotation_faults)
    if functions.known_at is not None:
        age_s = max(0.0, now - functions.known_at)
        yield gauge("function_list_age_seconds", "How old the list is that calls go by.", age_s)


def _consumers(consumers: Iterable[Consumer]) -> Iterator[Metric]:
    labelled = [({"stream": each.stream, "consumer": each.name}, each) for each in consumers]
    text = "Messages of the stream that no connector has had yet."
    yield gauge("stream_pending_messages", text, [(labels, each.pending) for labels, each in labelled])
    text = "Messages that connectors have and have not acknowledged."
    yield gauge("stream_unacknowledged_messages", text, [(labels, each.unacknowledged) for labels, each in labelled])
    text = "Of these, those that were delivered more than once."
    yield gauge("stream_redelivered_messages", text, [(labels, each.redelivered) for labels, each in labelled])
