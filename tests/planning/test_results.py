"""Tests of calls whose results come back over NATS."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.call import Forbidden, FunctionCall, Malformed
from natsconnector.model.function import DeployedFunction
from natsconnector.model.headers import Header
from natsconnector.planning.catalogue import Catalogue
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.planner import Planner
from natsconnector.testing import FakeDelivery

INBOX = "_INBOX.fake"


class FakeResults:
    """Makes URLs that tell what they were made of."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []

    def callback_url(
        self, subject: str, function: str, call_id: str, *, is_named: bool, has_own_id: bool, hops: int
    ) -> str:
        if subject == "no":
            raise Forbidden("not there")
        self.made.append((subject, function, call_id, is_named, has_own_id, hops))
        return f"http://us/{subject}"


class ResultsTests(SynchronousTestCase):
    """Envelopes and topics that ask for a result."""

    def setUp(self) -> None:
        self.results = FakeResults()

    def calls(
        self, delivery: FakeDelivery, results: FakeResults | None, permissions: Permissions | None = None
    ) -> list[FunctionCall]:
        functions = [DeployedFunction("a", "", {"topic": "t"}), DeployedFunction("b", "", {"topic": "t,one"})]
        catalogue = Catalogue(Clock(), lambda: succeed(functions))
        catalogue.start()
        self.addCleanup(catalogue.stop)
        planner = Planner(permissions or Permissions(), ["function.call"], catalogue, results=results)
        return [planned.call for planned in planner.plan(delivery) or ()]

    def envelope(self, *headers: Header, wants_answer: bool = True, **params: Any) -> FunctionCall:
        payload = json.dumps({"function": "f", "params": {"body": "x", **params}}).encode()
        delivery = FakeDelivery(payload, headers=headers, wants_answer=wants_answer)
        (call,) = self.calls(delivery, self.results)
        return call

    def test_named_subject(self) -> None:
        """The call's callback goes to the connector, sealed for the subject; that it is accepted is answered."""
        call = self.envelope(("X-Call-Id", "mine"), ("Natsconnector-Hops", "2"), callback_url="nats:results.f")
        self.assertEqual((call.callback_url, call.asynchronous), ("http://us/results.f", True))
        self.assertFalse(call.answers_later)
        self.assertEqual(self.results.made, [("results.f", "f", "mine", True, True, 2)])

    def test_own_reply_subject(self) -> None:
        """Who names the reply subject itself is not told of the acceptance there."""
        self.assertTrue(self.envelope(callback_url=f"nats:{INBOX}").answers_later)

    def test_reply_subject(self) -> None:
        """Asked for by the envelope or by a header: the result is the answer."""
        for call in (self.envelope(**{"async": True}), self.envelope(("function-async", "TRUE"))):
            self.assertEqual((call.callback_url, call.answers_later), (f"http://us/{INBOX}", True))
            self.assertNotIn("function-async", dict(call.headers))
        self.assertEqual([made[0] for made in self.results.made], [INBOX, INBOX])
        self.assertEqual([made[3:] for made in self.results.made], [(False, False, 0)] * 2)

    def test_nobody_to_answer(self) -> None:
        """Without a reply subject the call is asynchronous, and its result goes nowhere."""
        call = self.envelope(wants_answer=False, **{"async": True})
        self.assertEqual((call.asynchronous, call.callback_url, call.answers_later), (True, None, False))

    def test_other_places(self) -> None:
        """A callback of one's own stays as it is, and what is synchronous too."""
        call = self.envelope(callback_url="http://h/", **{"async": True})
        self.assertEqual((call.callback_url, call.answers_later), ("http://h/", False))
        for call in (self.envelope(), self.envelope(("Function-Async", "false")), self.envelope(**{"async": False})):
            self.assertFalse(call.asynchronous)
        self.assertEqual(self.results.made, [])

    def test_topics(self) -> None:
        """Each function of a topic has its own callback, by either header."""
        for headers in ([("X-Callback-Url", "nats:results")], [("Function-Async", "true")]):
            calls = self.calls(FakeDelivery(b"x", "t", headers), self.results)
            self.assertEqual([call.callback_url for call in calls], [f"http://us/{self.results.made[-1][0]}"] * 2)
        self.assertEqual([made[1] for made in self.results.made], ["a", "b"] * 2)

    def test_refused(self) -> None:
        """Nothing is called when the result cannot come back, may not go there, or is not asked for properly."""
        self.assertRaises(Forbidden, self.envelope, callback_url="nats:no")
        self.assertRaises(Malformed, self.envelope, ("Function-Async", "maybe"))
        for headers in ([("X-Callback-Url", "nats:a")], [("Function-Async", "true")]):
            delivery = FakeDelivery(b"x", "one", headers)
            refused = self.assertRaises(Forbidden, self.calls, delivery, None)
            self.assertIn("--callback-listen", refused.reason)

    def test_permissions(self) -> None:
        """--callback-allow is for URLs; --allow-function counts before anything is sealed."""
        delivery = FakeDelivery(b"x", "one", [("X-Callback-Url", "nats:a")])
        (call,) = self.calls(delivery, self.results, Permissions(callback_hosts=["h"]))
        self.assertEqual(call.callback_url, "http://us/a")
        self.assertRaises(Forbidden, self.calls, delivery, self.results, Permissions(["z"]))
        self.assertEqual(len(self.results.made), 1)

    def test_secret(self) -> None:
        """A call's repr has no callback URL: who has it can answer the call."""
        self.assertNotIn("http://us", repr(self.envelope(callback_url="nats:a")))
