"""Tests of which topics are taken."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.messages import topics
from natsconnector.messages.facts import StreamFacts, stream_facts
from natsconnector.messages.topics import choose, consumer_name, overlapping
from natsconnector.model.subjects import covers, overlaps
from natsconnector.nats.jetstream import check_name
from tests.nats import profile  # noqa: F401

SUBJECTS = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3).flatmap(
    lambda tokens: st.sampled_from([".".join(tokens), ".".join([*tokens[:-1], ">"])])
)


def stream(*subjects: str) -> StreamFacts:
    return stream_facts("S", {"config": {"subjects": list(subjects)}})


class ChooseTests(SynchronousTestCase):
    """Each message comes once."""

    def chosen(self, *names: str, held: str = ">", fixed: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
        choice = choose(names, stream(held), fixed)
        return sorted(choice.topics), sorted(choice.left_out)

    def test_apart(self) -> None:
        """Topics that have nothing in common."""
        self.assertEqual(self.chosen("b.*", "a", "c.>"), (["a", "b.*", "c.>"], []))

    def test_covered(self) -> None:
        """What a wider one brings needs none of its own."""
        self.assertEqual(self.chosen("a.b", "a.*", "a.>", "b"), (["a.>", "b"], []))

    def test_fixed(self) -> None:
        """Likewise what is taken anyhow; a wider topic than that is left out."""
        self.assertEqual(self.chosen("a.b", "b", fixed=("a.*", "b")), ([], []))
        self.assertEqual(self.chosen("a.*", "*.b", "a.>", fixed=("a.*",)), ([], ["*.b", "a.>"]))

    def test_partly(self) -> None:
        """Of two that overlap in part it is always the same that is left out, and why is said."""
        for names in (("a.*", "*.b"), ("*.b", "a.*")):
            self.assertEqual(self.chosen(*names), (["*.b"], ["a.*"]))
        self.assertIn("overlaps with *.b", choose(["a.*", "*.b"], stream(">")).left_out["a.*"])

    def test_not_held(self) -> None:
        """What the stream does not have is left out, and why is said."""
        self.assertEqual(self.chosen("a", "b", held="a"), (["a"], ["b"]))
        self.assertIn("does not listen there, but on a", choose(["b"], stream("a")).left_out["b"])

    def test_bound(self) -> None:
        """There are so many, with wildcards and without."""
        self.patch(topics, "MOST_TOPICS", 3)
        taken, left_out = self.chosen(*(f"p{each}" for each in range(3)), *(f"w{each}.*" for each in range(5)))
        self.assertEqual(taken, ["w0.*", "w1.*", "w2.*"])
        self.assertEqual(left_out, ["p0", "p1", "p2", "w3.*", "w4.*"])

    @given(st.lists(SUBJECTS, max_size=8), st.lists(SUBJECTS, max_size=2))
    def test_any(self, names: list[str], fixed: list[str]) -> None:
        """No two overlap, and what is neither taken nor covered is left out with a reason; the order is no matter."""
        choice = choose(names, stream(">"), fixed)
        taken = [*choice.topics, *dict.fromkeys(fixed)]
        for number, one in enumerate(choice.topics):
            self.assertFalse([other for other in (*choice.topics[:number], *fixed) if overlaps(one, other)])
        for name in names:
            self.assertTrue(name in choice.left_out or any(covers(each, name) for each in taken), name)
        self.assertEqual(choose(names[::-1], stream(">"), fixed), choice)

    def test_overlapping(self) -> None:
        """Topics that have a message in common with one."""
        self.assertEqual(overlapping("a.b", ["a.c", "a.*", "b.>", ">"]), ["a.*", ">"])
        self.assertEqual(overlapping("a.*", ["a.c", "b.c", "*.c"]), ["a.c", "*.c"])


class NameTests(SynchronousTestCase):
    """The names of consumers."""

    def test_readable(self) -> None:
        """It tells the topic, and no two topics share one."""
        self.assertRegex(consumer_name("natsconnector", "orders.*"), "^natsconnector-orders-[0-9a-f]{8}$")
        self.assertRegex(consumer_name("c", ">"), "^c-all-")
        self.assertEqual(len({consumer_name("c", topic) for topic in ("a.b", "a_b", "a.b.*", "a.b.>")}), 4)
        self.assertLess(len(consumer_name("c", "long." * 200 + "x")), 60)

    @given(SUBJECTS | st.from_regex(r"[^\s.*>\ud800-\udfff]{1,50}", fullmatch=True))
    def test_any(self, topic: str) -> None:
        """Every topic gives a name that a server takes."""
        self.assertTrue(re.match("natsconnector-", check_name(consumer_name("natsconnector", topic))))
