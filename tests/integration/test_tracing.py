"""Traces of a connector that runs against a real nats-server, sent to a collector of a few lines."""

from __future__ import annotations

import json
import zlib
from typing import Any

from twisted.internet.interfaces import IListeningPort
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tests.integration.ports import free_port
from tests.integration.support import ConnectorCase, Waits, envelope, reactor
from tests.tracing import SKIP

if SKIP is None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(Resource):
    """
    Takes spans by OTLP over HTTP.

    :ivar spans: those that came, with the attributes as a dictionary; :ivar resources: likewise, of each request.
    :ivar is_stuck: it takes requests, and does not answer.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[tuple[Any, dict[str, Any]]] = []
        self.resources: list[dict[str, Any]] = []
        self.paths: set[bytes] = set()
        self.is_stuck = False
        self.waits = Waits()
        self._site = Site(self)
        self._site.noisy = False

    def listen(self, port: int) -> IListeningPort:
        listening: IListeningPort = reactor.listenTCP(port, self._site, interface="127.0.0.1")
        return listening

    def render_POST(self, request: Request) -> Any:
        if self.is_stuck:
            request.notifyFinish().addErrback(lambda _: None)
            return NOT_DONE_YET
        assert request.content is not None
        body = request.content.read()
        if request.getHeader(b"Content-Encoding") == b"gzip":
            body = zlib.decompress(body, 16 + zlib.MAX_WBITS)
        self.paths.add(request.path)
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(_attributes(of_resource.resource.attributes))
            for scope in of_resource.scope_spans:
                self.spans += [(span, _attributes(span.attributes)) for span in scope.spans]
        self.waits.changed()
        request.setHeader(b"Content-Type", b"application/x-protobuf")
        return b""


def _attributes(found: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in found}


class TracingTests(ConnectorCase):
    """A connector with the usual variables."""

    skip = SKIP

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        port = await free_port()
        self.collector = Collector()
        listening = self.collector.listen(port)
        self.addCleanup(listening.stopListening)
        self.environment = {
            "NATSCONNECTOR_NATS": self.server.url,
            "NATSCONNECTOR_GATEWAY": self.gateway.url,
            "NATSCONNECTOR_LOG_FORMAT": "json",
            "NATSCONNECTOR_RETRY_WAIT": "1ms",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_SERVICE_NAME": "calls",
            "NO_PROXY": "127.0.0.1",
        }

    async def test_spans(self) -> None:
        """
        A trace goes from publisher to function, each attempt a span of its own; the log names it. A collector that is
        stuck costs no message, and holds up the end for a moment only.
        """
        statuses = iter((503, 500))
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, next(statuses, 200))
        connector = await self.connector(**self.environment)
        headers = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=1")]
        await self.request(envelope("x"), headers=headers)
        await self.collector.waits.when(lambda: len(self.collector.spans) == 3)
        spans = sorted(self.collector.spans, key=lambda each: int(each[0].start_time_unix_nano))
        (message, of_message), (first, of_first), (second, of_second) = spans
        self.assertEqual({span.trace_id.hex() for span, _ in spans}, {TRACE})
        self.assertEqual(
            [span.parent_span_id.hex() for span, _ in spans], [PARENT, message.span_id.hex(), message.span_id.hex()]
        )
        for span, recorded in zip((first, second), self.gateway.requests, strict=True):
            self.assertEqual(recorded.headers["traceparent"], f"00-{TRACE}-{span.span_id.hex()}-01")
            self.assertEqual(recorded.headers["tracestate"], "vendor=1")
        self.assertEqual(message.name, "process function.call")
        self.assertEqual((of_message["messaging.system"], of_message["error.type"]), ("nats", "500"))
        self.assertEqual([each["http.response.status_code"] for each in (of_first, of_second)], [503, 500])
        self.assertEqual(of_first["url.full"], f"{self.gateway.url}/function/figlet")
        self.assertEqual({each["service.name"] for each in self.collector.resources}, {"calls"})
        self.assertEqual(self.collector.paths, {b"/v1/traces"})

        self.collector.is_stuck = True
        await self.request(envelope("y"))
        await connector.stop()
        self.assertTrue(connector.ended_cleanly)
        lines = [json.loads(line) for line in connector.lines if line]
        events = {line["event"]: line for line in lines}
        self.assertEqual(events["call_failed"]["trace_id"], TRACE)
        self.assertIn("traces_on", events)
        self.assertEqual(events["traces_not_sent"]["logger"], "traces")
        self.assertEqual([line for line in lines if None in line.values()], [])
