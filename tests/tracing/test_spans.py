"""Tests of spans, kept in memory."""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from natsconnector.dispatch.dispatcher import Dispatcher
from natsconnector.dispatch.settlement import Settlement
from natsconnector.journal.journal import Journal
from natsconnector.model.call import FunctionCall
from natsconnector.model.headers import forwarded
from natsconnector.model.limits import Limits
from natsconnector.model.outcome import Outcome, failed, unfinished
from natsconnector.model.retries import RetryPolicy
from natsconnector.model.route import Route
from natsconnector.model.seams import IDelivery, IGateway, ITracer
from natsconnector.planning.annotations import Terms
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.planner import Planner
from natsconnector.testing import FakeDelivery, FakeGateway
from tests.tracing import SKIP

if SKIP is None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

    from natsconnector.tracing.export import Export
    from natsconnector.tracing.spans import OpenTelemetry

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=1")]


def trace_of(span: Any) -> str:
    return str(format_trace_id(span.context.trace_id))


def id_of(span: Any) -> str:
    return str(format_span_id(span.context.span_id))


def parent_of(span: Any) -> str | None:
    return None if span.parent is None else str(format_span_id(span.parent.span_id))


class SpanCase(SynchronousTestCase):
    """A tracer over a fake gateway."""

    skip = SKIP

    def setUp(self) -> None:
        self.clock = cast(Any, Clock())
        self.exporter = InMemorySpanExporter()
        export = Export(self.clock, "1.2.3", lambda: SimpleSpanProcessor(self.exporter))
        self.tracer = OpenTelemetry(export, "https://gw.example/base", ["function.call", "orders.*"])
        self.tracer.start()
        self.addCleanup(lambda: export._stopped(None))
        self.fake = FakeGateway()
        self.gateway = self.tracer.gateway(self.fake)

    @property
    def spans(self) -> list[Any]:
        """Those that have ended, in the order of their ends."""
        return list(self.exporter.get_finished_spans())

    def call(self, delivery: IDelivery, outcome: Outcome, function: str = "figlet", **more: Any) -> Any:
        """Have a function called for a message; the span of that."""
        self.fake.outcomes.append(outcome)
        self.successResultOf(
            self.gateway.call(FunctionCall(function, headers=forwarded(delivery.headers), call_id="id-1", **more))
        )
        return self.spans[-1]


class MessageTests(SpanCase):
    """One message."""

    def test_bounds(self) -> None:
        """What a publisher writes makes no large spans, and what is not read of its trace does not go on."""
        long = "orders." + "s" * 60_000
        for state, goes_on in (("k=" + "v" * 9000, False), ("k=" + "v" * 200, True)):
            context = [SAMPLED[0], ("tracestate", state), ("tracestate", "a=b")]
            delivery = FakeDelivery(b"x", long, headers=context, identity="i" * 60_000)
            traced = self.tracer.message(delivery)
            self.assertEqual(any(name == "tracestate" for name, _ in traced.headers), goes_on)
            traced.ack()
            span = self.spans[-1]
            self.assertEqual(trace_of(span), TRACE)
            self.assertLess(max(len(str(value)) for value in span.attributes.values()), 1025)
            self.assertEqual(len(span.context.trace_state), 2 if goes_on else 0)

    def test_interfaces(self) -> None:
        """The tracer and what it makes are what the others take them for."""
        verifyObject(ITracer, self.tracer)
        verifyObject(IGateway, self.gateway)
        verifyObject(IDelivery, self.tracer.message(FakeDelivery()))

    def test_success(self) -> None:
        """The span of the call is below that of the message, which is below its publisher's; a call carries its own."""
        original = FakeDelivery(b"12345", "orders.new", [*SAMPLED, ("A", "b")], identity="S-7", durable=True)
        delivery = self.tracer.message(original)
        self.call(delivery, Outcome(200))
        delivery.ack()
        call, message = self.spans
        self.assertEqual((trace_of(message), parent_of(message)), (TRACE, PARENT))
        self.assertEqual((trace_of(call), parent_of(call)), (TRACE, id_of(message)))
        self.assertEqual((message.parent.is_remote, call.parent.is_remote), (True, False))
        self.assertEqual((message.kind, call.kind), (SpanKind.CONSUMER, SpanKind.CLIENT))
        self.assertEqual(
            self.fake.calls[0].headers,
            (("A", "b"), ("traceparent", f"00-{TRACE}-{id_of(call)}-01"), ("tracestate", "vendor=1")),
        )
        self.assertEqual((message.name, call.name), ("process orders.*", "POST /function/{name}"))
        self.assertEqual(
            dict(message.attributes),
            {
                "messaging.system": "nats",
                "messaging.operation.type": "process",
                "messaging.operation.name": "process",
                "messaging.destination.name": "orders.new",
                "messaging.destination.template": "orders.*",
                "messaging.message.body.size": 5,
                "messaging.message.id": "S-7",
                "faas.trigger": "pubsub",
                "faas.invoked_name": "figlet",
                "natsconnector.settled": "ack",
            },
        )
        self.assertEqual(
            dict(call.attributes),
            {
                "http.request.method": "POST",
                "http.response.status_code": 200,
                "http.request.header.x-call-id": ("id-1",),
                "url.full": "https://gw.example/base/function/figlet",
                "url.template": "/function/{name}",
                "server.address": "gw.example",
                "server.port": 443,
                "faas.invoked_name": "figlet",
                "faas.invoked_provider": "openfaas",
            },
        )
        self.assertEqual({each.status.status_code for each in self.spans}, {StatusCode.UNSET})
        self.assertEqual(original.acknowledged, [("ack", None)])
        self.assertEqual(self.tracer._open, {})

    def test_no_parent(self) -> None:
        """Without a publisher's context, or with one that cannot be read, a trace begins here."""
        for headers in ([], [("traceparent", "00-0-0-01")], [("traceparent", "x" * 1000), ("TraceState", "=")]):
            self.exporter.clear()
            delivery = self.tracer.message(FakeDelivery(headers=headers))
            call = self.call(delivery, Outcome(200))
            delivery.ack()
            self.assertEqual([parent_of(each) for each in self.spans], [id_of(self.spans[1]), None])
            ((name, value),) = self.fake.calls[-1].headers
            self.assertEqual(name, "traceparent")
            # Sampled, and perhaps the flag that the trace's name is random.
            self.assertRegex(value, f"^00-{trace_of(call)}-{id_of(call)}-0[13]$")

    def test_not_sampled(self) -> None:
        """A publisher's trace that is not recorded is not recorded here, and the function is told so."""
        delivery = self.tracer.message(FakeDelivery(headers=[("traceparent", f"00-{TRACE}-{PARENT}-00")]))
        self.fake.outcomes.append(Outcome(200))
        self.gateway.call(FunctionCall("figlet", headers=forwarded(delivery.headers)))
        delivery.ack()
        self.assertEqual(self.spans, [])
        self.assertEqual(self.fake.calls[0].headers, delivery.headers, "there is nothing to name below the message")
        self.assertRegex(dict(self.fake.calls[0].headers)["traceparent"], rf"^00-{TRACE}-[0-9a-f]{{16}}-00$")
        self.assertEqual(self.tracer._open, {})

    def test_name(self) -> None:
        """A span is named by what the connector listens on: publishers cannot make up names of spans."""
        for subject, name in (("function.call", "process function.call"), ("invented.by.publisher", "process")):
            self.tracer.message(FakeDelivery(subject=subject)).ack()
            self.assertEqual(self.spans[-1].name, name)
            self.assertNotIn("messaging.destination.template", self.spans[-1].attributes)

    def test_several_functions(self) -> None:
        """A message for several functions has a span below it for each, and is no call of one of them."""
        delivery = self.tracer.message(FakeDelivery(headers=[("Nats-Msg-Id", "m")]))
        for function in ("a", "b"):
            self.call(delivery, Outcome(200), function)
        delivery.ack()
        a, b, message = self.spans
        self.assertEqual([parent_of(a), parent_of(b)], [id_of(message)] * 2)
        self.assertNotIn("faas.invoked_name", message.attributes)
        self.assertEqual(message.attributes["messaging.message.id"], "m")

    def test_failures(self) -> None:
        """What was wrong with a call is in a word of few, and in the words of the log."""
        for outcome, fault, reason in (
            (Outcome(500), "500", "figlet answered 500"),
            (failed(502, "the gateway is unreachable", gateway_down=True), "unreachable", "the gateway is unreachable"),
            (failed(504, "figlet did not answer"), "timeout", "figlet did not answer"),
            (failed(413, "too long"), "response_too_large", "too long"),
            (failed(502, "x" * 1000), "no_response", "x" * 200),
            (unfinished("gave up"), "given_up", "gave up"),
        ):
            delivery = self.tracer.message(FakeDelivery())
            call = self.call(delivery, outcome)
            self.assertEqual((call.attributes["error.type"], call.status.description), (fault, reason))
            self.assertEqual(call.attributes.get("http.response.status_code"), 500 if fault == "500" else None)
            delivery.term("gone")
            self.assertEqual(self.spans[-1].status.status_code, StatusCode.ERROR)
            self.assertEqual(self.spans[-1].attributes["error.type"], fault)
            self.assertEqual(self.spans[-1].status.description, "gone")

    def test_not_called(self) -> None:
        """A message that is refused, or left to a later delivery, is not well either."""
        self.tracer.message(FakeDelivery()).term("not JSON")
        self.tracer.message(FakeDelivery(durable=True)).nak(1.0)
        self.assertEqual([each.attributes["error.type"] for each in self.spans], ["refused", "unfinished"])
        self.assertEqual([each.attributes["natsconnector.settled"] for each in self.spans], ["term", "nak"])

    def test_asynchronous(self) -> None:
        """A call that the gateway queues has its own route; a name that only a publisher can think of is cut."""
        call = self.call(FakeDelivery(), Outcome(202), "f" * 10_000 + "?", queued=True)
        self.assertEqual(call.name, "POST /async-function/{name}")
        self.assertEqual(call.attributes["url.full"], "https://gw.example/base/async-function/" + "f" * 200)

    def test_route(self) -> None:
        """A route below the function is in the span, but for its query, which may have a secret in it."""
        call = self.call(FakeDelivery(), Outcome(200), route=Route("GET", "/a/b?token=s3cret"))
        self.assertEqual((call.name, call.attributes["http.request.method"]), ("GET /function/{name}", "GET"))
        self.assertEqual(call.attributes["url.full"], "https://gw.example/base/function/figlet/a/b")


class DefectTests(SpanCase):
    """What goes wrong in tracing costs no message."""

    def test_spans_that_cannot_be_made(self) -> None:
        """The message is called as it came."""
        self.patch(self.tracer._tracer, "start_span", lambda *_: 1 / 0)
        delivery = FakeDelivery()
        self.assertIs(self.tracer.message(delivery), delivery)
        self.fake.outcomes.append(Outcome(200))
        call = FunctionCall("figlet")
        self.assertEqual(self.successResultOf(self.gateway.call(call)), Outcome(200))
        self.assertEqual(self.fake.calls, [call])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_spans_that_cannot_be_ended(self) -> None:
        """Call and message end as they would."""
        original = FakeDelivery(durable=True)
        delivery: Any = self.tracer.message(original)
        self.patch(type(delivery.span), "end", lambda *_: 1 / 0)
        self.fake.outcomes.append(Outcome(200))
        self.assertEqual(
            self.successResultOf(self.gateway.call(FunctionCall("figlet", headers=forwarded(delivery.headers)))),
            Outcome(200),
        )
        delivery.ack()
        self.assertEqual(original.acknowledged, [("ack", None)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_call_with_a_defect(self) -> None:
        """A gateway's client that fails ends the span."""

        def broken(call: FunctionCall) -> Deferred[Outcome]:
            return fail(ZeroDivisionError())

        self.patch(self.fake, "call", broken)
        self.failureResultOf(self.gateway.call(FunctionCall("figlet")), ZeroDivisionError)
        self.assertEqual(self.spans[0].attributes["error.type"], "defect")


class DispatchTests(SpanCase):
    """With the real dispatcher."""

    def setUp(self) -> None:
        super().setUp()
        self.journal = Journal(self.clock)
        retries = RetryPolicy(wait_s=1, backoff="exponential", attempts=2, codes=frozenset({503}))
        self.dispatcher = Dispatcher(
            self.gateway,
            self.clock,
            self.journal,
            Planner(Permissions(), terms=Terms(retries)),
            Settlement(self.clock, self.journal),
            limits=Limits(),
            retries=retries,
        )

    def dispatch(self, **more: Any) -> FakeDelivery:
        delivery = FakeDelivery(json.dumps({"function": "figlet"}).encode(), **more)
        self.dispatcher.dispatch(self.tracer.message(delivery))
        return delivery

    def test_attempts(self) -> None:
        """Each attempt has a span, which tells how many came before it; a line about the failure names the trace."""
        with capturedLogs() as events:
            delivery = self.dispatch()
            self.fake.end(Outcome(503))
            self.clock.advance(1)
            self.fake.end(Outcome(503))
        first, second, message = self.spans
        self.assertEqual([parent_of(first), parent_of(second)], [id_of(message)] * 2)
        resent = [each.attributes.get("http.request.resend_count") for each in (first, second)]
        self.assertEqual(resent, [None, 1])
        self.assertEqual(
            (message.attributes["natsconnector.settled"], message.attributes["error.type"]), ("term", "503")
        )
        self.assertEqual([each["trace_id"] for each in events if each["event"] == "call_failed"], [trace_of(message)])
        self.assertEqual(len(delivery.replies), 1)

    def test_cancelled(self) -> None:
        """What is given up at the end of the connector has ended spans."""
        self.dispatch(durable=True)
        self.dispatcher.give_up()
        call, message = self.spans
        self.assertEqual(
            (call.attributes["error.type"], message.attributes["natsconnector.settled"]), ("given_up", "nak")
        )
