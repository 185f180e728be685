"""Our exposition beside the library's."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as library
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.admin.exposition import openmetrics, plain
from tests.nats import profile  # noqa: F401


def families(label: str, value: float) -> list[Metric]:
    """One of each kind."""
    gauge = GaugeMetricFamily("a_gauge", "How much: a \\ in it.", labels=("x", "y"))
    gauge.add_metric((label, "1"), value)
    gauge.add_metric((label + "2", ""), -value)
    counter = CounterMetricFamily("sums", "How often.", value=3)
    histogram = HistogramMetricFamily("waits_seconds", "How long.", labels=("f",))
    histogram.add_metric((label,), [("0.1", 1), ("+Inf", 2)], sum_value=value)
    return [gauge, counter, histogram, GaugeMetricFamily("nothing", "Without a sample.")]


class Given:
    """A registry of what is given."""

    def __init__(self, found: list[Metric]) -> None:
        self.collect = lambda: found


class ExpositionTests(SynchronousTestCase):
    """Both formats."""

    def assertSame(self, found: list[Metric]) -> None:
        registry: Any = Given(found)
        self.assertEqual(
            list(parse_plain(plain(found).decode())), list(parse_plain(generate_latest(registry).decode()))
        )
        self.assertEqual(
            list(parse_openmetrics(openmetrics(found).decode())),
            list(parse_openmetrics(library.generate_latest(registry).decode())),
        )

    @settings(max_examples=30)
    @given(st.text(max_size=10), st.floats(0, 1e15) | st.integers(0, 2**53))
    def test_as_the_library(self, label: str, value: float) -> None:
        """Whatever the text of a label and the value, they say what the library's say."""
        self.assertSame(families(label, value))

    def test_escapes(self) -> None:
        """What would end a label's text, or its line, is escaped."""
        self.assertIn(b'{x="a\\"b\\\\c\\nd",y="1"} 1.0\n', plain(families('a"b\\c\nd', 1)))

    def test_no_text(self) -> None:
        """A label that UTF-8 has nothing for is told as far as that goes: the other figures are told all the same."""
        self.assertIn(b'{x="a?",y="1"} 1.0\n', plain(families("a\ud800", 1)))

    def test_process(self) -> None:
        """The figures of the process are said likewise."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.assertSame([each for each in registry.collect() if "cpu" not in each.name])
