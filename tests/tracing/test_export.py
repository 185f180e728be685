"""Tests of how spans are sent, and of what comes of it when they cannot be."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any, cast
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from tests.tracing import SKIP

if SKIP is None:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from natsconnector.tracing.export import Export


class ThreadClock(Clock):
    """A clock that other threads can come back to."""

    def callFromThread(self, *args: Any) -> None:
        reactor.callFromThread(*args)  # type: ignore[attr-defined]


class Stuck:
    """Takes spans, and does not end before it may."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def on_start(self, span: Any, parent_context: Any = None) -> None: ...

    def on_end(self, span: Any) -> None: ...

    def shutdown(self) -> None:
        self.may_end.wait()


class ExportTests(TestCase):
    """With threads, as it is."""

    skip = SKIP

    def setUp(self) -> None:
        self.clock = cast(Any, ThreadClock())

    async def test_flush(self) -> None:
        """What has not been sent yet is sent at the end."""
        exporter = InMemorySpanExporter()
        export = Export(self.clock, "1.2.3", lambda: BatchSpanProcessor(exporter, schedule_delay_millis=10_000_000))
        export.start().start_span("last").end()
        self.assertEqual(exporter.get_finished_spans(), ())
        await export.stop()
        (span,) = exporter.get_finished_spans()
        resource = span.resource.attributes
        self.assertEqual((resource["service.name"], resource["service.version"]), ("natsconnector", "1.2.3"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_named_by_the_environment(self) -> None:
        """The usual variables count before our own names."""
        variables = patch.dict(os.environ, OTEL_SERVICE_NAME="theirs", OTEL_RESOURCE_ATTRIBUTES="a=b")
        variables.start()
        self.addCleanup(variables.stop)
        exporter = InMemorySpanExporter()
        export = Export(self.clock, "1.2.3", lambda: BatchSpanProcessor(exporter))
        export.start().start_span("x").end()
        await export.stop()
        resource = exporter.get_finished_spans()[0].resource.attributes
        self.assertEqual((resource["service.name"], resource["a"]), ("theirs", "b"))

    async def test_stuck(self) -> None:
        """A collector that takes nothing holds up neither the reactor nor, for longer than a moment, the end."""
        processor = Stuck()
        self.addCleanup(processor.may_end.set)
        export = Export(self.clock, "1.2.3", lambda: processor)
        export.start()
        with capturedLogs() as events:
            stopped = export.stop()
            self.assertNoResult(stopped)
            self.clock.advance(2)
            self.successResultOf(stopped)
        self.assertEqual([event["event"] for event in events], ["traces_not_sent"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_not_sent(self) -> None:
        """What the libraries complain of, in whichever thread, is told once and counted, without a URL's query."""
        export = Export(self.clock, "1.2.3", Stuck)
        library = logging.getLogger("opentelemetry.exporter.example")
        library.setLevel(logging.INFO)
        with capturedLogs() as events:
            export.start()
            for _ in range(3):
                thread = threading.Thread(
                    target=library.warning, args=("cannot reach %s", "http://c/v1?key=secret now")
                )
                thread.start()
                thread.join()
            library.info("nothing")
            logging.getLogger("opentelemetry.trace.propagation").warning("traceparent of a publisher")
            there: Deferred[None] = Deferred()
            reactor.callFromThread(there.callback, None)  # type: ignore[attr-defined]
            await there
            self.clock.advance(10)
        told = [event for event in events if event["event"].startswith("traces_not_sent")]
        self.assertEqual(
            [(formatEvent(event), event.get("count")) for event in told],
            [
                ("spans are not sent: cannot reach http://c/v1 now", None),
                ("2 more times within 10 s: spans are not sent: cannot reach http://c/v1 now", 2),
            ],
        )
        export._stopped(None)
        self.assertNotIn(export._handler, logging.getLogger("opentelemetry.exporter").handlers)

    async def test_bad_variables(self) -> None:
        """Libraries that refuse what stands in the variables leave the connector without traces, and say why."""

        def refused() -> Any:
            raise ValueError("OTEL_BSP_MAX_QUEUE_SIZE must be positive")

        export = Export(self.clock, "1.2.3", refused)
        with capturedLogs() as events:
            self.assertIsNone(export.start())
        self.assertEqual(
            [(event["event"], event["reason"]) for event in events], [("traces_off", str(events[0]["reason"]))]
        )
        self.assertIn("must be positive", str(events[0]["reason"]))
        await export.stop()
