"""Tests of what calls are made of, whichever way their message came."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.call import FunctionCall, Malformed
from natsconnector.model.route import ROOT, Route
from natsconnector.planning.calls import RawMessage, asked_of_call, check_route, shown


class AskedOfCallTests(SynchronousTestCase):
    """The publisher's own call id, and the route."""

    def test_given(self) -> None:
        """A header's value counts, however its name is written."""
        self.assertEqual(asked_of_call([("A", "b"), ("x-call-id", "abc-1")]), ("abc-1", ROOT))
        headers = [("function-path", "/a/b?c=d"), ("FUNCTION-METHOD", "PUT")]
        self.assertEqual(asked_of_call(headers), (None, Route("PUT", "/a/b?c=d")))
        self.assertEqual(asked_of_call(headers[::-1]), (None, Route("PUT", "/a/b?c=d")))
        self.assertEqual(asked_of_call(headers[:1]), (None, Route("POST", "/a/b?c=d")))
        call_id, route = asked_of_call([("A", "b")])
        self.assertIsNone(call_id)
        self.assertIs(route, ROOT)

    def test_unfit(self) -> None:
        """A value that could not be sent is refused."""
        for value in ("", "a b", "a\r\nb", "ü", "x" * 257):
            error = self.assertRaises(Malformed, asked_of_call, [("X-Call-Id", value)])
            self.assertIn("X-Call-Id", error.reason)
        for name, value in (("Function-Path", "/../x"), ("Function-Method", "get"), ("Function-Method", "CONNECT")):
            error = self.assertRaises(Malformed, asked_of_call, [(name, value)])
            self.assertIn(f"{name} ", error.reason)
            self.assertIn(f'"{value}"', error.reason)

    def test_method_that_does_not_fit(self) -> None:
        """The gateway queues nothing but POSTs, and what GET, HEAD and DELETE carry could be read as a request."""
        for method in ("GET", "HEAD", "DELETE"):
            check_route(FunctionCall("f", route=Route(method, "/a")))
            self.assertRaises(Malformed, check_route, FunctionCall("f", b"x", route=Route(method)))
        for method in ("POST", "PUT", "PATCH", "OPTIONS"):
            check_route(FunctionCall("f", b"x", route=Route(method)))
        check_route(FunctionCall("f", b"x", queued=True, route=Route("POST", "/a")))
        for call in (FunctionCall("f", queued=True), FunctionCall("f", callback_url="http://h/")):
            error = self.assertRaises(Malformed, check_route, replace(call, route=Route("PUT")))
            self.assertIn("asynchronous", error.reason)


class RawMessageTests(SynchronousTestCase):
    """What the calls for a topic have in common."""

    def test_call(self) -> None:
        """Payload, headers and callback of the message; the rest is each function's."""
        message = RawMessage("t", b"x", [("X-Callback-Url", "http://h/"), ("A", "b")])
        call = message.call("f", call_id="id", queued=False, timeout_s=9.0, content_type="text/csv")
        self.assertEqual((call.function, call.body, call.content_type), ("f", b"x", "text/csv"))
        self.assertEqual(call.headers, (("X-Topic", "t"), ("X-Connector", "natsconnector"), ("A", "b")))
        self.assertEqual((call.callback_url, call.call_id, call.timeout_s), ("http://h/", "id", 9.0))

    def test_unfit(self) -> None:
        """A subject, or a content type, that no HTTP header can have."""
        error = self.assertRaises(Malformed, RawMessage, "t\x1b", b"x", [])
        self.assertEqual(error.reason, 'the subject is not a valid value of the header X-Topic: "t\\u001b"')
        error = self.assertRaises(Malformed, RawMessage, "t", b"x", [("content-type", "a\x00b")])
        self.assertEqual(error.reason, 'the header Content-Type is not a header value: "a\\u0000b"')


class ShownTests(SynchronousTestCase):
    """Values in reasons."""

    def test_length(self) -> None:
        """What is short is whole, what is long is cut."""
        self.assertEqual(shown("x" * 98), '"' + "x" * 98 + '"')
        self.assertEqual(shown("x" * 99), '"' + "x" * 96 + "...")
