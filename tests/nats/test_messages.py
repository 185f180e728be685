"""Looping over messages, answering them, and requests that many answer."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import (
    BadSubject,
    ClientClosed,
    Messages,
    Msg,
    NoReplySubject,
    NoResponders,
    PermissionsViolation,
    RequestTimeout,
    request_many,
)
from tests.nats.fakes import World


class WorldCase(SynchronousTestCase):
    """A client that is connected."""

    def setUp(self) -> None:
        self.world = World()
        self.client = self.world.client
        self.peer = self.world.connected()

    def say(self, payload: bytes, subject: str = "jobs", sid: int = 1) -> None:
        self.peer.say(b"MSG %b %d %d\r\n%b\r\n" % (subject.encode(), sid, len(payload), payload))


class RespondTests(WorldCase):
    """``msg.respond()``."""

    def test_respond(self) -> None:
        """To the reply subject, with headers; there has to be one, and the client open."""
        messages: list[Msg] = []
        self.client.subscribe("a", messages.append)
        self.peer.say(b"MSG a 1 r.1 0\r\n\r\nMSG a 1 0\r\n\r\n")
        self.peer.heard()
        asked, told = messages
        asked.respond(b"done", headers={"A": "1"})
        asked.respond()
        self.assertEqual(self.peer.heard(), b"HPUB r.1 18 22\r\nNATS/1.0\r\nA: 1\r\n\r\ndone\r\nPUB r.1 0\r\n\r\n")
        with self.assertRaises(NoReplySubject) as refused:
            told.respond(b"done")
        self.assertEqual(str(refused.exception), "the message on 'a' has no reply subject")
        self.client.close()
        self.assertRaises(ClientClosed, asked.respond)


class AsyncForTests(WorldCase):
    """``async for``."""

    def setUp(self) -> None:
        super().setUp()
        self.seen: list[bytes] = []
        self.steps: list[Deferred[None]] = []

    def loop(self, messages: Messages, *, waits: bool = False) -> Deferred[str]:
        """Note the payloads; ``waits`` for a step of the test after each."""

        async def loop() -> str:
            async for msg in messages:
                self.seen.append(msg.payload)
                if waits:
                    self.steps.append(Deferred())
                    await self.steps[-1]
            return "ended"

        return Deferred.fromCoroutine(loop())

    def test_order(self) -> None:
        """Those that wait, and those that come, in their order, until it is ended."""
        messages = self.client.messages("jobs", queue="q")
        self.assertEqual(self.peer.heard(), b"SUB jobs q 1\r\n")
        self.say(b"1")
        self.say(b"2")
        loop = self.loop(messages)
        self.assertEqual(self.seen, [b"1", b"2"])
        self.say(b"3")
        self.assertNoResult(loop)
        messages.subscription.unsubscribe()
        self.assertEqual(self.successResultOf(loop), "ended")
        self.assertEqual(self.seen, [b"1", b"2", b"3"])
        self.assertEqual(self.successResultOf(self.loop(messages)), "ended")

    def test_one_at_a_time(self) -> None:
        """The next message waits for the body of the loop; one that wakes the loop twice is one message."""
        loop = self.loop(self.client.messages("jobs"), waits=True)
        for payload in (b"1", b"2", b"3"):
            self.say(payload)
        self.assertEqual(self.seen, [b"1"])
        for number in (2, 3):
            self.steps[-1].callback(None)
            self.assertEqual(len(self.seen), number)
        self.client.close()
        self.steps[-1].callback(None)
        self.assertEqual(self.successResultOf(loop), "ended")

    def test_drain(self) -> None:
        """A drain waits until the loop has worked off what waits; then the loop ends."""
        loop = self.loop(self.client.messages("jobs"), waits=True)
        self.say(b"1")
        self.say(b"2")
        drained = self.client.drain()
        self.peer.heard()
        self.peer.say(b"PONG\r\n")
        self.steps[-1].callback(None)
        self.assertEqual(self.seen, [b"1", b"2"])
        self.assertNoResult(drained)
        self.assertTrue(self.client.ready)
        self.steps[-1].callback(None)
        self.assertEqual(self.successResultOf(loop), "ended")
        self.peer.heard()
        self.peer.say(b"PONG\r\n")
        self.assertFalse(self.client.ready)

    def test_drain_without_a_loop(self) -> None:
        """A drain does not wait for messages that nobody is going to take."""
        messages = self.client.messages("jobs")
        self.say(b"1")
        self.say(b"2")
        self.client.drain()
        self.peer.heard()
        self.peer.say(b"PONG\r\n")
        self.peer.heard()
        self.assertTrue(self.client.ready)
        messages.unsubscribe()
        self.peer.heard()
        self.peer.say(b"PONG\r\n")
        self.assertFalse(self.client.ready)

    def test_bounded(self) -> None:
        """What finds no room is dropped, counted, and told once for each time that the loop falls behind."""
        messages = self.client.messages("jobs", most=2)
        with capturedLogs() as logs:
            for number in range(5):
                self.say(b"%d" % number)
            self.assertEqual(messages.dropped, 3)
            self.loop(messages, waits=True)
            for _ in range(2):
                self.steps[-1].callback(None)
            self.assertEqual(self.seen, [b"0", b"1"])
            for number in range(5, 9):
                self.say(b"%d" % number)
            self.steps[-1].callback(None)
            self.assertEqual((self.seen, messages.dropped), ([b"0", b"1", b"5", b"6"], 4))
        self.assertEqual([event["pending"] for event in logs if event.get("event") == "messages_dropped"], [2, 2])
        small = self.client.messages("small", most_bytes=10)
        for size in (20, 5, 5):
            self.say(b"x" * size, "small", 2)
        self.assertEqual(small.dropped, 2)
        small.unsubscribe()
        self.assertEqual(small._bytes, 0)

    def test_left_early(self) -> None:
        """``async with`` ends the subscription, also where the loop is left or cancelled; nothing waits any more."""

        async def first() -> bytes:
            async with self.client.messages("jobs") as messages:
                async for msg in messages:
                    return msg.payload
            return b""

        self.peer.heard()
        found = Deferred.fromCoroutine(first())
        self.peer.heard()
        (subscription,) = self.client._session.subscriptions
        self.peer.say(b"MSG jobs 1 1\r\n1\r\nMSG jobs 1 1\r\n2\r\n")
        self.assertEqual(self.successResultOf(found), b"1")
        self.assertEqual(self.peer.heard(), b"UNSUB 1\r\n")
        self.assertEqual(subscription._running, 0)
        waiting = Deferred.fromCoroutine(first())
        self.peer.heard()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.peer.heard(), b"UNSUB 2\r\n")


class RequestManyTests(WorldCase):
    """``request_many``."""

    def ask(self, subject: str = "svc", **options: Any) -> tuple[Any, bytes]:
        """A request and its reply subject."""
        self.peer.heard()
        asked = self.client.request_many(subject, b"?", **options)
        self.sid = max(each.sid for each in self.client._session.subscriptions)
        return asked, self.peer.heard().rsplit(b"PUB ", 1)[1].split(b" ")[1]

    def reply(self, inbox: bytes, payload: bytes) -> None:
        self.say(payload, inbox.decode(), self.sid)

    def payloads(self, asked: Any) -> list[bytes]:
        """What came, after which nothing is left of the request."""
        found = [msg.payload for msg in self.successResultOf(asked)]
        self.peer.heard()
        self.assertEqual(list(self.client._session.subscriptions), [])
        self.assertEqual(len(self.world.clock.getDelayedCalls()), 1)
        self.assertEqual(self.client._session.refused_publishes._callbacks, {})
        return found

    def test_all_in_time(self) -> None:
        """Those that come until the time is over."""
        asked, inbox = self.ask(timeout_s=2)
        self.reply(inbox, b"1")
        self.world.clock.advance(1.9)
        self.reply(inbox, b"2")
        self.assertNoResult(asked)
        self.world.clock.advance(0.2)
        self.assertEqual(self.payloads(asked), [b"1", b"2"])
        self.reply(inbox, b"late")

    def test_ends(self) -> None:
        """By number, by size, by a pause, by a last one."""
        self.patch(request_many, "_MOST_BYTES", 10)
        asked, inbox = self.ask()
        for _ in range(2):
            self.assertNoResult(asked)
            self.reply(inbox, b"12345")
        self.assertEqual(len(self.payloads(asked)), 2)
        asked, inbox = self.ask(most=2)
        self.peer.say(b"MSG %b %d 0\r\n\r\n" % (inbox, self.sid) * 3)
        self.assertEqual(self.payloads(asked), [b"", b""])
        asked, inbox = self.ask(pause_s=0.5)
        self.world.clock.advance(1)
        for _ in range(3):
            self.assertNoResult(asked)
            self.reply(inbox, b"x")
            self.world.clock.advance(0.4)
        self.world.clock.advance(0.2)
        self.assertEqual(self.payloads(asked), [b"x"] * 3)
        asked, inbox = self.ask(is_last=lambda msg: msg.payload == b"end")
        self.reply(inbox, b"x")
        self.reply(inbox, b"end")
        self.assertEqual(self.payloads(asked), [b"x", b"end"])

    def test_nobody(self) -> None:
        """Nobody listens; nobody answers; and why."""
        asked, inbox = self.ask()
        self.peer.say(b"HMSG %b %d 16 16\r\nNATS/1.0 503\r\n\r\n\r\n" % (inbox, self.sid))
        self.failureResultOf(asked, NoResponders)
        asked, inbox = self.ask(timeout_s=2)
        self.world.clock.advance(2)
        self.failureResultOf(asked, RequestTimeout)
        self.peer.drop()
        asked = self.client.request_many("svc", timeout_s=0.01)
        self.world.clock.advance(0.02)
        self.assertIn("not connected", str(self.failureResultOf(asked, RequestTimeout).value))

    def test_refused(self) -> None:
        """The message, or the inbox."""
        asked, inbox = self.ask()
        self.peer.say(b"-ERR 'Permissions Violation for Publish to \"svc\"'\r\n")
        self.failureResultOf(asked, PermissionsViolation)
        self.peer.transport.confirms = False
        asked, inbox = self.ask()
        with capturedLogs() as logs:
            self.peer.say(b"-ERR 'Permissions Violation for Subscription to \"%b\"'\r\n" % inbox)
        self.failureResultOf(asked, PermissionsViolation)
        self.assertEqual([event for event in logs if event.get("event") == "subscription_refused"], [])
        self.peer.transport.confirms = True
        asked, inbox = self.ask(most=2)
        self.reply(inbox, b"1")
        self.peer.say(b"-ERR 'Permissions Violation for Publish to \"svc\"'\r\n")
        self.assertNoResult(asked)
        self.reply(inbox, b"2")
        self.payloads(asked)
        self.failureResultOf(self.client.request_many("a b"), BadSubject)
        self.assertEqual(list(self.client._session.subscriptions), [])

    def test_closed(self) -> None:
        """The end of the client ends it: with what there is, if there is anything."""
        asked, _ = self.ask()
        other, inbox = self.ask()
        self.reply(inbox, b"1")
        gone, _ = self.ask()
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.client.close()
        self.failureResultOf(asked, ClientClosed)
        self.assertEqual([msg.payload for msg in self.successResultOf(other)], [b"1"])
        self.failureResultOf(self.client.request_many("svc"), ClientClosed)
