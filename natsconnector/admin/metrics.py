"""The figures, as Prometheus and OpenMetrics have them. They are put together when somebody asks, and nowhere kept."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

import twisted
from natsconnector.admin import exposition
from natsconnector.admin.facts import Consumer, Facts, FunctionList, Nats, Work
from natsconnector.admin.families import FAMILIES, PREFIX, Family, Kind
from natsconnector.admin.resources import Page
from natsconnector.journal.calls import Calls, Histogram
from natsconnector.journal.counts import LOST, OTHER, Counts
from natsconnector.journal.journal import Journal
from natsconnector.model.limits import Limits

_CODES = range(100, 600)
# Those of refusals are there from the start, so that Prometheus sees the first one as an increase.
_CALLBACKS_REFUSED = ("unknown", "expired", "used", "subject", "malformed", "too_large")
_WAYS = ("envelope", "function", "topic")
_REFUSALS = (400, 403, 404, 503, 508)
_FAMILIES = {family.name: family for families in FAMILIES.values() for family in families}
_CLASSES = {Kind.GAUGE: GaugeMetricFamily, Kind.COUNTER: CounterMetricFamily, Kind.HISTOGRAM: HistogramMetricFamily}


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
            return Page(exposition.openmetrics(self._registry.collect()), exposition.OPENMETRICS_TYPE)
        return Page(exposition.plain(self._registry.collect()), exposition.PLAIN_TYPE)

    def collect(self) -> Iterator[Metric]:
        """All families."""
        facts = self._look()
        yield told("build_info", [(self._build, 1)])
        yield told("ready", float(facts.is_ready))
        yield told("reactor_delay_seconds", self._delay_s())
        yield from _calls(self._journal.calls, facts.work)
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
        yield told("gateway_up", float(facts.gateway_up))
        yield told("gateway_away_seconds", 0.0 if facts.gateway_up else max(0.0, facts.now - facts.gateway_changed_at))
        answered_at = self._journal.calls.last_answer_at
        if answered_at is not None:
            yield told("gateway_last_answer_age_seconds", max(0.0, facts.now - answered_at))
        yield told("gateway_outages", self._journal.counts.gateway_outages)


Samples = Iterable[tuple[Mapping[str, str], float]]


def told(name: str, value: float | Samples) -> Metric:
    """
    A figure of the table, with its samples; without labels a single number.

    :raises KeyError: the table has none of this name.
    """
    family, metric = _family(name)
    suffix = "_total" if family.kind is Kind.COUNTER else ""
    for labels, each in [({}, value)] if isinstance(value, (int, float)) else value:
        metric.add_sample(metric.name + suffix, dict(labels), each)
    return metric


def _family(name: str) -> tuple[Family, Metric]:
    family = _FAMILIES[name]
    return family, _CLASSES[family.kind](PREFIX + name, family.text)


def _histogram(name: str, found: Iterable[tuple[Mapping[str, str], Histogram]]) -> Metric:
    _, metric = _family(name)
    for labels, histogram in found:
        total = 0
        for bound, total in histogram.cumulative():
            le = "+Inf" if bound == float("inf") else repr(bound)
            metric.add_sample(f"{metric.name}_bucket", {**labels, "le": le}, total)
        metric.add_sample(f"{metric.name}_count", dict(labels), total)
        metric.add_sample(f"{metric.name}_sum", dict(labels), histogram.sum)
    return metric


def _code(status: int) -> str:
    """A status as a label: whoever answers may invent numbers, which share one."""
    return str(status) if status in _CODES else OTHER


def _results(counts: Counts) -> Iterator[Metric]:
    yield told("results_published", counts.results)
    yield told("results_failed", counts.results_failed)
    refused = {**dict.fromkeys(_CALLBACKS_REFUSED, 0), **counts.callbacks_refused}
    yield told("callbacks_refused", [({"reason": reason}, number) for reason, number in refused.items()])


def _by_code(counts: Mapping[int, int], labels: Mapping[str, str] | None = None) -> list[tuple[Mapping[str, str], int]]:
    sums: dict[str, int] = {}
    for status, number in counts.items():
        sums[_code(status)] = sums.get(_code(status), 0) + number
    return [({**(labels or {}), "code": code}, number) for code, number in sums.items()]


def _calls(calls: Calls, work: Work) -> Iterator[Metric]:
    places = [({"function": function}, place) for function, place in calls.by_function()]
    detailed = [(labels, place) for labels, place in places if calls.has_details(place)]
    yield told("calls", [each for labels, place in places for each in _by_code(place.codes, labels)])
    reasons = calls.without_response.items()
    yield told("calls_without_response", [({"reason": reason}, number) for reason, number in reasons])
    yield _histogram("call_duration_seconds", [(labels, place.durations) for labels, place in detailed])
    yield _histogram("queue_wait_seconds", [({}, calls.waits)])
    yield told("function_retries", [each for labels, place in detailed for each in _by_code(place.retries, labels)])
    letters = [each for labels, place in detailed for each in _by_code(place.dead_letters, labels)]
    yield told("function_dead_letters", letters)
    running = work.inflight_by_function
    named = {name: running.get(name, 0) for labels, _ in detailed if (name := labels["function"]) != OTHER}
    inflight = [*named.items(), (OTHER, work.inflight - sum(named.values()))]
    yield told("function_calls_inflight", [({"function": name}, number) for name, number in inflight])
    limits = [({"function": name}, work.inflight_limits[name]) for name in named if name in work.inflight_limits]
    yield told("function_calls_inflight_limit", limits)


def _work(work: Work, limits: Limits) -> Iterator[Metric]:
    yield told("calls_inflight", work.inflight)
    yield told("calls_inflight_limit", limits.inflight)
    yield told("backlog_messages", work.pending)
    yield told("backlog_messages_limit", limits.pending_messages)
    yield told("backlog_bytes", work.pending_bytes)
    yield told("backlog_bytes_limit", limits.pending_bytes)
    yield told("backlog_oldest_age_seconds", work.oldest_s)


def _messages(journal: Journal) -> Iterator[Metric]:
    counts, waiting = journal.counts, journal.awaiting_another_attempt()
    ways = {**dict.fromkeys(_WAYS, 0), **counts.by_way}
    yield told("messages_received", [({"kind": way}, number) for way, number in ways.items()])
    yield told("messages_redelivered", counts.redelivered)
    yield told("messages_succeeded", counts.succeeded)
    yield told("messages_failed", _by_code(counts.failed - counts.refused))
    yield told("messages_refused", _by_code({**dict.fromkeys(_REFUSALS, 0), **counts.refused}))
    yield told("messages_shed", counts.shed)
    yield told("messages_given_up", counts.given_up)
    yield told("retries", counts.retries)
    yield told("messages_awaiting_retry", waiting.messages)
    yield told("messages_awaiting_retry_oldest_age_seconds", waiting.oldest_s)
    yield told("messages_awaiting_retry_highest_attempt", waiting.highest_attempt)
    yield told("dead_letters_stored", counts.dead_letters)
    yield told("dead_letters_failed", counts.dead_letters_failed)
    yield told("answers_not_sent", [({"reason": reason}, counts.replies_lost[reason]) for reason in LOST])


def _nats(nats: Nats, now: float) -> Iterator[Metric]:
    yield told("nats_connected", float(nats.is_connected))
    yield told("nats_disconnected_seconds", 0.0 if nats.is_connected else max(0.0, now - nats.changed_at))
    yield told("nats_reconnects", nats.reconnects)
    yield told("nats_received_messages", nats.in_messages)
    yield told("nats_sent_messages", nats.out_messages)
    yield told("nats_received_bytes", nats.in_bytes)
    yield told("nats_sent_bytes", nats.out_bytes)


def _functions(functions: FunctionList, now: float) -> Iterator[Metric]:
    yield told("functions", functions.functions)
    yield told("function_list_failures", functions.failures)
    yield told("function_annotation_faults", functions.annotation_faults)
    yield told("topics_without_function", functions.unwanted_topics)
    if functions.known_at is not None:
        yield told("function_list_age_seconds", max(0.0, now - functions.known_at))


def _consumers(consumers: Iterable[Consumer]) -> Iterator[Metric]:
    labelled = [({"stream": each.stream, "consumer": each.name}, each) for each in consumers]
    yield told("stream_pending_messages", [(labels, each.pending) for labels, each in labelled])
    yield told("stream_unacknowledged_messages", [(labels, each.unacknowledged) for labels, each in labelled])
    yield told("stream_redelivered_messages", [(labels, each.redelivered) for labels, each in labelled])
    yield told("stream_oldest_unacknowledged_age_seconds", [(labels, each.oldest_s) for labels, each in labelled])
