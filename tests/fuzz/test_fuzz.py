"""A short run of the fuzzer, and that it finds what is there."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.fuzz.mutate import mutated_bytes, mutated_json, pieces_of
from tests.fuzz.runner import Run, targets
from tests.fuzz.target import Plain, Target, generator

SEED = 20261125


#: Faults that are known, and not yet mended: the fuzzer shows them, these tests do not.
def named(name: str) -> Target:
    """The target of this name."""
    (target,) = [each for each in targets() if each.name == name]
    return target


class InProcessTests(SynchronousTestCase):
    """What needs no socket: the same inputs each time, and all of them are taken."""

    def check(self, name: str, inputs: int) -> None:
        target = named(name)
        target.open()
        run = Run(target, SEED)
        self.successResultOf(Deferred.fromCoroutine(run.some(iter(range(inputs)))))
        target.close()
        self.assertEqual([str(finding) for finding in run.findings], [])
        self.assertEqual(run.inputs, inputs)

    def test_parser(self) -> None:
        """NATS frames."""
        self.check("parser", 600)

    def test_headers(self) -> None:
        """Header blocks."""
        self.check("headers", 600)

    def test_envelopes(self) -> None:
        """Messages through the planner."""
        self.check("envelopes", 300)

    def test_routes(self) -> None:
        """Subjects and paths that lead to a function, and nowhere else."""
        self.check("routes", 600)

    def test_annotations(self) -> None:
        """What functions say of themselves."""
        self.check("annotations", 300)

    def test_replies(self) -> None:
        """What functions answer, on its way back."""
        self.check("replies", 300)

    def test_jetstream(self) -> None:
        """Answers of the JetStream API."""
        self.check("jetstream", 200)

    def test_info(self) -> None:
        """What servers say of themselves."""
        self.check("info", 200)

    def test_callbacks(self) -> None:
        """Callback URLs."""
        self.check("callbacks", 3000)

    def test_requests(self) -> None:
        """Requests to our own site."""
        self.check("requests", 300)


class LiveTests(TestCase):
    """What does."""

    timeout = 60

    async def test_responses(self) -> None:
        """Each call ends in an outcome."""
        target = named("responses")
        target.open()
        self.addCleanup(target.close)
        run = Run(target, SEED)
        await run.some(iter(range(300)), at_once=20)
        self.assertEqual([str(finding) for finding in run.findings], [])
        self.assertEqual(run.inputs, 300)


class Picky(Plain):
    """Has a fault that some inputs show."""

    name = "picky"

    def make(self, rng: Random) -> bytes:
        return mutated_bytes(rng, b"hello")

    def check(self, given: bytes) -> None:
        if b"\xff" in given:
            raise ZeroDivisionError("it is there")


class FuzzerTests(SynchronousTestCase):
    """The fuzzer itself."""

    def run_target(self, target: Target) -> Run:
        run = Run(target, 7)
        self.successResultOf(Deferred.fromCoroutine(run.some(iter(range(500)))))
        return run

    def test_finding(self) -> None:
        """A finding has the input, how to repeat it, and what happened."""
        finding = self.run_target(Picky()).findings[0]
        self.assertIn(r"\xff", finding.given)
        self.assertIn(f"python -m tests.fuzz --seed 7 --only {finding.number} picky", str(finding))
        self.assertIn("ZeroDivisionError: it is there", str(finding))
        self.assertEqual(repr(Picky().make(generator(7, "picky", finding.number))), finding.given)

    def test_same_inputs(self) -> None:
        """A seed gives the same inputs again, another seed others."""

        def inputs(target: Target, seed: int) -> list[str]:
            return [repr(target.make(generator(seed, target.name, number))) for number in range(20)]

        for one, other in zip(targets(), targets(), strict=True):
            self.assertEqual(inputs(one, 1), inputs(other, 1), one.name)
            self.assertNotEqual(inputs(one, 1), inputs(one, 2), one.name)

    def test_mutations(self) -> None:
        """Some inputs stay good, most do not; pieces are the whole."""
        good = b"HMSG a 1 22 24\r\nNATS/1.0\r\nBar: Baz\r\n\r\nhi\r\n"
        made = [mutated_bytes(Random(number), good) for number in range(100)]
        self.assertTrue(0 < made.count(good) < 50)
        value: Any = {"a": [1, {"b": "c"}], "d": None}
        changed = [repr(mutated_json(Random(number), value)) for number in range(100)]
        self.assertTrue(0 < changed.count(repr(value)) < 50)
        self.assertEqual(value, {"a": [1, {"b": "c"}], "d": None})
        for number in range(20):
            self.assertEqual(b"".join(pieces_of(Random(number), good)), good)
