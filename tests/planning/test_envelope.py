"""Tests of the JSON envelope."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.call import FunctionCall, Malformed
from natsconnector.planning import envelope as envelopes

CONNECTOR = (("X-Connector", "natsconnector"),)
SETTINGS = settings(derandomize=True, deadline=None, database=None, max_examples=300)


def envelope_call(payload: bytes) -> FunctionCall:
    return envelopes.envelope_call(*envelopes.read_envelope(payload))


def envelope(function: Any = "figlet", **params: Any) -> bytes:
    return json.dumps({"function": function, "params": params}).encode()


class EnvelopeCallTests(SynchronousTestCase):
    """The JSON envelope."""

    def assertMalformed(self, payload: bytes, *says: str) -> None:
        reason = self.assertRaises(Malformed, envelope_call, payload).reason
        for text in says:
            self.assertIn(text, reason)
        self.assertNotIn("\n", reason)
        self.assertLess(len(reason), 400)

    def test_the_two_messages(self) -> None:
        """The synchronous and the asynchronous message of the README mean what they say."""
        self.assertEqual(
            envelope_call(b'{"function": "figlet", "params": {"body": "Hello World"}}'),
            FunctionCall("figlet", b"Hello World", "text/plain", CONNECTOR),
        )
        call = envelope_call(
            b'{"function": "figlet", "params": {"callback_url": "http://your-callback.url/example", "body": "Hi"}}'
        )
        self.assertTrue(call.asynchronous)
        self.assertEqual(call.callback_url, "http://your-callback.url/example")

    def test_params_are_optional(self) -> None:
        """Without params the body is empty and the call synchronous."""
        for payload in (b'{"function":"f"}', b'{"function":"f","params":null}', b'{"function":"f","params":{}}'):
            call = envelope_call(payload)
            self.assertEqual((call.body, call.content_type, call.asynchronous), (b"", None, False))

    def test_unknown_keys_are_ignored(self) -> None:
        """What a later version may add does not break this one, where there is a body."""
        call = envelope_call(b'{"function":"f","v":2,"params":{"x":1,"body":"b"}}')
        self.assertEqual(call, FunctionCall("f", b"b", "text/plain", headers=CONNECTOR))
        self.assertEqual(envelope_call(b'{"function":"f","v":2}'), FunctionCall("f", headers=CONNECTOR))

    def test_slips(self) -> None:
        """Without a body a misplaced or misspelt field is refused by name, with the right one: it would be lost."""
        for text, *says in [
            ('{"function":"f","body":"x"}', "params.body"),
            ('{"function":"f","params":{},"body_base64":"eA=="}', "params.body_base64"),
            ('{"function":"f","callback_url":"http://h/","params":null}', "params.callback_url"),
            ('{"function":"f","parms":{"body":"x"}}', '"parms"', "did you mean params?"),
            ('{"function":"f","params":{"bdy":"x"}}', '"bdy"', "did you mean body?"),
            ('{"function":"f","params":{"calback_url":"http://h/"}}', "did you mean callback_url?"),
            ('{"function":"f","params":{"q":"x"}}', '"q"', "body, body_base64"),
        ]:
            self.assertMalformed(text.encode(), *says)
        self.assertMalformed(b'{"function":"f","params":{"' + b"x" * 100_000 + b'":1}}', "unknown field")

    def test_byte_order_mark(self) -> None:
        """What some editors put before a text is passed over."""
        self.assertEqual(envelope_call(b"\xef\xbb\xbf" + envelope()).function, "figlet")

    def test_bodies(self) -> None:
        """Strings go as they are, other values as compact JSON, binary as base64."""
        cases: list[tuple[dict[str, Any], bytes, str | None]] = [
            ({"body": "grüße"}, "grüße".encode(), "text/plain"),
            ({"body": ""}, b"", "text/plain"),
            ({"body": None}, b"", None),
            ({"body": {"a": [1, "ü"]}}, '{"a":[1,"ü"]}'.encode(), "application/json"),
            ({"body": [1, 2]}, b"[1,2]", "application/json"),
            ({"body": 0}, b"0", "application/json"),
            ({"body": False}, b"false", "application/json"),
            ({"body": 1.5}, b"1.5", "application/json"),
            ({"body_base64": "AAH/"}, b"\x00\x01\xff", "application/octet-stream"),
            ({"body": "x", "content_type": "text/csv"}, b"x", "text/csv"),
        ]
        for params, body, content_type in cases:
            call = envelope_call(envelope(**params))
            self.assertEqual((call.body, call.content_type), (body, content_type), params)

    def test_not_json(self) -> None:
        """Each kind of no JSON is named."""
        for payload, says in [
            (b"", "empty"),
            (b"  ", "empty"),
            (b"hello", "not JSON"),
            (b"\xff\xfe", "byte 0 is not UTF-8"),
            (b'{"function":"f","params":{"body":NaN}}', "NaN"),
            (b'{"function":"f","params":{"body":-Infinity}}', "Infinity"),
            (b'{"function":"f","params":{"body":1e999}}', "out of range"),
            (b'{"function":"f"} trailing', "not JSON"),
            (b"[" * 200_000, "nested too deeply"),
            (b'{"function":' + b"9" * 5000 + b"}", "JSON"),
            (b'{"function":"f","params":{"body":"\\ud800"}}', "surrogate"),
        ]:
            self.assertMalformed(payload, says)

    def test_javascript(self) -> None:
        """Who writes JavaScript objects, as the original's README does, is told so."""
        for payload in (
            b"{function: 'figlet', params: {body: 'Hello World'}}",
            b"{'function': 'figlet'}",
            b"{\n  function: 'figlet',\n  params: {}\n}",
            b"{\"function\": 'figlet'}",
        ):
            self.assertMalformed(payload, "JavaScript", "double quotes")
        reason = self.assertRaises(Malformed, envelope_call, b'{"function" "figlet"}').reason
        self.assertNotIn("JavaScript", reason)

    def test_wrong_shapes(self) -> None:
        """A wrong type is named with its field."""
        for payload, says in [
            (b"[]", "an array"),
            (b"null", "null"),
            (b'"figlet"', "a string"),
            (b"{}", "function is missing"),
            (b'{"function":7}', "function is a number"),
            (b'{"function":"f","params":[]}', "params is an array"),
            (b'{"function":"f","params":"x"}', "params is a string"),
            (b'{"function":"f","params":{"callback_url":true}}', "callback_url is a boolean"),
            (b'{"function":"f","params":{"body":"a","body_base64":"YQ=="}}', "both"),
            (b'{"function":"f","params":{"body_base64":"*"}}', "not base64"),
            (b'{"function":"f","params":{"body_base64":1}}', "body_base64 is a number"),
            (b'{"function":"f","params":{"content_type":"a\\r\\nb"}}', "content_type"),
            (b'{"function":"f","params":{"headers":["a"]}}', "headers is an array"),
            (b'{"function":"f","params":{"headers":{"A":1}}}', "A is a number"),
        ]:
            self.assertMalformed(payload, says)

    def test_function_names(self) -> None:
        """Names of functions and namespaces pass; nothing passes that could leave /function/."""
        for good in ("f", "figlet", "figlet.openfaas-fn", "A_b-1", "a.b.c", "x" * 253):
            self.assertEqual(envelope_call(envelope(good)).function, good)
        for bad in (
            "", " ", ".", "..", "../system/functions", "a/b", "a%2fb", "a..b", ".a", "a.", "-a", "a-", "a b", "a\n",
            "a?b", "a#b", "a\\b", "ä", "a\x00", "x" * 254, "a:b", "a@b",
        ):  # fmt: skip
            self.assertMalformed(envelope(bad), "is no function name")

    def test_subjects(self) -> None:
        """A callback may name a subject to publish on; one that can be published on."""
        for good in ("nats:a", "nats:results.figlet", "nats:_INBOX.x.y", "nats:ü"):
            self.assertEqual(envelope_call(envelope(callback_url=good)).callback_url, good)
        for bad in ("nats:", "nats:a..b", "nats:a b", "nats:a.*", "nats:>", "nats:" + "a" * 1025, "nats:a\u0000"):
            self.assertMalformed(envelope(callback_url=bad), "params.callback_url names a subject")
        self.assertMalformed(envelope(callback_url="NATS:a"), "is not an absolute http or https URL")

    def test_async(self) -> None:
        """params.async is a boolean."""
        self.assertTrue(envelope_call(envelope(**{"async": True})).answers_later)
        for no in (False, None):
            self.assertFalse(envelope_call(envelope(**{"async": no})).answers_later)
        self.assertMalformed(envelope(**{"async": "yes"}), "params.async is a string, not a boolean")

    def test_callback_urls(self) -> None:
        """Only absolute http and https URLs are callbacks."""
        for good in (
            "http://h", "https://h:8443/a?b=c#d", "HTTP://h/", "http://[::1]:80/x", "http://user:pw@h/", "http://h:/",
        ):  # fmt: skip
            self.assertEqual(envelope_call(envelope(callback_url=good)).callback_url, good)
        for bad in (
            "", "x", "/x", "file:///x", "http://", "http:///x", "http:/x", "//h/x", "ftp://h", "http://h:99999/",
            "http://h:0/", "http://[::1", "http://h\\@evil/", "http://h/a b", "http://h/\r\nX: y", "http://h/ü",
            "javascript:alert(1)", "http://" + "h" * 9000, "http://evil.net%2f.example.com/", "http://.example.com/",
            "http://a..b/", "http://a%23.example.com/",
        ):  # fmt: skip
            self.assertMalformed(envelope(callback_url=bad), "is not an absolute http or https URL")

    def test_headers(self) -> None:
        """Headers go along, but none that speaks for the connection or has a place of its own."""
        call = envelope_call(envelope(headers={"X-Tenant": " blue ", "traceparent": "00-1"}))
        self.assertEqual(call.headers, (*CONNECTOR, ("X-Tenant", "blue"), ("traceparent", "00-1")))
        for name in ("Host", "content-length", "Connection", "Transfer-Encoding", "X-Callback-Url", "X-Call-Id", "TE"):
            self.assertMalformed(envelope(headers={name: "x"}), f"may not set {name}")
        self.assertMalformed(envelope(headers={"X-Callback-Url": "x"}), "use params.callback_url")
        for name in ("X-Topic", "x-connector", "User-Agent", "X-Reply-Subject", "Proxy", "X_Topic", "Nats-Msg-Id"):
            self.assertMalformed(envelope(headers={name: "x"}), f"may not set {name}")
        for name in ("", "a b", "a:b", "ü", "a\n"):
            self.assertMalformed(envelope(headers={name: "x"}), "is no header name")
        for value in ("a\r\nEvil: 1", "a\nb", "\x00", "\x7f", "\ud800"):
            self.assertMalformed(envelope(headers={"A": value}), "the value of A")
        self.assertMalformed(envelope(headers={f"A{n}": "" for n in range(513)}), "has 513 headers, more than 512")

    def test_headers_of_the_message(self) -> None:
        """They go along, but for those that params.headers sets, however their names are written."""
        payload = envelope(headers={"x-tenant": "blue"})
        headers = [("X-Tenant", "red"), ("A", "x-tenant"), ("Nats-Msg-Id", "1")]
        call = envelopes.envelope_call(*envelopes.read_envelope(payload), headers)
        self.assertEqual(call.headers, (*CONNECTOR, ("A", "x-tenant"), ("x-tenant", "blue")))

    @SETTINGS
    @given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
    def test_anything(self, payload: bytes) -> None:
        """No payload raises anything but Malformed."""
        try:
            envelope_call(payload)
        except Malformed as e:
            self.assertTrue(e.reason)

    @SETTINGS
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
            max_leaves=10,
        )
    )
    def test_any_json_body(self, body: Any) -> None:
        """Every JSON value arrives as the same JSON value."""
        call = envelope_call(envelope(body=body))
        if body is None:
            self.assertEqual(call.body, b"")
        elif isinstance(body, str):
            self.assertEqual(call.body.decode(), body)
        else:
            self.assertEqual(json.loads(call.body), body)

    @SETTINGS
    @given(st.text(max_size=40) | st.text("aZ0_-./%\\:~ \n", max_size=6))
    def test_any_function_name(self, name: str) -> None:
        """Whatever passes for a name is one path segment and nothing else."""
        try:
            function = envelope_call(envelope(name)).function
        except Malformed:
            return
        self.assertRegex(function, r"\A[A-Za-z0-9_.-]+\Z")
        self.assertNotIn("..", function)
