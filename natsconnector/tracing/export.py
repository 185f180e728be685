"""Sending spans by OTLP over HTTP, as the usual ``OTEL_*`` variables say."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from natsconnector.journal.telling import Telling
from natsconnector.reactors import Reactor

_FLUSH_S = 2.0
_MOST_CHARACTERS = 300
# The others complain of headers that publishers wrote.
_TELL = [logging.getLogger(name) for name in ("opentelemetry.sdk", "opentelemetry.exporter")]
_LIBRARY = logging.getLogger("opentelemetry")
# Without a handler Python writes to standard error.
_LIBRARY.addHandler(logging.NullHandler())


def otlp_processor() -> Any:
    """Sends spans in batches, from a thread of its own; keeps a bounded number of them."""
    return BatchSpanProcessor(OTLPSpanExporter())


class Export(Telling):
    """
    The libraries' side of tracing: made when the service starts, and emptied when it stops.

    :param reactor: has the time, and ``callFromThread``.
    :param make_processor: makes what takes the spans that have ended.
    """

    _log = Logger()

    def __init__(self, reactor: Reactor, version: str, make_processor: Callable[[], Any] = otlp_processor) -> None:
        super().__init__(reactor)
        self._reactor = reactor
        self._version = version
        self._make_processor = make_processor
        self._provider: Any = None
        self._handler = _Handler(lambda reason: reactor.callFromThread(self._not_sent, reason))

    def start(self) -> Any:
        """
        Begin; returns what makes spans, None when the variables cannot be used.

        Not before the service starts: twistd makes another process of itself, which has no threads.
        """
        try:
            processor = self._make_processor()
            provider = TracerProvider(resource=_resource(self._version), shutdown_on_exit=False)
        except Exception as e:  # whatever the variables say, messages have to be called
            self._tell(LogLevel.error, "traces_off", "no spans are sent: {reason}", reason=str(e) or repr(e))
            return None
        provider.add_span_processor(processor)
        for logger in _TELL:
            logger.addHandler(self._handler)
        _LIBRARY.propagate = False
        self._provider = provider
        self._tell(LogLevel.info, "traces_on", "spans of messages and calls are sent by OTLP")
        return provider.get_tracer("natsconnector", self._version)

    def stop(self) -> Deferred[None]:
        """Send what is left. Fires when that is done, or takes too long."""
        provider, self._provider = self._provider, None
        if provider is None:
            return succeed(None)
        sent: Deferred[None] = Deferred()

        def send() -> None:
            try:
                provider.shutdown()
            finally:
                self._reactor.callFromThread(lambda: None if sent.called else sent.callback(None))

        # A daemon: a collector that does not answer must not keep the process.
        threading.Thread(target=send, name="traces", daemon=True).start()
        sent.addTimeout(_FLUSH_S, self._reactor)
        sent.addErrback(self._too_slow)
        return sent.addCallback(self._stopped)

    def _not_sent(self, reason: str) -> None:
        self._repeated(LogLevel.warn, "traces_not_sent", "traces", "spans are not sent: {reason}", reason=reason)

    def _too_slow(self, failure: Failure) -> None:
        failure.trap(TimeoutError)
        self._not_sent(f"the last ones were not taken within {_FLUSH_S:g} s")

    def _stopped(self, _: object) -> None:
        for logger in _TELL:
            logger.removeHandler(self._handler)
        self._repetitions.finish()


class _Handler(logging.Handler):
    """Takes what the libraries log, from whichever thread. Queries of URLs are left out: keys may stand in them."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage()[: 10 * _MOST_CHARACTERS].split()
        self._tell(" ".join(word.partition("?")[0] for word in words)[:_MOST_CHARACTERS])


def _resource(version: str) -> Resource:
    """What the variables say of this process; the name of the service has a default of our own."""
    found = Resource.create({"service.version": version})
    if str(found.attributes.get("service.name")).startswith("unknown_service"):
        found = found.merge(Resource({"service.name": "natsconnector"}))
    return found
