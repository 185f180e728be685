"""Tests of what annotations say."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.function import DeployedFunction
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
        topics, faults = topics_of(function(topic="a b,ok,$JS.API.>,>"), ",")
        self.assertEqual(topics, ["ok", ">"])
        self.assertEqual(len(faults), 2)
        self.assertIn("'$JS.API.>' is NATS's own, and never a topic", faults[1])
        self.assertIn("function f.ns: annotation topic: 'a b'", faults[0])


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
            Terms(RetryPolicy(backoff="equal")),
        )
        self.assertEqual(faults, [])
        retries = RetryPolicy(5, frozenset({500, 502}), 1, 10, "equal")
        self.assertEqual(terms, Terms(retries, True, 120, 3, "application/json"))

    def test_wrong_values(self) -> None:
        """A wrong value is told with function and value, and ignored; the others count."""
        terms, faults = terms_of(function(natsconnector__timeout="soon", natsconnector__async="yes"), Terms())
        self.assertEqual(terms, Terms(asynchronous=True))
        self.assertEqual(
            faults,
            [
                "function f.ns: annotation natsconnector.timeout: 'soon' is not a duration like 250ms, 30s or 1m30s;"
                " it is ignored"
            ],
        )

    def test_nothing_said(self) -> None:
        """Without annotations the settings hold."""
        terms = Terms(max_inflight=3)
        self.assertIs(terms_of(function(), terms)[0], terms)
