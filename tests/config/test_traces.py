"""Tests of when traces are sent."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.config import traces
from natsconnector.config.reading import read
from natsconnector.config.traces import wants_traces

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


class WantsTracesTests(SynchronousTestCase):
    """The usual variables, with the libraries there."""

    def setUp(self) -> None:
        self.patch(traces, "_is_there", lambda library: True)

    def test_wanted(self) -> None:
        """They are sent when there is somewhere to send them."""
        for environment in (
            ENDPOINT,
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector/v1/traces"},
            {**ENDPOINT, "OTEL_TRACES_EXPORTER": " otlp, console", "OTEL_SDK_DISABLED": "false"},
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        ):
            self.assertEqual(wants_traces(environment), (True, None), environment)

    def test_not_wanted(self) -> None:
        """They are not without an endpoint, nor when the variables say so; there is nothing to warn of."""
        for environment in (
            {},
            {"OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_ENDPOINT": " "},
            {**ENDPOINT, "OTEL_SDK_DISABLED": "True"},
            {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
        ):
            self.assertEqual(wants_traces(environment), (False, None), environment)

    def test_not_possible(self) -> None:
        """What we cannot do is told by the variable's name."""
        for more, name in (
            ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"),
            ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
            ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
        ):
            wanted, why_not = wants_traces({**ENDPOINT, **more})
            self.assertFalse(wanted)
            self.assertIn(name, why_not or "")

    def test_without_the_extra(self) -> None:
        """Without the libraries the connector works, and says what is to be installed."""
        self.patch(traces, "_is_there", lambda library: library != traces._LIBRARIES[1])
        wanted, why_not = wants_traces(ENDPOINT)
        self.assertFalse(wanted)
        self.assertIn("natsconnector[otel]", why_not or "")

    def test_settings(self) -> None:
        """The connector's settings have the decision, and its warnings the reason; commands beside it send nothing."""
        self.assertTrue(read({}, ENDPOINT).sends_traces)
        self.assertFalse(read({}, {}).sends_traces)
        self.assertFalse(read({}, ENDPOINT, is_whole=False).sends_traces)
        settings = read({}, {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
        self.assertFalse(settings.sends_traces)
        self.assertIn("OTEL_EXPORTER_OTLP_PROTOCOL", settings.warnings[-1])


class IsThereTests(SynchronousTestCase):
    """Whether a library is installed."""

    def test_looked_for(self) -> None:
        """It is not loaded for that."""
        self.assertTrue(traces._is_there("twisted.web"))
        for absent in ("twisted.nosuch", "nosuch.at.all"):
            self.assertFalse(traces._is_there(absent))
