"""Tests of what a message asks for."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.call import Forbidden, FunctionCall, Malformed, Refused
from natsconnector.model.function import DeployedFunction
from natsconnector.model.route import ROOT, Route
from natsconnector.planning.annotations import Terms
from natsconnector.planning.catalogue import Catalogue
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.planner import PlannedCall, Planner
from natsconnector.testing import FakeDelivery

FUNCTIONS = [
    DeployedFunction("figlet", "", {"topic": "banner"}),
    DeployedFunction("cat", "team", {"topic": "banner", "natsconnector.timeout": "9s", "natsconnector.async": "yes"}),
    DeployedFunction("json", "", {"topic": "data", "natsconnector.content-type": "application/json"}),
]


class PlannerTests(SynchronousTestCase):
    """Envelopes and topics."""

    def planner(self, **more: Any) -> Planner:
        terms = Terms(**more.pop("terms", {}))
        catalogue = Catalogue(Clock(), lambda: succeed(FUNCTIONS), terms=terms)
        catalogue.start()
        self.addCleanup(catalogue.stop)
        permissions, subjects = more.pop("permissions", Permissions()), ["fn.*", "in.*.*.call"]
        return Planner(permissions, ["function.*"], catalogue, function_subjects=subjects, terms=terms, **more)

    def plan(self, delivery: FakeDelivery, **more: Any) -> list[PlannedCall]:
        planned = self.planner(**more).plan(delivery)
        assert planned is not None
        return planned

    def calls(self, delivery: FakeDelivery, **more: Any) -> list[FunctionCall]:
        return [planned.call for planned in self.plan(delivery, **more)]

    def test_by_concrete_subject(self) -> None:
        """What comes on an envelope subject is an envelope, everything else a payload for a topic."""
        (call,) = self.calls(FakeDelivery(b'{"function": "figlet"}', "function.call"))
        self.assertEqual((call.function, call.body), ("figlet", b""))
        figlet, cat = self.calls(FakeDelivery(b'{"function": "figlet"}', "banner"))
        self.assertEqual((figlet.function, cat.function), ("figlet", "cat.team"))
        self.assertEqual(figlet.body, b'{"function": "figlet"}')

    def test_topic_call(self) -> None:
        """Headers of a call for a topic: its topic, ours, and those of the message that may travel."""
        headers = [
            ("traceparent", "00-1-2-01"), ("X-Tenant", "blue"), ("Authorization", "secret"), ("Host", "evil"),
            ("Nats-Msg-Id", "1"), ("Connection", "close"), ("bad name", "x"), ("X-Bad", "a\x00b"),
            ("X-Topic", "forged"), ("Content-Length", "9"), ("X-Call-Id", "mine"),
        ]  # fmt: skip
        (call,) = self.calls(FakeDelivery(b"x", "data", headers))
        expected = [
            ("X-Topic", "data"),
            ("X-Connector", "natsconnector"),
            ("traceparent", "00-1-2-01"),
            ("X-Tenant", "blue"),
        ]
        self.assertEqual(list(call.headers), expected)
        self.assertEqual(call.call_id, "mine")

    def test_content_type(self) -> None:
        """The message's own, else the function's, else the setting."""
        (call,) = self.calls(FakeDelivery(b"x", "data"), terms={"content_type": "text/plain"})
        self.assertEqual(call.content_type, "application/json")
        (call,) = self.calls(FakeDelivery(b"x", "data", [("Content-Type", "text/csv")]))
        self.assertEqual(call.content_type, "text/csv")
        figlet, _ = self.calls(FakeDelivery(b"x", "banner"), terms={"content_type": "text/plain"})
        self.assertEqual(figlet.content_type, "text/plain")

    def test_asynchronous(self) -> None:
        """By setting, by the function's annotation, or by a callback in the message's headers."""
        figlet, cat = self.calls(FakeDelivery(b"x", "banner"))
        self.assertEqual((figlet.asynchronous, cat.asynchronous, cat.callback_url), (False, True, None))
        figlet, _ = self.calls(FakeDelivery(b"x", "banner"), queued=True)
        self.assertTrue(figlet.asynchronous)
        (call,) = self.calls(FakeDelivery(b"x", "data", [("X-Callback-Url", "http://h/cb")]))
        self.assertEqual((call.asynchronous, call.callback_url), (True, "http://h/cb"))
        self.assertNotIn("X-Callback-Url", dict(call.headers))
        self.assertRaises(Malformed, self.calls, FakeDelivery(b"x", "data", [("X-Callback-Url", "file:///x")]))

    def test_permissions_hold_for_topics(self) -> None:
        """A callback in a header is bound by --callback-allow, a function by --allow-function."""
        allowed = Permissions(["json"], ["good"])
        (call,) = self.calls(FakeDelivery(b"x", "data", [("X-Callback-Url", "http://good/")]), permissions=allowed)
        self.assertEqual(call.callback_url, "http://good/")
        bad = FakeDelivery(b"x", "data", [("X-Callback-Url", "http://bad/")])
        self.assertRaises(Forbidden, self.calls, bad, permissions=allowed)
        self.assertRaises(Forbidden, self.calls, FakeDelivery(b"x", "banner"), permissions=allowed)

    def test_permissions_hold_for_envelopes(self) -> None:
        """Neither a function nor a callback that is not allowed is called for."""
        allowed = Permissions(["json"], ["good"])
        envelope = b'{"function": "%b", "params": {"callback_url": "http://%b/", "body": "x"}}'
        (call,) = self.calls(FakeDelivery(envelope % (b"json", b"good"), "function.call"), permissions=allowed)
        self.assertEqual(call.function, "json")
        for function, host in ((b"figlet", b"good"), (b"json", b"bad")):
            bad = FakeDelivery(envelope % (function, host), "function.call")
            self.assertRaises(Forbidden, self.calls, bad, permissions=allowed)

    def test_malformed_header_block(self) -> None:
        """A message whose headers cannot be read is no call, whatever it asks for."""
        for subject, payload in (("function.call", b'{"function": "figlet"}'), ("banner", b"x")):
            delivery = FakeDelivery(payload, subject, header_error="a bad first line")
            error = self.assertRaises(Malformed, self.calls, delivery)
            self.assertEqual(error.reason, "the message's header block is malformed: a bad first line")

    def test_named_without_namespace(self) -> None:
        """The call is as the envelope names it; the function's terms, and its count, are those of the full name."""
        (planned,) = self.plan(FakeDelivery(b'{"function": "cat"}', "function.call"))
        self.assertEqual((planned.call.function, planned.function, planned.call.timeout_s), ("cat", "cat.team", 9))

    def test_without_a_list(self) -> None:
        """Where nothing is known of functions the settings hold."""
        terms = Terms(max_inflight=7)
        planner = Planner(Permissions(), ["function.call", "other.*"], terms=terms)
        planned = planner.plan(FakeDelivery(b'{"function": "cat"}', "other.x"))
        assert planned is not None
        self.assertEqual([(each.terms, each.function) for each in planned], [(terms, "cat")])

    def test_one_of_several_is_not_allowed(self) -> None:
        """The others are called all the same."""
        (call,) = self.calls(FakeDelivery(b"x", "banner"), permissions=Permissions(["fig*"]))
        self.assertEqual(call.function, "figlet")

    def test_options(self) -> None:
        """What the function's annotations say goes along, for envelopes too; a setting fills in."""
        envelope = FakeDelivery(b'{"function": "cat.team"}', "function.call")
        (planned,) = self.plan(envelope, terms={"max_inflight": 7})
        self.assertEqual((planned.call.timeout_s, planned.terms.max_inflight), (9, 7))
        self.assertTrue(planned.call.asynchronous)

    def test_function_subject(self) -> None:
        """The subject names function and namespace; payload and headers go along as those for a topic do."""
        headers = [("X-Tenant", "blue"), ("Content-Type", "text/csv"), ("X-Call-Id", "mine")]
        (call,) = self.calls(FakeDelivery(b'{"function": "figlet"}', "fn.Not-Listed_1", headers))
        self.assertEqual((call.function, call.body), ("Not-Listed_1", b'{"function": "figlet"}'))
        expected = [("X-Topic", "fn.Not-Listed_1"), ("X-Connector", "natsconnector"), ("X-Tenant", "blue")]
        self.assertEqual(list(call.headers), expected)
        self.assertEqual((call.content_type, call.call_id, call.asynchronous), ("text/csv", "mine", False))
        (call,) = self.calls(FakeDelivery(b"x", "in.cat.other.call", [("X-Callback-Url", "http://h/")]), queued=True)
        self.assertEqual((call.function, call.callback_url, call.queued), ("cat.other", "http://h/", True))

    def test_terms_of_function_subject(self) -> None:
        """Annotations count where they are known, by either name; settings do where they are not."""
        for subject in ("fn.cat", "in.cat.team.call"):
            (planned,) = self.plan(FakeDelivery(b"x", subject))
            self.assertEqual((planned.function, planned.call.timeout_s, planned.call.queued), ("cat.team", 9, True))
        terms = Terms(max_inflight=7, content_type="a/b")
        planner = Planner(Permissions(), [], function_subjects=["*"], terms=terms)
        planned_without = planner.plan(FakeDelivery(b"x", "cat", identity="S-1"))
        assert planned_without is not None
        (planned,) = planned_without
        self.assertEqual((planned.terms, planned.function, planned.call.content_type), (terms, "cat", "a/b"))
        self.assertEqual(planned.call.call_id, "S-1-cat")

    def test_function_subject_needs_no_list(self) -> None:
        """Nor does it wait for one."""
        catalogue = Catalogue(Clock(), lambda: succeed([]))
        planner = Planner(Permissions(), [], catalogue, function_subjects=["fn.*"])
        self.assertIsNotNone(planner.plan(FakeDelivery(b"", "fn.f")))

    def test_function_subject_that_names_none(self) -> None:
        """What is no name in an envelope is none in a subject; more or fewer tokens are another subject."""
        for token in ("-a", "a-", "a%2e", "a/b", "\u00fc", "a\n", "*", "a" * 254, "a b"):
            error = self.assertRaises(Malformed, self.calls, FakeDelivery(b"x", f"fn.{token}"))
            self.assertIn("is no function name", error.reason)
            self.assertLess(len(error.reason), 300)
        for subject in ("fn.a.b", "fn", "in.a.call", "FN.figlet"):
            self.assertEqual(self.assertRaises(Refused, self.calls, FakeDelivery(b"x", subject)).code, 404)

    def test_permissions_hold_for_function_subjects(self) -> None:
        """A function, and a callback, that is not allowed is refused."""
        allowed = Permissions(["json", "cat.team"], ["good"])
        for subject in ("fn.json", "in.cat.team.call"):
            self.calls(FakeDelivery(b"x", subject), permissions=allowed)
        for subject in ("fn.figlet", "in.cat.other.call", "in.json.team.call"):
            self.assertRaises(Forbidden, self.calls, FakeDelivery(b"x", subject), permissions=allowed)
        bad = FakeDelivery(b"x", "fn.json", [("X-Callback-Url", "http://bad/")])
        self.assertRaises(Forbidden, self.calls, bad, permissions=allowed)

    def test_route(self) -> None:
        """Whoever names a function may name its route; the headers that do are not the function's."""
        headers = [("Function-Path", "/a?b"), ("Function-Method", "PUT"), ("X-Tenant", "blue")]
        for payload, subject in ((b"x", "fn.figlet"), (b'{"function": "figlet"}', "function.call")):
            (call,) = self.calls(FakeDelivery(payload, subject, headers))
            self.assertEqual(call.route, Route("PUT", "/a?b"))
            self.assertEqual([name for name, _ in call.headers if name.startswith("Function")], [])
            asynchronous = FakeDelivery(payload, subject, headers)
            self.assertRaises(Malformed, self.calls, asynchronous, terms={"asynchronous": True})
            (call,) = self.calls(FakeDelivery(payload, subject))
            self.assertIs(call.route, ROOT)
        for name, value in headers[:2]:
            error = self.assertRaises(Malformed, self.calls, FakeDelivery(b"x", "banner", [(name, value)]))
            self.assertIn("not for topics", error.reason)

    def test_nobody_wants_it(self) -> None:
        """A topic without functions is refused, and the reason names it."""
        error = self.assertRaises(Refused, self.calls, FakeDelivery(b"x", "nobody"))
        self.assertEqual((error.code, "nobody" in error.reason), (404, True))

    def test_put_back_for_one_function(self) -> None:
        """A dead letter that was put back goes only to the function it was for."""
        for function in ("cat.team", "figlet"):
            (call,) = self.calls(FakeDelivery(b"x", "banner", [("Natsconnector-Function", function)]))
            self.assertEqual(call.function, function)

    def test_before_the_functions_are_known(self) -> None:
        """Envelopes need no list of functions, topics do."""
        planner = Planner(Permissions(), ["function.*"], Catalogue(Clock(), lambda: succeed([])))
        self.assertIsNotNone(planner.plan(FakeDelivery(b'{"function": "f"}', "function.call")))
        self.assertIsNone(planner.plan(FakeDelivery(b"", "banner")))

    def test_goes_round(self) -> None:
        """A message that connectors' replies lead to again and again ends."""
        self.calls(FakeDelivery(b"x", "data", [("Natsconnector-Hops", "7")]))
        error = self.assertRaises(Refused, self.calls, FakeDelivery(b"x", "data", [("Natsconnector-Hops", "8")]))
        self.assertEqual(error.code, 508)
        self.calls(FakeDelivery(b"x", "data", [("Natsconnector-Hops", "many")]))

    def test_call_ids(self) -> None:
        """Derived from the message's identity and the function, so that they last over attempts and replicas."""
        figlet, cat = self.calls(FakeDelivery(b"x", "banner", identity="S-7"))
        self.assertEqual((figlet.call_id, cat.call_id), ("S-7-figlet", "S-7-cat.team"))
        for subject, payload in (("data", b"x"), ("function.call", b'{"function": "figlet"}')):
            (call,) = self.calls(FakeDelivery(payload, subject, [("X-Call-Id", "mine")], identity="S-7"))
            self.assertEqual(call.call_id, "mine", "the publisher's own comes first")
        (call,) = self.calls(FakeDelivery(b"x", "data"))
        self.assertRegex(call.call_id, r"\A[0-9a-f]{32}\Z")
