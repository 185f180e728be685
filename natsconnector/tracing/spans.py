"""
Spans: one for each message, and below it one for each attempt to call a function.

What they say follows the semantic conventions of OpenTelemetry for messaging, HTTP and FaaS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from natsconnector.model.call import CALL_ID, FunctionCall
from natsconnector.model.headers import Header
from natsconnector.model.outcome import MALFORMED, OVERLOADED, TIMED_OUT, TOO_LARGE, Outcome
from natsconnector.model.seams import IDelivery, IGateway, ITracer
from natsconnector.model.subjects import SubjectMap
from natsconnector.model.wrapped import WrappedDelivery
from natsconnector.tracing.export import Export

_MOST_CHARACTERS = 200
# As many bytes as a subject that the connector subscribes to may have; a publisher's may be longer.
_MOST_OF_SUBJECT = 1024
# Of `tracestate`; others have to take 512 characters (W3C Trace Context, 3.3.1.5). Old libraries read all.
_MOST_OF_STATE = 8192
_W3C = TraceContextTextMapPropagator()
_CONTEXT = ("traceparent", "tracestate")
# Why there is no response, by the status that stands for that: `error.type` is to have few values.
_NO_RESPONSE = {MALFORMED: "malformed", TOO_LARGE: "response_too_large", OVERLOADED: "given_up", TIMED_OUT: "timeout"}


@implementer(ITracer)
class OpenTelemetry:
    """
    Makes the spans. A span continues the trace that the message's ``traceparent`` names, and is recorded if the flag
    there says so, unless ``OTEL_TRACES_SAMPLER`` says otherwise.

    :param gateway_url: the gateway's base URL, without secrets.
    :param subjects: where messages come, with wildcards: a span is named by these, not by what publishers choose.
    """

    _log = Logger()

    def __init__(self, export: Export, gateway_url: str, subjects: Iterable[str]) -> None:
        self._export = export
        self._gateway_url = gateway_url
        self._subjects: SubjectMap[str] = SubjectMap()
        for subject in subjects:
            self._subjects.add(subject, subject)
        parts = urlsplit(gateway_url)
        self._of_every_call = {
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
            "faas.invoked_provider": "openfaas",
        }
        self._tracer: Any = None
        # The messages that have not ended, by the traceparent that their calls carry.
        self._open: dict[str, TracedDelivery] = {}

    def start(self) -> None:
        self._tracer = self._export.start()

    def stop(self) -> Deferred[None]:
        return self._export.stop()

    def message(self, delivery: IDelivery) -> IDelivery:
        if self._tracer is None:
            return delivery
        try:
            return self._begin_message(delivery)
        except Exception:  # the message has to be called all the same
            self._log.failure("a defect while beginning the span of a message", event="defect")
            return delivery

    def gateway(self, gateway: IGateway) -> IGateway:
        return TracedGateway(gateway, self)

    def call(self, call: FunctionCall, make: Callable[[FunctionCall], Deferred[Outcome]]) -> Deferred[Outcome]:
        """Have a call made with a span of its own, whose context goes along with the call."""
        if self._tracer is None:
            return make(call)
        try:
            message = self._open.get(next((value for name, value in call.headers if name == "traceparent"), ""))
            if message is not None and not message.span.is_recording():
                return make(call)  # its context says already that nothing below it is recorded
            span, traced = self._begin_call(call, message)
        except Exception:
            self._log.failure("a defect while beginning the span of a call", event="defect")
            return make(call)
        return make(traced).addBoth(self._call_ended, span, call, message)

    def _begin_message(self, delivery: IDelivery) -> IDelivery:
        subject = delivery.subject
        pattern = next(iter(self._subjects.match(subject)), None)
        attributes: dict[str, Any] = {
            "messaging.system": "nats",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": subject[:_MOST_OF_SUBJECT],
            "messaging.message.body.size": len(delivery.payload),
            "faas.trigger": "pubsub",
        }
        if pattern is not None and pattern != subject:
            attributes["messaging.destination.template"] = pattern
        others, context = _split(delivery.headers)
        message_id = delivery.identity or next((value for name, value in others if name == "Nats-Msg-Id"), None)
        if message_id is not None:
            attributes["messaging.message.id"] = _cut(message_id)
        name = "process" if pattern is None else f"process {pattern}"
        span = self._tracer.start_span(name, context, SpanKind.CONSUMER, attributes)
        own = _headers_of(span)
        traced = TracedDelivery(delivery, span, (*others, *own.items()), self._message_ended)
        self._open[own["traceparent"]] = traced
        return traced

    def _begin_call(self, call: FunctionCall, message: TracedDelivery | None) -> tuple[Any, FunctionCall]:
        others, context = _split(call.headers)
        function, route = _cut(call.function), "async-function" if call.asynchronous else "function"
        method, path = call.route
        attributes: dict[str, Any] = {
            **self._of_every_call,
            "http.request.method": method,
            # A query may have a secret in it.
            "url.full": f"{self._gateway_url}/{route}/{quote(function)}{_cut(path.partition('?')[0])}",
            "url.template": f"/{route}/{{name}}",
            "faas.invoked_name": function,
            f"http.request.header.{CALL_ID.lower()}": [_cut(call.call_id)],
        }
        if message is not None:
            context = set_span_in_context(message.span)
            if message.attempts[function]:
                attributes["http.request.resend_count"] = message.attempts[function]
            message.attempts[function] += 1
        span = self._tracer.start_span(f"{method} /{route}/{{name}}", context, SpanKind.CLIENT, attributes)
        return span, replace(call, headers=(*others, *_headers_of(span).items()))

    def _call_ended(
        self, result: Outcome | Failure, span: Any, call: FunctionCall, message: TracedDelivery | None
    ) -> Outcome | Failure:
        try:
            reason, fault = "a defect of the connector", "defect"
            if isinstance(result, Outcome):
                reason, fault = result.error(call) or "", _fault_of(result)
                if result.failure is None:
                    span.set_attribute("http.response.status_code", result.status)
            _end(span, reason, fault)
            if message is not None:
                message.fault = fault
        except Exception:
            self._log.failure("a defect while ending a call's span", event="defect")
        return result

    def _message_ended(self, message: TracedDelivery, how: str, reason: str, fault: str) -> None:
        try:
            self._open.pop(dict(message.headers)["traceparent"], None)
            message.span.set_attribute("natsconnector.settled", how)
            if len(message.attempts) == 1:
                message.span.set_attribute("faas.invoked_name", next(iter(message.attempts)))
            _end(message.span, reason, fault)
        except Exception:
            self._log.failure("a defect while ending a message's span", event="defect")


@implementer(IDelivery)
class TracedDelivery(WrappedDelivery):
    """
    A message whose calls carry the context of its span, which ends with it.

    :ivar attempts: how many were made, by function; :ivar fault: what was wrong with the last one, empty for nothing.
    :param ended: told how it ended, why, and that in a word.
    """

    def __init__(
        self,
        delivery: IDelivery,
        span: Any,
        headers: Collection[Header],
        ended: Callable[[TracedDelivery, str, str, str], object],
    ) -> None:
        super().__init__(delivery)
        self._ended = ended
        self.span = span
        self.headers = headers
        self.attempts: Counter[str] = Counter()
        self.fault = ""

    def ack(self) -> None:
        self._delivery.ack()
        self._ended(self, "ack", "", "")

    def nak(self, delay_s: float) -> None:
        self._delivery.nak(delay_s)
        self._ended(self, "nak", "left to a later delivery", self.fault or "unfinished")

    def term(self, reason: str) -> None:
        self._delivery.term(reason)
        self._ended(self, "term", reason, self.fault or "refused")


@implementer(IGateway)
class TracedGateway:
    """A gateway whose calls have spans."""

    def __init__(self, gateway: IGateway, tracer: OpenTelemetry) -> None:
        self._gateway = gateway
        self._tracer = tracer

    def probe(self) -> Deferred[bool]:
        return self._gateway.probe()

    def call(self, call: FunctionCall) -> Deferred[Outcome]:
        return self._tracer.call(call, self._gateway.call)

    def close(self) -> Deferred[None]:
        return self._gateway.close()


def _split(headers: Iterable[Header]) -> tuple[list[Header], Any]:
    """The headers without those of W3C Trace Context, and the context that these name."""
    others: list[Header] = []
    carrier: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower() in _CONTEXT:
            carrier.setdefault(name.lower(), []).append(value)
        else:
            others.append((name, value))
    if sum(map(len, carrier.get("tracestate", ()))) > _MOST_OF_STATE:
        del carrier["tracestate"]
    return others, _W3C.extract(carrier)


def _headers_of(span: Any) -> dict[str, str]:
    """The headers that name the context of a span."""
    headers: dict[str, str] = {}
    _W3C.inject(headers, set_span_in_context(span))
    return headers


def _fault_of(outcome: Outcome) -> str:
    """What was wrong with a call, in a word; empty for nothing."""
    if outcome.failure is None:
        return "" if outcome.ok else str(outcome.status)
    return "unreachable" if outcome.gateway_down else _NO_RESPONSE.get(outcome.status, "no_response")


def _end(span: Any, reason: str, fault: str) -> None:
    if fault:
        span.set_attribute("error.type", fault)
        span.set_status(Status(StatusCode.ERROR, _cut(reason)))
    span.end()


def _cut(text: str) -> str:
    return text[:_MOST_CHARACTERS]
