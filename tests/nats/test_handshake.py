"""The steps of a login, without a socket."""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats.auth import Credentials
from natsconnector.nats.handshake import Connect, Handshake, Login, Refuse, Step, Upgrade
from natsconnector.nats.wire.events import Err, Event, Pong
from tests.nats.issuing import NKey

TLS = cast(Any, "options")


class HandshakeTests(SynchronousTestCase):
    """INFO in; CONNECT, TLS or a refusal out."""

    def test_table(self) -> None:
        """What is wanted and what is offered decide."""
        required, available = {"tls_required": True}, {"tls_available": True}
        rows: list[tuple[bool, dict[str, Any], type[object]]] = [
            (False, {}, Connect),
            (False, available, Connect),
            (False, required, Upgrade),
            (True, {}, Refuse),
            (True, available, Upgrade),
            (True, required, Upgrade),
        ]
        for wanted, fields, expected in rows:
            handshake = Handshake(Login("me", None, TLS, "h", wants_tls=wanted))
            self.assertIsInstance(handshake.info(fields), expected, (wanted, fields))
            self.assertFalse(handshake.secure)

    def test_after_tls(self) -> None:
        """CONNECT follows the handshake, and says that TLS is up."""
        handshake = Handshake(Login("me", None, TLS, "h", wants_tls=True))
        handshake.info({"tls_required": True})
        self.assertEqual(self.connect(handshake.secured())["tls_required"], True)
        self.assertTrue(handshake.secure)

    def test_tls_first(self) -> None:
        """TLS is up before there is an INFO: nothing is said until it comes, and it asks for no second TLS."""
        handshake = Handshake(Login("me", None, TLS, "h", wants_tls=True, tls_first=True))
        self.assertIsNone(handshake.secured())
        self.connect(handshake.info({"tls_required": True}, [Pong()], more=True))

    def test_more_in_clear(self) -> None:
        """What came in clear behind INFO must not count after TLS; a refusal among it is the reason."""
        rows: list[tuple[list[Event], bool, str]] = [
            ([Pong()], False, "more than INFO"),
            ([], True, "more than INFO"),
            ([Err("maximum connections exceeded")], False, "maximum connections exceeded"),
        ]
        for behind, more, says in rows:
            handshake = Handshake(Login("me", None, TLS, "h"))
            step = handshake.info({"tls_required": True}, behind, more=more)
            assert isinstance(step, Refuse)
            self.assertIn(says, str(step.why))
            self.connect(Handshake(Login("me", None)).info({}, behind, more=more))

    def test_no_secret_is_shown(self) -> None:
        """The repr of the step with the credentials hides them; credentials that are of no use refuse."""
        step = Handshake(Login("me", Credentials(user="me", password="s3cret"))).info({})
        self.assertEqual(self.connect(step)["pass"], "s3cret")
        self.assertNotIn("s3cret", repr(step))
        step = Handshake(Login("me", Credentials(seed=NKey().seed))).info({})
        assert isinstance(step, Refuse)
        self.assertIn("no nonce", str(step.why))

    def connect(self, step: Step | None) -> dict[str, Any]:
        """The fields of CONNECT."""
        assert isinstance(step, Connect), step
        fields: dict[str, Any] = json.loads(step.frame.removeprefix(b"CONNECT "))
        return fields
