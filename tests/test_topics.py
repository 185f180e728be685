"""Tests of subject matching."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.topics import overlaps


class OverlapsTests(SynchronousTestCase):
    """Subjects that can hear the same message."""

    def test_table(self) -> None:
        """Either way round, with wildcards in either."""
        for one, other, expected in [
            ("a", "a", True), ("a", "b", False), ("a.b", "a", False), ("a.*", "a.b", True), ("a.*", "*.b", True),
            ("a.*", "b.*", False), ("a.>", "a.b.c", True), ("a.>", "a", False), (">", "a.b", True), ("*", "a.b", False),
            ("*", "_INBOX.>", False), (">", "_INBOX.>", True), ("a.*.c", "a.b.>", True), ("a.b", "a.*.c", False),
        ]:  # fmt: skip
            self.assertEqual(overlaps(one, other), expected, (one, other))
            self.assertEqual(overlaps(other, one), expected, (other, one))
