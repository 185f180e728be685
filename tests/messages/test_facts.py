"""Tests of what a stream's description says."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.messages.facts import StreamFacts, stream_facts


def facts(state: Any = None, **config: Any) -> StreamFacts:
    return stream_facts("S", {"config": {"subjects": ["a", "b.*"], **config}, "state": state or {}, "created": "then"})


class StreamFactsTests(SynchronousTestCase):
    """Facts of ``STREAM.INFO``."""

    def test_plain(self) -> None:
        """What is left out has the server's default."""
        found = facts({"messages": 7, "first_seq": 3, "consumer_count": 2})
        self.assertEqual((found.name, found.created, found.subjects), ("S", "then", ("a", "b.*")))
        self.assertEqual((found.messages, found.first_sequence, found.consumers), (7, 3, 2))
        self.assertEqual((found.retention, found.max_age_s, found.limits), ("limits", 0.0, ()))
        self.assertEqual((found.is_fed, found.keeps_one_per_subject, found.denies_delete), (False, False, False))
        self.assertEqual((facts().messages, facts().first_sequence, facts().consumers), (0, 0, 0))

    def test_held(self) -> None:
        """Its subjects are those it listens on, unless they are transformed."""
        self.assertEqual((facts().held, facts().holds("b.c"), facts().holds("c")), (("a", "b.*"), True, False))
        for destination, held in (("c.{{wildcard(1)}}.$2.d", "c.*.*.d"), ("all", "all")):
            found = facts(subject_transform={"src": "b.*", "dest": destination})
            self.assertEqual((found.held, found.holds("a")), ((held,), False))

    def test_fed(self) -> None:
        """A stream that takes messages from others may hold any subject, also if it listens on some itself."""
        for config in ({"sources": [{"name": "A"}]}, {"mirror": {"name": "A"}}):
            found = facts(**config)
            self.assertEqual((found.is_fed, found.held, found.holds("c")), (True, (), True), config)

    def test_limits(self) -> None:
        """By what it removes messages; one that refuses new ones when it is full removes none for that."""
        full = {"max_msgs": 5, "max_bytes": 6, "max_msgs_per_subject": 7}
        found = facts(max_age=1_500_000_000, allow_msg_ttl=True, **full)
        self.assertEqual(found.max_age_s, 1.5)
        self.assertEqual(
            found.limits,
            (
                "max_age of 1.5 s",
                "max_msgs of 5",
                "max_bytes of 6",
                "max_msgs_per_subject of 7",
                "the messages' own Nats-TTL",
            ),
        )
        self.assertEqual(facts(discard="new", **full).limits, ())
        self.assertEqual(facts(max_age=0, **dict.fromkeys(full, -1)).limits, ())
        self.assertEqual(facts(**dict.fromkeys(full, 0)).limits, ())

    def test_keeps(self) -> None:
        """Where a message is not safe, and where one cannot be removed."""
        self.assertTrue(facts(retention="interest").keeps_nothing)
        self.assertFalse(facts({"consumer_count": 1}, retention="interest").keeps_nothing)
        self.assertFalse(facts().keeps_nothing)
        self.assertEqual([facts(max_msgs_per_subject=n).keeps_one_per_subject for n in (1, 2)], [True, False])
        self.assertTrue(facts(deny_delete=True).denies_delete)
        self.assertTrue(facts(sealed=True).denies_delete)
