"""CloudEvents pass through as docs/cloudevents.md says, in either mode and either way."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.call import FunctionCall
from natsconnector.model.headers import Header, returned
from natsconnector.planning.calls import RawMessage
from natsconnector.planning.envelope import envelope_call, read_envelope

ATTRIBUTES: list[Header] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "1"),
    ("ce-source", "/caf%C3%A9"),
    ("ce-type", "order.made"),
]
STRUCTURED = "application/cloudevents+json"


class CloudEventsTests(SynchronousTestCase):
    """Over NATS in, over HTTP out."""

    def call(self, payload: bytes, *headers: Header, content_type: str | None = None) -> FunctionCall:
        message = RawMessage("orders.made", payload, headers)
        return message.call("f", call_id="", queued=False, timeout_s=None, content_type=content_type)

    def test_binary(self) -> None:
        """Attributes are headers on both sides, as they are; Content-Type goes along."""
        call = self.call(b'{"order":1}', *ATTRIBUTES, ("Content-Type", "application/json"))
        self.assertEqual((call.body, call.content_type), (b'{"order":1}', "application/json"))
        self.assertEqual([each for each in call.headers if each[0].startswith("ce-")], ATTRIBUTES)

    def test_type_of_data(self) -> None:
        """NATS's header for it stays a header; the type of the request is the publisher's or the function's."""
        call = self.call(b"{}", ("ce-datacontenttype", "application/json"))
        self.assertIsNone(call.content_type)
        self.assertIn(("ce-datacontenttype", "application/json"), call.headers)
        self.assertEqual(self.call(b"{}", content_type="text/json").content_type, "text/json")

    def test_structured(self) -> None:
        """The event is the body, and the content type says so."""
        event = json.dumps({"specversion": "1.0", "id": "1"}).encode()
        for headers, content_type in (([("content-type", STRUCTURED)], None), ([], STRUCTURED)):
            call = self.call(event, *headers, content_type=content_type)
            self.assertEqual((call.body, call.content_type), (event, STRUCTURED))

    def test_envelopes(self) -> None:
        """An envelope carries an event in either mode."""
        event = {"specversion": "1.0", "id": "1"}
        for params, content_type in (
            ({"body": event, "headers": dict(ATTRIBUTES)}, "application/json"),
            ({"body": event, "content_type": STRUCTURED}, STRUCTURED),
        ):
            call = envelope_call(*read_envelope(json.dumps({"function": "f", "params": params}).encode()))
            self.assertEqual((json.loads(call.body), call.content_type), (event, content_type))
            found = [each for each in call.headers if each[0].startswith("ce-")]
            self.assertEqual(found, ATTRIBUTES if "headers" in params else [])

    def test_answers(self) -> None:
        """A function may answer with an event."""
        headers = [*ATTRIBUTES, ("Content-Type", "application/json")]
        self.assertEqual(list(returned(headers)), headers)
