"""Tests of calls and lists that do not come to their end, by a clock."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.gateway import GatewayClient, GatewayFault, SystemClient, agent
from natsconnector.model.call import FunctionCall
from natsconnector.model.outcome import Outcome
from tests.gateway.servers import answer
from tests.gateway.wires import Endpoint

HALF = answer(b"half")[:-1]


class DeadlineCase(SynchronousTestCase):
    """A gateway in memory."""

    def setUp(self) -> None:
        self.clock = cast(Any, Clock())
        self.endpoint = Endpoint()
        self.patch(agent, "gateway_endpoint", lambda *_: self.endpoint)
        self.client = GatewayClient(
            self.clock, "http://gateway", timeout_s=20.0, max_connections=10, max_response_bytes=1000
        )

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DeadlineTests(DeadlineCase):
    """Time that is over."""

    def late(self, part: bytes | None, timeout_s: float, own_s: float | None = None) -> Outcome:
        """What becomes of a call that gets so far; None is not as far as a connection."""
        calling = self.client.call(FunctionCall("f", call_id="i", timeout_s=own_s))
        self.clock.advance(timeout_s / 2)
        wire = None
        if part is not None:
            wire = self.endpoint.accept()
            wire.receive(part)
        self.clock.advance(timeout_s / 2 - 0.1)
        self.assertNoResult(calling)
        self.clock.advance(0.1)
        self.endpoint.waiting.clear()
        if wire is not None:
            self.assertTrue(wire.aborted)
        return self.successResultOf(calling)

    def test_phases(self) -> None:
        """It is not executed before there is a connection, maybe after that, and surely once its answer has begun."""
        outcome = self.late(None, 20)
        self.assertEqual((outcome.status, outcome.not_executed, outcome.gateway_down), (502, True, True))
        self.assertEqual(outcome.failure, "the gateway is unreachable: no connection within 20 s")
        outcome = self.late(b"", 20)
        self.assertEqual((outcome.status, outcome.not_executed, outcome.final), (504, False, False))
        self.assertEqual(outcome.failure, "f did not answer within 20 s")
        outcome = self.late(HALF, 20)
        self.assertEqual((outcome.status, outcome.not_executed, outcome.final), (504, False, True))
        said = "f did not end its answer within 20 s; it has been executed, or may have been"
        self.assertEqual(outcome.failure, said)
        self.assertFalse(outcome.gateway_down)

    def test_own(self) -> None:
        """A call's own time limit counts instead of the client's."""
        for own_s in (2.0, 200.0):
            self.assertEqual(self.late(b"", own_s, own_s).failure, f"f did not answer within {own_s:g} s")

    def test_probe(self) -> None:
        """A probe does not wait for as long as a call may take."""
        probing = self.client.probe()
        self.endpoint.accept()
        self.clock.advance(5)
        self.assertIs(self.successResultOf(probing), False)

    def test_list(self) -> None:
        """The list of functions has a limit, too, and says which question was not answered."""
        client = SystemClient(self.clock, "http://gateway", credentials=None, timeout_s=10.0)
        for part, what in ((b"", "answer"), (HALF, "end its answer")):
            asking = client.functions()
            wire = self.endpoint.accept()
            wire.receive(part)
            self.clock.advance(10)
            fault = self.failureResultOf(asking, GatewayFault).value
            self.assertEqual(str(fault), f"GET /system/namespaces: the gateway did not {what} within 10 s")
            self.assertTrue(wire.aborted)


class GivenUpTests(DeadlineCase):
    """Calls that nobody waits for any more."""

    def test_phases(self) -> None:
        """It ends in an outcome; whether it may have been executed is as with a deadline."""
        for part in (None, b"", HALF):
            calling: Deferred[Any] = self.client.call(FunctionCall("f", call_id="i"))
            wire = None
            if part is not None:
                wire = self.endpoint.accept()
                wire.receive(part)
            calling.cancel()
            self.endpoint.waiting.clear()
            outcome = self.successResultOf(calling)
            facts = (outcome.status, outcome.unfinished, outcome.not_executed)
            self.assertEqual(facts, (503, True, part is None))
            then = "was called" if part is None else "had answered; it may have been executed"
            self.assertEqual(outcome.failure, f"the connector gave up before f {then}")
            if wire is not None:
                self.assertTrue(wire.aborted)
