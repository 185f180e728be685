"""What the parts of a connector tell about themselves."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.assembly.insight import Insight
from natsconnector.connector import Connector
from natsconnector.dispatch.dispatcher import Dispatcher
from natsconnector.dispatch.settlement import Settlement
from natsconnector.journal.journal import Journal
from natsconnector.model.function import DeployedFunction
from natsconnector.model.limits import Limits
from natsconnector.model.outcome import Outcome, failed
from natsconnector.model.retries import RetryPolicy
from natsconnector.nats import Status
from natsconnector.nats.status import Statistics
from natsconnector.planning.catalogue import Catalogue
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.planner import Planner
from natsconnector.testing import FakeDelivery, FakeGateway, FakeSource

CALL = b'{"function": "f"}'


class FakeClient:
    """A client whose connection a test makes and breaks."""

    def __init__(self) -> None:
        self.server: str | None = None
        self.status = Status.DISCONNECTED
        self.last_error: Exception | None = None
        self.statistics = Statistics(1, 2, 3, 4, 5)
        self._changed: Any = None

    @property
    def ready(self) -> bool:
        return self.status is Status.CONNECTED

    def start(self) -> None:
        pass

    def watch_status(self, callback: Any) -> None:
        self._changed = callback

    def become(self, status: Status, error: str = "") -> None:
        self.status, self.last_error = status, Exception(error)
        self.server = "nats:4222" if self.ready else None
        self._changed(status, status, error)

    def flush(self, timeout_s: float) -> Deferred[None]:
        return succeed(None)

    def close(self) -> Deferred[None]:
        self.become(Status.CLOSED)
        return succeed(None)


class InsightTests(SynchronousTestCase):
    """Over fakes of NATS and the gateway."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.client, self.source, self.gateway = FakeClient(), FakeSource(), FakeGateway()
        self.listed: list[Deferred[list[DeployedFunction]]] = []
        journal = Journal(self.clock)
        dispatcher = Dispatcher(
            self.gateway,
            self.clock,
            journal,
            Planner(Permissions()),
            Settlement(self.clock, journal),
            limits=Limits(inflight=1),
            retries=RetryPolicy(),
            random=lambda: 1.0,
        )
        self.connector = Connector(
            self.clock,
            self.client,  # type: ignore[arg-type]
            [self.source],
            dispatcher,
            self.gateway,
            journal,
            gateway_name="http://gw",
            catalogue=Catalogue(self.clock, self.list_functions),
            shutdown_timeout_s=10,
        )
        self.insight = Insight(self.clock, self.connector)
        self.connector.startService()

    def list_functions(self) -> Deferred[list[DeployedFunction]]:
        self.listed.append(Deferred())
        return self.listed[-1]

    def parts(self) -> dict[str, Any]:
        """Of each part by name why it is not ready, None if it is, and for how long."""
        report = self.insight.health.report()
        return {part["name"]: (part.get("reason"), part["for_s"]) for part in report["parts"]}

    def test_nats(self) -> None:
        """It is not ready without a connection, whatever its sources say, and tells since when, and why."""
        self.clock.advance(3)
        self.assertEqual(self.parts()["NATS"], ("not connected yet", 3.0))
        self.assertFalse(self.insight.health.is_ready)
        self.assertFalse(self.insight.facts().is_ready)
        self.client.become(Status.CONNECTED)
        self.clock.advance(4)
        self.assertEqual(self.parts()["NATS nats:4222"], (None, 4.0))
        self.assertTrue(self.insight.health.is_ready)
        self.assertTrue(self.insight.facts().is_ready)
        self.client.become(Status.DISCONNECTED, "connection refused")
        self.clock.advance(5)
        self.assertEqual(self.parts()["NATS"], ("connection refused", 5.0))
        nats = self.insight.facts().nats
        self.assertEqual((nats.is_connected, nats.changed_at), (False, 1007.0))
        self.assertEqual((nats.in_messages, nats.in_bytes, nats.out_messages, nats.out_bytes), (1, 2, 3, 4))
        self.assertEqual(nats.reconnects, 5)

    def test_source(self) -> None:
        """A source's state is noted when it changes, not when somebody asks."""
        self.client.become(Status.CONNECTED)
        self.source.become("refused")
        self.clock.advance(6)
        self.assertEqual(self.parts()["a fake source"], ("refused", 6.0))
        self.source.become("refused again")
        self.assertEqual(self.parts()["a fake source"], ("refused again", 6.0))
        self.assertFalse(self.insight.health.is_ready)

    def test_gateway(self) -> None:
        """That the gateway is away is told, since the last sign of it, and changes nothing else."""
        self.client.become(Status.CONNECTED)
        self.gateway.answers_probes = False
        self.clock.advance(2)
        assert self.source.deliver is not None
        self.source.deliver(FakeDelivery(CALL))
        self.gateway.end(failed(502, "refused", not_executed=True, gateway_down=True))
        self.clock.advance(1)
        reason, for_s = self.parts()["gateway http://gw"]
        self.assertEqual((reason, for_s), ("refused", 1.0))
        self.assertTrue(self.insight.health.is_ready)
        facts = self.insight.facts()
        self.assertEqual((facts.gateway_up, facts.gateway_changed_at), (False, 1002.0))

    def test_work(self) -> None:
        """What is in flight, and what waits."""
        assert self.source.deliver is not None
        for _ in range(3):
            self.source.deliver(FakeDelivery(CALL))
        self.clock.advance(2)
        work = self.insight.facts().work
        self.assertEqual(dict(work.inflight_by_function), {"f": 1})
        self.assertEqual((work.inflight, work.pending, work.pending_bytes, work.oldest_s), (1, 2, 2 * len(CALL), 2.0))
        self.assertEqual((work.inflight_by_function, work.inflight_limits), ({"f": 1}, {}))

    def test_limits(self) -> None:
        """Those that find themselves."""
        self.connector.dispatcher._limits.ended("f", Outcome(429), 0.0, 0.0, 4)
        self.assertEqual(self.insight.facts().work.inflight_limits, {"f": 1})

    def test_functions(self) -> None:
        """The list of functions, when it was had, and how often not."""
        functions = self.insight.facts().functions
        assert functions is not None
        self.assertEqual((functions.functions, functions.known_at, functions.failures), (0, None, 0))
        self.listed[0].errback(Exception("401"))
        self.clock.advance(5)
        self.listed[1].callback([DeployedFunction("f", "openfaas-fn", {"com.openfaas.timeout": "x"})])
        self.clock.advance(1)
        functions = self.insight.facts().functions
        assert functions is not None
        self.assertEqual((functions.functions, functions.known_at, functions.failures), (1, 1005.0, 1))

    def test_alive(self) -> None:
        """Only a client that is closed for good is a fault, and not one that is closed as the last step of stopping."""
        self.assertIsNone(self.insight.health.fault())
        self.client.become(Status.CLOSED)
        self.assertIn("closed for good", self.insight.health.fault() or "")
        self.client.become(Status.CONNECTED)
        self.connector.stopService()
        self.assertIs(self.client.status, Status.CLOSED)
        self.assertIsNone(self.insight.health.fault())
        self.assertEqual(self.parts()["connector"][0], "it is stopping")
        self.assertFalse(self.insight.health.is_ready)
