"""Tests of what calls are made of, whichever way their message came."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.call import Malformed
from natsconnector.planning.calls import publishers_call_id


class CallIdTests(SynchronousTestCase):
    """The publisher's own call id."""

    def test_given(self) -> None:
        """The header's value counts, however its name is written."""
        self.assertEqual(publishers_call_id([("A", "b"), ("x-call-id", "abc-1")]), "abc-1")
        self.assertIsNone(publishers_call_id([("A", "b")]))

    def test_unfit(self) -> None:
        """A value that could not be sent is refused."""
        for value in ("", "a b", "a\r\nb", "ü", "x" * 257):
            error = self.assertRaises(Malformed, publishers_call_id, [("X-Call-Id", value)])
            self.assertIn("X-Call-Id", error.reason)
