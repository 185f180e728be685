"""Tests of what calls are made of, whichever way their message came."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.call import Malformed
from natsconnector.planning.calls import TopicMessage, publishers_call_id, shown


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


class TopicMessageTests(SynchronousTestCase):
    """What the calls for a topic have in common."""

    def test_call(self) -> None:
        """Payload, headers and callback of the message; the rest is each function's."""
        message = TopicMessage("t", b"x", [("X-Callback-Url", "http://h/"), ("A", "b")])
        call = message.call("f", call_id="id", queued=False, timeout_s=9.0, content_type="text/csv")
        self.assertEqual((call.function, call.body, call.content_type), ("f", b"x", "text/csv"))
        self.assertEqual(call.headers, (("X-Topic", "t"), ("X-Connector", "natsconnector"), ("A", "b")))
        self.assertEqual((call.callback_url, call.call_id, call.timeout_s), ("http://h/", "id", 9.0))

    def test_unfit(self) -> None:
        """A subject, or a content type, that no HTTP header can have."""
        error = self.assertRaises(Malformed, TopicMessage, "t\x1b", b"x", [])
        self.assertEqual(error.reason, 'the subject is not a header value, as which it goes along: "t\\u001b"')
        error = self.assertRaises(Malformed, TopicMessage, "t", b"x", [("content-type", "a\x00b")])
        self.assertEqual(error.reason, 'the header Content-Type is not a header value: "a\\u0000b"')


class ShownTests(SynchronousTestCase):
    """Values in reasons."""

    def test_length(self) -> None:
        """What is short is whole, what is long is cut."""
        self.assertEqual(shown("x" * 98), '"' + "x" * 98 + '"')
        self.assertEqual(shown("x" * 99), '"' + "x" * 96 + "...")
