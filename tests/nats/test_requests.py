"""Requests and their replies."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import (
    BadHeader,
    BadSubject,
    ConnectionLost,
    MaxPayloadExceeded,
    NoResponders,
    PermissionsViolation,
    RequestTimeout,
)
from tests.nats.fakes import World


class RequestTests(SynchronousTestCase):
    """S14: requests and their ends."""

    def setUp(self) -> None:
        self.world = World()
        self.peer = self.world.connected()
        self.requests = self.world.client._session.requests

    def ask(self, subject: str = "svc", **options: Any) -> tuple[Any, str]:
        """A request and the reply subject it went out with."""
        self.peer.heard()
        asked = self.world.client.request(subject, b"?", **options)
        return asked, self.peer.heard().rsplit(b"PUB ", 1)[1].split(b" ")[1].decode()

    def reply(self, inbox: str, payload: bytes = b"!") -> None:
        """Answer there."""
        self.peer.say(b"MSG %b 1 %d\r\n%b\r\n" % (inbox.encode(), len(payload), payload))

    def test_reply(self) -> None:
        """One inbox subscription serves all requests; the first reply is the one."""
        first, inbox = self.ask()
        self.assertRegex(inbox, r"\A_INBOX\.[0-9a-f]{32}\.[0-9a-f]{16}\Z")
        second, other = self.ask()
        self.assertNotEqual(inbox, other)
        self.assertEqual(inbox.rsplit(".", 1)[0], other.rsplit(".", 1)[0])
        self.reply(other, b"2")
        self.assertNoResult(first)
        self.reply(inbox, b"1")
        self.reply(inbox, b"again")
        self.assertEqual(self.successResultOf(first).payload, b"1")
        self.assertEqual(self.successResultOf(second).payload, b"2")
        self.assertEqual(len(self.requests), 0)
        self.assertEqual(len(self.world.clock.getDelayedCalls()), 1)

    def test_wire(self) -> None:
        """The inbox is subscribed to before the first request goes out, headers and all."""
        self.world.client.request("svc", b"?", headers={"A": "1"}).addErrback(lambda _: None)
        sub, hpub = self.peer.heard().split(b"\r\n", 1)
        self.assertRegex(sub, rb"\ASUB _INBOX\.[0-9a-f]{32}\.\* 1\Z")
        self.assertRegex(hpub, rb"\AHPUB svc _INBOX\.\S+ 18 19\r\n")

    def test_prefix(self) -> None:
        """The inbox prefix can be chosen."""
        world = World(inbox_prefix="_INBOX_me")
        peer = world.connected()
        world.client.request("svc").addErrback(lambda _: None)
        self.assertTrue(peer.heard().startswith(b"SUB _INBOX_me."))

    def test_no_responders(self) -> None:
        """An inline status 503 without payload fails at once, as old and new servers send it."""
        for block in (b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 503\r\nNats-Subject: svc\r\n\r\n"):
            asked, inbox = self.ask()
            size = len(block)
            self.peer.say(b"HMSG %b 1 %d %d\r\n%b\r\n" % (inbox.encode(), size, size, block))
            self.assertEqual(self.failureResultOf(asked, NoResponders).value.subject, "svc")

    def test_header_named_status(self) -> None:
        """A responder's own header of that name is an answer, and so is a 503 with a payload."""
        for block, payload in ((b"NATS/1.0\r\nStatus: 503\r\n\r\n", b""), (b"NATS/1.0 503\r\n\r\n", b"x")):
            asked, inbox = self.ask()
            size = len(block)
            self.peer.say(b"HMSG %b 1 %d %d\r\n%b%b\r\n" % (inbox.encode(), size, size + len(payload), block, payload))
            self.assertEqual(self.successResultOf(asked).payload, payload)

    def test_timeout(self) -> None:
        """No reply in time; a late one is dropped."""
        asked, inbox = self.ask(timeout_s=3)
        self.world.clock.advance(2.9)
        self.assertNoResult(asked)
        self.world.clock.advance(0.1)
        error = self.failureResultOf(asked, RequestTimeout).value
        self.assertEqual(str(error), "no reply on 'svc' within 3 s")
        self.assertEqual(len(self.requests), 0)
        self.reply(inbox)

    def test_cancel(self) -> None:
        """A cancelled request is forgotten, and its timer with it."""
        asked, inbox = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(len(self.requests), 0)
        self.assertEqual(len(self.world.clock.getDelayedCalls()), 1)
        self.reply(inbox)

    def test_unknown_token(self) -> None:
        """A reply to anything but the very token completes nothing, also when one request is open."""
        asked, inbox = self.ask()
        self.reply(inbox[:-1])
        self.reply(inbox + ".x")
        self.reply("elsewhere")
        head, token = inbox.rsplit(".", 1)
        self.reply("x" * len(head) + "." + token)
        self.assertNoResult(asked)
        asked.addErrback(lambda _: None)

    def test_connection_lost(self) -> None:
        """The end of the connection fails requests at once: the reply could not come any more."""
        asked, _ = self.ask()
        self.peer.drop()
        self.failureResultOf(asked, ConnectionLost)
        self.assertEqual(len(self.requests), 0)

    def test_while_away(self) -> None:
        """A request made without a connection goes out with the next one."""
        self.peer.drop()
        asked = self.world.client.request("svc", timeout_s=50)
        self.world.clock.advance(1)
        self.peer = self.world.peer()
        inbox = self.peer.log_in().split(b"PUB svc ")[1].split(b" ")[0].decode()
        self.reply(inbox)
        self.successResultOf(asked)

    def test_permissions(self) -> None:
        """A request that may not be published, or answered, fails at once; others wait on."""
        refused, _ = self.ask("forbidden")
        other, _ = self.ask("svc")
        self.peer.say(b"-ERR 'Permissions Violation for Publish to \"forbidden\"'\r\n")
        self.failureResultOf(refused, PermissionsViolation)
        self.assertNoResult(other)
        inbox = self.requests._inbox.encode() + b"*"
        self.peer.say(b"-ERR 'Permissions Violation for Subscription to \"%b\"'\r\n" % inbox)
        self.failureResultOf(other, PermissionsViolation)
        self.assertTrue(self.world.client.ready)

    def test_bad_arguments(self) -> None:
        """Whatever publish would raise, the Deferred fails with."""
        self.failureResultOf(self.world.client.request("a b"), BadSubject)
        self.failureResultOf(self.world.client.request("a", headers={"": "x"}), BadHeader)
        self.failureResultOf(self.world.client.request("a", b"x" * (1 << 21)), MaxPayloadExceeded)
        self.assertEqual(len(self.requests), 0)

    def test_failing_all_at_once(self) -> None:
        """A request whose end cancels another one, or asks anew, disturbs nothing."""
        first, _ = self.ask()
        second, _ = self.ask()
        first.addErrback(lambda _: second.cancel())
        self.peer.drop()
        self.failureResultOf(second, CancelledError)


class RequestTimeoutTests(SynchronousTestCase):
    """Time-outs that say why."""

    def test_not_connected(self) -> None:
        """Without a connection the reason for that is said."""
        world = World()
        asked = world.client.request("svc", timeout_s=1)
        world.clock.advance(1)
        self.assertIn("not connected: ", str(self.failureResultOf(asked, RequestTimeout).value))
        world.client.start()
        world.peer().refuse()
        asked = world.client.request("svc", timeout_s=1)
        world.clock.pump([0.04] * 26)
        error = self.failureResultOf(asked, RequestTimeout).value
        self.assertIn("not connected: cannot connect to NATS 10.0.0.1:4222: Connection was refused", str(error))

    def test_connected(self) -> None:
        """With one it is just no reply."""
        world = World()
        world.connected()
        asked = world.client.request("svc", timeout_s=1)
        world.clock.advance(1)
        error = self.failureResultOf(asked, RequestTimeout).value
        self.assertEqual(str(error), "no reply on 'svc' within 1 s")
        self.assertIsNone(error.not_connected)


class FirstRequestTests(SynchronousTestCase):
    """The first request and its inbox."""

    def test_no_responders_before_the_confirmation(self) -> None:
        """An answer may come before the PONG of the inbox, and counts."""
        world = World()
        peer = world.connected()
        peer.transport.confirms = False
        asked = world.client.request("svc")
        reply = peer.heard().rsplit(b"PUB svc ", 1)[1].split(b" ")[0]
        peer.say(b"HMSG %b 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n" % reply)
        self.failureResultOf(asked, NoResponders)
