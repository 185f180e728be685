"""Tests of what annotations say."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.function import DeployedFunction
from natsconnector.model.limits import MaxInflight
from natsconnector.model.retries import RetryPolicy
from natsconnector.planning.annotations import Terms, terms_of, topics_of


def function(**annotations: str) -> DeployedFunction:
    return DeployedFunction("f", "ns", {name.replace("__", "."): text for name, text in annotations.items()})


class TopicsTests(SynchronousTestCase):
    """The annotation ``topic``."""

    def test_split(self) -> None:
        """Trimmed, without empty ones, by the delimiter."""
        self.assertEqual(topics_of(function(topic=" a, b.* ,,c.>,"), ","), (["a", "b.*", "c.>"], []))
        self.assertEqual(topics_of(function(topic="a;b"), ";"), (["a", "b"], []))
        self.assertEqual(topics_of(function(), ","), ([], []))

    def test_no_subjects(self) -> None:
        """What is no subject, or NATS's own, is named and left out."""
        topics, (fault,) = topics_of(function(topic="a b,ok,$JS.API.>,>"), ",")
        self.assertEqual(topics, ["ok", ">"])
        self.assertIn("function f.ns: annotation topic: 'a b' is not a subject", fault)
        self.assertIn("; it is ignored; 1 more items are ignored, too", fault)
        _, (fault,) = topics_of(function(topic="$JS.API.>"), ",")
        self.assertTrue(fault.endswith("'$JS.API.>' is NATS's own, and never a topic; it is ignored"), fault)

    def test_bounds(self) -> None:
        """Whoever deploys a function cannot have the connector read, or say, without end."""
        topics, (fault,) = topics_of(function(topic=",".join(f"t{number}" for number in range(150))), ",")
        self.assertEqual(len(topics), 100)
        self.assertIn("'t100' is one topic too many for one function, which may have 100", fault)
        self.assertIn("49 more items", fault)
        topics, (fault,) = topics_of(function(topic="a b," * 40_000), ",")
        self.assertEqual((topics, "more than 16384 characters" in fault), ([], True))


class TermsTests(SynchronousTestCase):
    """How a function wants to be called."""

    def test_all(self) -> None:
        """Each annotation has its effect."""
        terms, faults = terms_of(
            function(
                natsconnector__async="true",
                natsconnector__timeout="2m",
                **{
                    "natsconnector.max-inflight": "3",
                    "natsconnector.content-type": "application/json",
                    "com.openfaas.retry.attempts": "5",
                    "com.openfaas.retry.codes": "500, 502",
                    "com.openfaas.retry.min_wait": "1s",
                    "com.openfaas.retry.max_wait": "10s",
                },
            ),
            Terms(RetryPolicy(9, backoff="equal")),
            600,
        )
        self.assertEqual(faults, [])
        retries = RetryPolicy(5, frozenset({500, 502}), 1, 10, "equal")
        self.assertEqual(terms, Terms(retries, True, 120, 3, "application/json"))

    def test_wrong_values(self) -> None:
        """A wrong value is told with function and value, and ignored; the others count."""
        terms, faults = terms_of(function(natsconnector__timeout="soon", natsconnector__async="yes"), Terms(), 600)
        self.assertEqual(terms, Terms(asynchronous=True))
        self.assertEqual(
            faults,
            [
                "function f.ns: annotation natsconnector.timeout: 'soon' is not a duration like 250ms, 30s or 1m30s;"
                " it is ignored"
            ],
        )

    def test_ceilings(self) -> None:
        """A function holds slots no longer, and is called no more often, than the operator allows."""
        defaults = Terms(RetryPolicy(attempts=3, wait_s=0.5, max_wait_s=120))
        annotations = {
            "natsconnector.timeout": "8760h", "com.openfaas.retry.attempts": "1000",
            "com.openfaas.retry.min_wait": "1ns", "com.openfaas.retry.max_wait": "1h",
        }  # fmt: skip
        terms, faults = terms_of(DeployedFunction("f", "ns", annotations), defaults, 600)
        self.assertEqual((terms.timeout_s, terms.retries), (600, defaults.retries))
        self.assertEqual(len(faults), 4)
        self.assertIn(
            "natsconnector.timeout: 31536000 s is not between 0 and 600 s, which the connector allows", faults[0]
        )

    def test_bounds_are_allowed(self) -> None:
        """Just what the operator allows is no fault."""
        defaults = Terms(RetryPolicy(attempts=3, wait_s=0.5, max_wait_s=120))
        annotations = {
            "natsconnector.timeout": "600s", "com.openfaas.retry.attempts": "3", "natsconnector.max-inflight": "1",
            "com.openfaas.retry.min_wait": "500ms", "com.openfaas.retry.max_wait": "2m",
        }  # fmt: skip
        terms, faults = terms_of(DeployedFunction("f", "ns", annotations), defaults, 600)
        self.assertEqual((terms.timeout_s, terms.max_inflight, terms.retries, faults), (600, 1, defaults.retries, []))

    def test_limit_that_finds_itself(self) -> None:
        """An annotation may ask for it, or for a number where the settings ask for it."""
        cases: list[tuple[str, MaxInflight]] = [("auto", None), ("auto", 3), ("3", "auto")]
        for own, default in cases:
            terms, faults = terms_of(function(**{"natsconnector.max-inflight": own}), Terms(max_inflight=default), 600)
            self.assertEqual((str(terms.max_inflight), faults), (own, []))

    def test_long_values(self) -> None:
        """An annotation is bounded before it is read: 256 kB of digits cost nothing."""
        terms, (fault,) = terms_of(function(natsconnector__timeout="1" * 250_000), Terms(), 600)
        self.assertIsNone(terms.timeout_s)
        self.assertLess(len(fault), 200)
        terms, (fault,) = terms_of(function(com__openfaas__retry__codes="500," * 257), Terms(), 600)
        self.assertEqual(terms, Terms())
        self.assertIn("has more than 1024 characters; it is ignored", fault)

    def test_nothing_said(self) -> None:
        """Without annotations the settings hold."""
        terms = Terms(max_inflight=3)
        self.assertIs(terms_of(function(), terms, 600)[0], terms)
