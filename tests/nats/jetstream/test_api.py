"""Tests of requests to the JetStream API."""

from __future__ import annotations

import base64
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import MaxPayloadExceeded, NoResponders, RequestTimeout
from natsconnector.nats.jetstream import InvalidAnswer, JetStream, JetStreamError, NoJetStream, PubAck, check_name
from tests.nats.jetstream.support import JetStreamPeer


class ApiCase(SynchronousTestCase):
    """A client and the server's end of its connection."""

    def setUp(self) -> None:
        self.server = JetStreamPeer()
        self.js = self.server.js

    def answered(self, asked: Deferred[Any], answer: object) -> Deferred[Any]:
        """``asked``, after its one request was answered so."""
        (heard,) = self.server.heard()
        self.server.answer(heard, answer)
        return asked


class RequestTests(ApiCase):
    """What goes out and what comes back."""

    def test_requests(self) -> None:
        """Each call has its subject and its body."""
        calls: list[tuple[Deferred[Any], str, Any]] = [
            (self.js.account(), "INFO", None),
            (self.js.stream_names("a.b"), "STREAM.NAMES", {"subject": "a.b"}),
            (self.js.stream("S"), "STREAM.INFO.S", None),
            (self.js.create_stream({"name": "S"}), "STREAM.CREATE.S", {"name": "S"}),
            (self.js.delete_stream("S"), "STREAM.DELETE.S", None),
            (self.js.consumer("S", "C"), "CONSUMER.INFO.S.C", None),
            (
                self.js.create_consumer("S", {"durable_name": "C"}),
                "CONSUMER.DURABLE.CREATE.S.C",
                {"stream_name": "S", "config": {"durable_name": "C"}},
            ),
            (self.js.delete_consumer("S", "C"), "CONSUMER.DELETE.S.C", None),
            (self.js.delete_message("S", 7), "STREAM.MSG.DELETE.S", {"seq": 7, "no_erase": True}),
        ]
        heard = self.server.heard()
        for (asked, subject, body), each in zip(calls, heard, strict=True):
            self.assertEqual(each.subject, f"$JS.API.{subject}")
            self.assertEqual(each.fields if each.payload else None, body)
            self.server.answer(each, {"type": "x"})
            self.successResultOf(asked)

    def test_domain(self) -> None:
        """A domain is part of every subject."""
        JetStream(self.server.client, domain="hub").stream("S").addErrback(lambda _: None)
        self.assertEqual(self.server.heard()[0].subject, "$JS.hub.API.STREAM.INFO.S")

    def test_prefix(self) -> None:
        """The API of another account is below any subject; a domain beside it would be another place."""
        for prefix in ("$JS.acme.API", "$JS.acme.API.", "acme.js"):
            JetStream(self.server.client, prefix=prefix).stream("S").addErrback(lambda _: None)
            self.assertEqual(self.server.heard()[0].subject, f"{prefix.removesuffix('.')}.STREAM.INFO.S")
        self.assertRaises(ValueError, JetStream, self.server.client, prefix="a", domain="hub")
        for bad in ("", ".", "a.>", "a.*", "a b", "a..b", "x" * 5000):
            self.assertRaises(ValueError, JetStream, self.server.client, prefix=bad)
        self.assertIsNone(JetStream(self.server.client, prefix="$JS.acme.API").server_version)

    def test_names(self) -> None:
        """A name that would make another subject is refused before anything is sent."""
        for name in ("", "a.b", "a b", "a*", ">", "a/b", "a\\b", "a\tb", "a\r\nb", "a\0b", "x" * 256):
            self.assertRaises(ValueError, check_name, name)
            self.assertRaises(ValueError, self.js.stream, name)
            self.assertRaises(ValueError, JetStream, self.server.client, domain=name)
        self.assertEqual(self.server.heard(), [])

    def test_error(self) -> None:
        """An error of the server is told by its number; its text is for people."""
        error = {"error": {"code": 404, "err_code": 10059, "description": "stream not found"}}
        failure = self.failureResultOf(self.answered(self.js.stream("S"), error), JetStreamError)
        found: Any = failure.value
        self.assertEqual((found.code, found.err_code, str(found)), (404, 10059, "stream not found (10059)"))

    def test_odd_errors(self) -> None:
        """An error without its fields, or with fields of other kinds, is one all the same."""
        for error in ({}, {"code": "x", "err_code": None, "description": 5}):
            self.failureResultOf(self.answered(self.js.stream("S"), {"error": error}), JetStreamError)

    def test_no_jetstream(self) -> None:
        """Nobody answers: it is off, or has another domain. Both forms of the status."""
        for headers in ("", "Nats-Subject: $JS.API.STREAM.INFO.S\r\n"):
            asked = self.js.stream("S")
            (heard,) = self.server.heard()
            self.server.status("503", to=str(heard.reply), headers=headers)
            fault = self.failureResultOf(asked, NoJetStream).value
            self.assertEqual((fault.code, fault.err_code), (503, 10076))
            self.assertIn("JetStream is not enabled on this server, or has another domain", str(fault))

    def test_no_answer(self) -> None:
        """Silence ends after the time-out."""
        asked = self.js.stream("S")
        self.server.clock.advance(5)
        self.failureResultOf(asked, RequestTimeout)

    def test_no_json(self) -> None:
        """What is no answer of the API is told as such."""
        for answer in (b"", b"x", b"[]", b"[" * 100_000):
            self.failureResultOf(self.answered(self.js.stream("S"), answer), InvalidAnswer)

    def test_wrong_types(self) -> None:
        """JSON of another form is no answer either, whatever is wrong with it."""
        values: tuple[object, ...] = (5, "A", {}, [5], [None], ["A", {}], True, 1.5)
        for wrong in values:
            self.failureResultOf(self.answered(self.js.stream_names("x"), {"streams": wrong}), InvalidAnswer)
        for error in ({"code": "x", "err_code": 1e9, "description": 5}, {"err_code": True, "code": -1}):
            found: Any = self.failureResultOf(
                self.answered(self.js.stream("S"), {"error": error}), JetStreamError
            ).value
            self.assertEqual((found.code, found.err_code, found.description), (0, 0, "unknown error"))

    def test_null_list(self) -> None:
        """The server says null when there is no stream."""
        self.assertEqual(self.successResultOf(self.answered(self.js.stream_names("x"), {"streams": None})), [])
        asked = self.answered(self.js.stream_names("x"), {"streams": ["A", "B"]})
        self.assertEqual(self.successResultOf(asked), ["A", "B"])

    def test_names_in_answers(self) -> None:
        """What is no name is left out, and what comes twice is there once."""
        asked = self.answered(self.js.stream_names("x"), {"streams": ["A", "a.b", "http://a:b@c:99999/", "", "A"]})
        self.assertEqual(self.successResultOf(asked), ["A"])


class ServerVersionTests(SynchronousTestCase):
    """Whose version counts."""

    def test_own_domain(self) -> None:
        """That of the server we are connected to, when it is the one that does the work."""
        self.assertEqual(JetStreamPeer().js.server_version, "2.15.1")
        self.assertEqual(JetStreamPeer(domain="hub").js.server_version, None)

    def test_named_domain(self) -> None:
        """A domain that is the server's own is no other one."""
        server = JetStreamPeer()
        server.peer.say(b'INFO {"version":"2.15.1","headers":true,"max_payload":1048576,"domain":"hub"} \r\n')
        self.assertEqual(JetStream(server.client, domain="hub").server_version, "2.15.1")
        self.assertIsNone(JetStream(server.client, domain="leaf").server_version)


class PublishTests(ApiCase):
    """Messages that a stream has to store."""

    def test_stored(self) -> None:
        """The acknowledgements of both servers, and of a duplicate."""
        for answer, expected in [
            (b'{"stream":"S", "seq":1}', PubAck("S", 1, duplicate=False)),
            (b'{"stream":"S","domain":"hub","seq":2}', PubAck("S", 2, duplicate=False)),
            (b'{"stream":"S","seq":2,"duplicate": true}', PubAck("S", 2, duplicate=True)),
        ]:
            self.assertEqual(self.successResultOf(self.answered(self.js.publish("a", b"x"), answer)), expected)

    def test_not_stored(self) -> None:
        """An error counts, whatever else the answer says; an answer of somebody else is none."""
        error = {"error": {"code": 503, "err_code": 10077, "description": "maximum messages exceeded"}, "stream": "S"}
        self.failureResultOf(self.answered(self.js.publish("a"), {**error, "seq": 0}), JetStreamError)
        for answer in (b"", b"thanks", b"{}", b'{"stream":"S"}', b'{"stream":1,"seq":1}'):
            self.failureResultOf(self.answered(self.js.publish("a"), answer), InvalidAnswer)

    def test_no_stream(self) -> None:
        """Nobody listens: that is not the same as no JetStream."""
        asked = self.js.publish("a")
        (heard,) = self.server.heard()
        self.server.status("503", to=str(heard.reply))
        self.failureResultOf(asked, NoResponders)

    def test_too_large(self) -> None:
        """What the server does not take is not sent."""
        self.failureResultOf(self.js.publish("a", b"x" * (1 << 20), headers={"A": "b"}), MaxPayloadExceeded)
        self.assertEqual(self.server.heard(), [])


class StoredMessageTests(ApiCase):
    """Reading what lies in a stream."""

    def stored(self, sequence: int, payload: bytes = b"x", block: bytes = b"") -> dict[str, Any]:
        fields = {"subject": "a.b", "seq": sequence, "time": "2026-11-23T13:44:22.300614311Z"}
        if payload:
            fields["data"] = base64.b64encode(payload).decode()
        if block:
            fields["hdrs"] = base64.b64encode(block).decode()
        return {"message": fields}

    def test_message(self) -> None:
        """All of a message; the first at or after a sequence number is asked for."""
        asked = self.js.message("S", 5)
        (heard,) = self.server.heard()
        self.assertEqual((heard.subject, heard.fields), ("$JS.API.STREAM.MSG.GET.S", {"seq": 5, "next_by_subj": ">"}))
        self.server.answer(heard, self.stored(7, b"\xff", b"NATS/1.0\r\nA: b\r\nA: c\r\n\r\n"))
        found: Any = self.successResultOf(asked)
        self.assertEqual((found.subject, found.sequence, found.payload), ("a.b", 7, b"\xff"))
        self.assertEqual(list(found.headers), [("A", "b"), ("A", "c")])

    def test_bare_message(self) -> None:
        """Without payload and headers, which the server leaves out then."""
        found: Any = self.successResultOf(self.answered(self.js.message("S", 1), self.stored(1, b"")))
        self.assertEqual((found.payload, list(found.headers)), (b"", []))

    def test_none(self) -> None:
        """At the end of the stream there is none; other errors are errors."""
        none = {"error": {"code": 404, "err_code": 10037, "description": "no message found"}}
        self.assertIsNone(self.successResultOf(self.answered(self.js.message("S", 9), none)))
        for err_code, description in ((10059, "stream not found"), (10008, "system temporarily unavailable")):
            gone = {"error": {"code": 404, "err_code": err_code, "description": description}}
            self.failureResultOf(self.answered(self.js.message("S", 9), gone), JetStreamError)

    def test_no_message_in_it(self) -> None:
        """An answer without what was asked for."""
        for answer in ({}, {"message": None}, {"message": {"subject": "a"}}, {"message": {"seq": "x", "subject": "a"}},
                       {"message": {"seq": 1, "subject": "a", "data": "?"}},
                       {"message": {"seq": 1, "subject": "a", "hdrs": "\u20ac"}},
                       {"message": {"seq": 1, "subject": "a", "data": 5}}, {"message": {"seq": 0, "subject": "a"}},
                       {"message": {"seq": True, "subject": "a"}}, {"message": {"seq": 1, "subject": ["a"]}},
                       {"message": {"seq": 1.0, "subject": "a"}}, {"message": {"seq": 1, "subject": "a", "time": 5}},
                       {"message": {"seq": 1 << 64, "subject": "a"}}, {"message": 5}, {"message": [1]},
                       b'{"message": {"seq": 1e999, "subject": "a"}}'):  # fmt: skip
            self.failureResultOf(self.answered(self.js.message("S", 1), answer), InvalidAnswer)

    def test_all_messages(self) -> None:
        """From the first to the last, over the gaps that removed ones have left."""

        async def all_of_it() -> list[int]:
            return [found.sequence async for found in self.js.messages("S")]

        reading = Deferred.fromCoroutine(all_of_it())
        for asked_for, answer in [
            (1, self.stored(3)),
            (4, self.stored(4)),
            (5, {"error": {"code": 404, "err_code": 10037}}),
        ]:
            (heard,) = self.server.heard()
            self.assertEqual(heard.fields["seq"], asked_for)
            self.server.answer(heard, answer)
        self.assertEqual(self.successResultOf(reading), [3, 4])
