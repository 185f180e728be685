"""Tests of starting and stopping."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from natsconnector.connector import Connector
from natsconnector.dispatch.dispatcher import Dispatcher
from natsconnector.dispatch.settlement import Settlement
from natsconnector.journal.journal import Journal
from natsconnector.model.limits import Limits
from natsconnector.model.outcome import Outcome
from natsconnector.model.retries import RetryPolicy
from natsconnector.model.seams import ICallbacks
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.planner import Planner
from natsconnector.testing import FakeDelivery, FakeGateway, FakeSource, FakeTracer

CALL = b'{"function": "f"}'


class FakeClient:
    """Writes down what it is asked to do."""

    server = "nats.example:4222"

    def __init__(self, order: list[str]) -> None:
        self.order = order
        self.ready = True

    def start(self) -> None:
        self.order.append("start")

    def flush(self, timeout_s: float = 10.0) -> Deferred[None]:
        self.order.append("flush")
        return succeed(None)

    def close(self) -> Deferred[None]:
        self.order.append("close nats")
        return succeed(None)


@implementer(ICallbacks)
class FakeCallbacks:
    """Notes when it starts and stops."""

    def __init__(self, order: list[str]) -> None:
        self.order = order

    def open(self) -> None:
        """Nothing to listen on."""

    def start(self) -> None:
        self.order.append("callbacks")

    def stop(self) -> Deferred[None]:
        self.order.append("no callbacks")
        return succeed(None)


class ConnectorTests(SynchronousTestCase):
    """The service over fakes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.order: list[str] = []
        self.client = FakeClient(self.order)
        self.source = FakeSource()
        self.gateway = FakeGateway()
        self.tracer = FakeTracer()
        journal = Journal(self.clock)
        self.patch(self.source, "stop", self.noted("stop taking", self.source.stop))
        self.patch(self.gateway, "close", self.noted("close gateway", self.gateway.close))
        self.dispatcher = Dispatcher(
            self.gateway,
            self.clock,
            journal,
            Planner(Permissions()),
            Settlement(self.clock, journal),
            limits=Limits(),
            retries=RetryPolicy(),
        )
        self.connector = Connector(
            self.clock,
            self.client,  # type: ignore[arg-type]
            [self.source],
            self.dispatcher,
            self.gateway,
            journal,
            gateway_name="http://gw",
            callbacks=FakeCallbacks(self.order),
            warnings=["beware"],
            tracer=self.tracer,
            shutdown_timeout_s=10,
        )

    def noted(self, what: str, original: Any) -> Any:
        def call() -> Any:
            self.order.append(what)
            return original()

        return call

    def ready_lines(self, logs: Any) -> int:
        return sum(event["log_format"].startswith("natsconnector ready") for event in logs)

    def test_ready(self) -> None:
        """It says that it is ready when its source is, not before; and what to beware of."""
        self.source.not_ready = "not bound"
        with capturedLogs() as logs:
            self.connector.startService()
            self.assertEqual((self.ready_lines(logs), self.connector.not_ready), (0, ["not bound"]))
            self.source.become(None)
            self.assertEqual((self.ready_lines(logs), self.connector.not_ready), (1, []))
            self.source.become("away")
            self.clock.advance(0.5)
            self.source.become(None)
            self.assertEqual(self.ready_lines(logs), 1, "a moment")
            self.source.become("refused")
            self.clock.advance(5)
            self.source.become("refused still")
            self.source.become(None)
            self.assertEqual(self.ready_lines(logs), 2)
        self.assertIn("beware", [event.get("text") for event in logs if event["log_level"] is LogLevel.warn])

    def test_traces(self) -> None:
        """The tracer sees every message before it is taken, and is emptied when all calls have ended."""
        self.connector.startService()
        self.assertTrue(self.tracer.is_running and self.source.deliver)
        delivery = FakeDelivery(CALL)
        assert self.source.deliver is not None
        self.source.deliver(delivery)
        self.assertEqual((self.tracer.messages, len(self.gateway.calls)), ([delivery], 1))
        stopped = self.connector.stopService()
        self.assertTrue(self.tracer.is_running)
        self.gateway.end(Outcome(200))
        self.successResultOf(stopped)
        self.assertTrue(self.gateway.closed)
        self.assertFalse(self.tracer.is_running)

    def test_without_a_list_of_functions(self) -> None:
        """It says once that annotations cannot be read, and works without them."""
        with capturedLogs() as logs:
            self.connector.startService()
        self.assertEqual(sum("--gateway-credentials" in event["log_format"] for event in logs), 1)
        self.assertIsNotNone(self.source.deliver)

    def test_stop_in_order(self) -> None:
        """Take no more, work off, flush, close NATS, close the gateway; it ends when all of that is done."""
        self.connector.startService()
        delivery = FakeDelivery(CALL)
        assert self.source.deliver is not None
        self.source.deliver(delivery)
        stopped = self.connector.stopService()
        self.assertNoResult(stopped)
        self.assertEqual(self.order, ["start", "callbacks", "stop taking"])
        self.gateway.end(Outcome(200))
        self.successResultOf(stopped)
        self.assertEqual(len(delivery.replies), 1)
        self.assertEqual(
            self.order,
            ["start", "callbacks", "stop taking", "no callbacks", "flush", "close nats", "close gateway"],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_is_bounded(self) -> None:
        """A call that hangs, or a source that does, ends with the shutdown time."""
        for hangs in ("call", "source"):
            self.setUp()
            self.connector.startService()
            assert self.source.deliver is not None
            delivery = FakeDelivery(CALL)
            if hangs == "call":
                self.source.deliver(delivery)
            else:
                self.patch(self.source, "stop", Deferred)
            stopped = self.connector.stopService()
            self.clock.advance(9.9)
            self.assertNoResult(stopped)
            self.clock.advance(0.1)
            self.successResultOf(stopped)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            if hangs == "call":
                self.assertEqual(delivery.replies[0].status, 503)

    def test_stop_without_nats(self) -> None:
        """Stopped before it was ever connected, it has nothing to flush and leaves nothing behind."""
        self.client.ready = False
        self.connector.startService()
        self.successResultOf(self.connector.stopService())
        self.assertEqual(
            self.order, ["start", "callbacks", "stop taking", "no callbacks", "close nats", "close gateway"]
        )
