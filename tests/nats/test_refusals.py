"""What a server confirms and what it refuses: subscriptions, inboxes, publishes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import (
    ClientClosed,
    PermissionsViolation,
    Subscription,
    SubscriptionEnded,
    SubscriptionRefused,
)
from natsconnector.nats.errors import server_error
from tests.nats import profile  # noqa: F401
from tests.nats.fakes import Peer, World

PONG = b"PONG\r\n"


def refusal(subject: str, more: str = "") -> bytes:
    """What a server says of a subscription that it does not allow."""
    return f"-ERR 'Permissions Violation for Subscription to \"{subject}\"{more}'\r\n".encode()


TOO_MANY = b"-ERR 'maximum subscriptions exceeded'\r\n"


class RefusalCase(SynchronousTestCase):
    """A client whose server answers only what the test answers."""

    def setUp(self) -> None:
        self.world = World()
        self.peer = self.world.connected()
        self.peer.transport.confirms = False
        self.changes: list[tuple[bool, bool]] = []

    def subscribe(self, subject: str = "a", queue: str | None = None) -> Subscription:
        """A subscription that is watched."""
        subscription = self.world.client.subscribe(subject, print, queue=queue)
        subscription.watch(lambda each: self.changes.append((each.confirmed, each.error is not None)))
        return subscription

    def reconnect(self) -> Peer:
        """Lose the connection and get another one, which answers nothing by itself."""
        self.peer.drop()
        self.world.clock.advance(1)
        peer = self.peer = self.world.peer()
        peer.transport.confirms = False
        peer.log_in()
        return peer

    def lines(self, logs: Any, *levels: LogLevel) -> list[str]:
        """What was logged at these levels."""
        return [event["log_format"] for event in logs if event["log_level"] in levels]


class ConfirmationTests(RefusalCase):
    """The server has taken it."""

    def test_confirmed(self) -> None:
        """A PING follows the SUB in one piece; its PONG is the confirmation."""
        subscription = self.subscribe()
        confirmed = subscription.when_confirmed()
        self.assertEqual(self.peer.heard(), b"SUB a 1\r\nPING\r\n")
        self.assertFalse(subscription.confirmed)
        self.assertNoResult(confirmed)
        self.peer.say(PONG)
        self.assertTrue(subscription.confirmed)
        self.successResultOf(confirmed)
        self.successResultOf(subscription.when_confirmed())
        self.assertEqual(self.changes, [(True, False)])

    def test_maximum(self) -> None:
        """A maximum number of messages is asked for together with the subscription."""
        self.subscribe().unsubscribe(3)
        self.assertEqual(self.peer.heard(), b"SUB a 1\r\nPING\r\nUNSUB 1 3\r\n")
        self.peer.drop()
        self.world.clock.advance(1)
        peer = self.world.peer()
        peer.transport.confirms = False
        self.assertEqual(peer.log_in(), b"SUB a 1\r\nUNSUB 1 3\r\nPING\r\nPING\r\n")

    def test_each_connection(self) -> None:
        """What one connection has confirmed is not confirmed on the next, until that has."""
        subscription = self.subscribe()
        self.peer.say(PONG)
        self.peer.drop()
        self.assertFalse(subscription.confirmed)
        confirmed = subscription.when_confirmed()
        self.world.clock.advance(1)
        peer = self.world.peer()
        peer.transport.confirms = False
        self.assertEqual(peer.log_in(), b"SUB a 1\r\nPING\r\nPING\r\n")
        self.assertFalse(subscription.confirmed)
        peer.say(PONG)
        self.successResultOf(confirmed)
        self.assertEqual(self.changes, [(True, False), (False, False), (True, False)])

    def test_answers_of_an_old_connection(self) -> None:
        """A PONG that was still owed confirms nothing on the next connection."""
        subscription = self.subscribe()
        self.reconnect()
        self.assertFalse(subscription.confirmed)
        self.peer.say(PONG)
        self.assertTrue(subscription.confirmed)

    def test_ended(self) -> None:
        """Who waits for what ends is told."""
        subscription = self.subscribe()
        confirmed = subscription.when_confirmed()
        subscription.unsubscribe()
        self.failureResultOf(confirmed, SubscriptionEnded)
        self.failureResultOf(subscription.when_confirmed(), SubscriptionEnded)
        self.peer.say(PONG)
        self.assertFalse(subscription.confirmed)
        confirmed = self.subscribe().when_confirmed()
        self.world.client.close()
        self.failureResultOf(confirmed, ClientClosed)
        self.peer.drop()

    def test_watching(self) -> None:
        """A watcher that fails harms nobody, one that was taken away hears nothing."""
        subscription = self.subscribe()
        subscription.watch(lambda _: 1 // 0)
        unwatch = subscription.watch(lambda _: self.changes.append((False, False)))
        unwatch()
        self.peer.say(PONG)
        self.assertEqual(self.changes, [(True, False)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RefusedSubscriptionTests(RefusalCase):
    """The server does not take it, now."""

    def test_tried_again(self) -> None:
        """It is asked for again with growing pauses on the living connection, until the server takes it."""
        with capturedLogs() as logs:
            subscription = self.subscribe(queue="q")
            confirmed = subscription.when_confirmed()
            self.peer.heard()
            self.peer.say(refusal("a", ' using queue "q"') + PONG)
            for ceiling_s in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
                self.assertIsInstance(subscription.error, PermissionsViolation)
                self.assertFalse(subscription.confirmed)
                self.world.clock.advance(ceiling_s * 0.49)
                self.assertNotIn(b"SUB", self.peer.heard())
                self.world.clock.advance(ceiling_s * 0.52)
                self.assertIn(b"SUB a q 1\r\nPING\r\n", self.peer.heard())
                self.peer.say(refusal("a", ' using queue "q"') + PONG * 2)
            self.assertNoResult(confirmed)
            self.world.clock.advance(30)
            self.peer.say(PONG * 2)
            self.successResultOf(confirmed)
            self.assertIsNone(subscription.error)
        self.assertEqual(self.changes[-1], (True, False))
        self.assertEqual(len(self.lines(logs, LogLevel.error)), 2)  # at once, and after more than a minute
        self.assertEqual(len([line for line in self.lines(logs, LogLevel.info) if "again" in line]), 1)
        self.assertEqual(self.lines(logs, LogLevel.warn), [])
        self.peer.heard()
        self.world.clock.advance(20)
        self.assertNotIn(b"SUB", self.peer.heard())

    def test_the_pause_begins_anew(self) -> None:
        """What has worked meanwhile is asked for again soon."""
        subscription = self.subscribe()
        for _ in range(2):
            self.peer.say(refusal("a") + PONG)
            for _ in range(5):
                self.world.clock.advance(30)
                self.peer.say(refusal("a") + PONG * 3)
            self.world.clock.advance(30)
            self.peer.say(PONG * 3)
            self.assertTrue(subscription.confirmed)
            self.peer.say(refusal("a", ' (sid "1")'))
            self.peer.heard()
            self.world.clock.advance(0.5)
            self.assertIn(b"SUB a 1\r\n", self.peer.heard())

    def test_told_rarely(self) -> None:
        """A refusal that lasts a day is told some ten times, not thousands."""
        with capturedLogs() as logs:
            self.subscribe()
            self.peer.say(refusal("a") + PONG)
            for _ in range(24 * 60):
                self.world.clock.advance(60)
                self.peer.say(refusal("a") + PONG * 5)
        self.assertTrue(self.world.client.ready)
        self.assertTrue(4 < len(self.lines(logs, LogLevel.error, LogLevel.warn)) < 16)

    def test_new_connection(self) -> None:
        """A new connection is asked at once; until it has answered the old reason stands."""
        subscription = self.subscribe()
        self.peer.say(refusal("a") + PONG)
        self.peer.drop()
        self.world.clock.advance(1)
        peer = self.world.peer()
        peer.transport.confirms = False
        self.assertEqual(peer.log_in(), b"SUB a 1\r\nPING\r\nPING\r\n")
        self.assertIsNotNone(subscription.error)
        peer.say(PONG * 2)
        self.assertTrue(subscription.confirmed)
        self.assertIsNone(subscription.error)
        self.world.clock.advance(10)
        self.assertEqual(peer.heard(), b"")

    def test_revoked(self) -> None:
        """A right that is taken back makes it refused again; the server names the subscription."""
        first, second = self.subscribe(), self.subscribe()
        self.peer.say(PONG * 2)
        self.peer.heard()
        self.peer.say(refusal("a", ' (sid "2")'))
        self.assertEqual((first.confirmed, second.confirmed), (True, False))
        self.assertIsInstance(second.error, PermissionsViolation)
        self.world.clock.advance(0.5)
        self.assertEqual(self.peer.heard(), b"SUB a 2\r\nPING\r\n")
        self.peer.say(PONG)
        self.assertTrue(second.confirmed)

    def test_revoked_before_the_answer(self) -> None:
        """A right that is taken back between SUB and PONG is not there, whatever the PONG seems to say."""
        subscription = self.subscribe()
        self.peer.say(refusal("a", ' (sid "1")') + PONG)
        self.assertFalse(subscription.confirmed)
        self.world.clock.advance(0.5)
        self.peer.say(PONG)
        self.assertTrue(subscription.confirmed)

    def test_revoked_without_sid(self) -> None:
        """Where the server does not name it, the one that had been taken is meant."""
        subscription = self.subscribe()
        self.peer.say(PONG)
        self.peer.say(refusal("a"))
        self.assertFalse(subscription.confirmed)

    def test_text_without_a_subject(self) -> None:
        """The order of answers tells which subscription a refusal without a name is about."""
        subscriptions = [self.subscribe(subject) for subject in "abcd"]
        self.peer.heard()
        self.peer.say(PONG + TOO_MANY + PONG + PONG + TOO_MANY + PONG)
        self.assertEqual([each.confirmed for each in subscriptions], [True, False, True, False])
        self.assertIsInstance(subscriptions[1].error, SubscriptionRefused)
        self.world.clock.advance(0.5)
        self.assertEqual(self.peer.heard(), b"SUB b 2\r\nPING\r\nSUB d 4\r\nPING\r\n")
        self.peer.say(PONG + TOO_MANY + PONG)
        self.assertEqual([each.confirmed for each in subscriptions], [True, True, True, False])

    def test_twins(self) -> None:
        """Of two that cannot be told apart each refusal is that of one."""
        first, second = self.subscribe(), self.subscribe()
        self.peer.say(PONG + refusal("a") + PONG)
        self.assertEqual((first.confirmed, second.confirmed), (True, False))
        self.peer.say(refusal("z") + TOO_MANY)  # of none
        self.assertEqual((first.confirmed, second.confirmed), (True, False))

    def test_over(self) -> None:
        """What has ended is not asked for again, and no timer stays."""
        ended, drained, closed = (self.subscribe(subject) for subject in "abc")
        self.peer.say(b"".join(refusal(subject) + PONG for subject in "abc"))
        ended.unsubscribe()
        draining = drained.drain()
        self.peer.say(PONG)
        self.successResultOf(draining)
        self.peer.heard()
        self.world.clock.advance(0.5)
        self.assertEqual(self.peer.heard(), b"SUB c 3\r\nPING\r\n")
        self.peer.say(refusal("c") + PONG)
        self.world.client.close()
        self.peer.drop()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
        self.assertFalse(closed.confirmed)

    def test_leaving(self) -> None:
        """A server that is being left is not asked again; the next one is."""
        self.subscribe()
        self.peer.say(refusal("a") + PONG)
        self.peer.heard()
        self.world.client.force_reconnect()
        self.world.clock.advance(1)
        self.assertNotIn(b"SUB a", self.peer.heard())

    def test_in_a_callback(self) -> None:
        """A watcher may end the subscription, or the client."""
        for act in (Subscription.unsubscribe, lambda _: self.world.client.close()):
            self.setUp()
            self.subscribe().watch(act)
            self.peer.say(refusal("a") + PONG)
            self.world.client.close()
            self.peer.drop()
            self.assertEqual(self.world.clock.getDelayedCalls(), [])


class RefusedInboxTests(RefusalCase):
    """Requests whose replies cannot come."""

    def ask(self) -> tuple[Any, str]:
        """A request, and the subject of its inbox."""
        asked = self.world.client.request("svc")
        return asked, self.world.client._session.requests._inbox + "*"

    def test_refused(self) -> None:
        """Requests fail at once, with the reason, and are not sent; when the right is there they work again."""
        asked, inbox = self.ask()
        self.assertIn(b"PUB svc", self.peer.heard())
        self.peer.say(refusal(inbox) + PONG)
        self.failureResultOf(asked, PermissionsViolation)
        asked, _ = self.ask()
        self.failureResultOf(asked, PermissionsViolation)
        self.assertEqual(self.peer.heard(), b"")
        self.world.clock.advance(0.5)
        self.peer.say(PONG)
        asked, _ = self.ask()
        reply = self.peer.heard().rsplit(b"PUB svc ", 1)[1].split(b" ")[0]
        self.peer.say(b"MSG %b 1 2\r\nhi\r\n" % reply)
        self.assertEqual(self.successResultOf(asked).payload, b"hi")

    def test_revoked(self) -> None:
        """Open requests fail when the right is taken back."""
        asked, inbox = self.ask()
        self.peer.say(PONG)
        self.assertNoResult(asked)
        self.peer.say(refusal(inbox, ' (sid "1")'))
        self.failureResultOf(asked, PermissionsViolation)

    def test_too_many(self) -> None:
        """A limit of subscriptions that hits the inbox is as clear."""
        asked, _ = self.ask()
        self.peer.say(TOO_MANY + PONG)
        self.failureResultOf(asked, SubscriptionRefused)


class RefusedPublishTests(RefusalCase):
    """Messages that a server does not take."""

    def refuse(self, *subjects: str) -> list[str]:
        """Have these refused; what is logged."""
        with capturedLogs() as logs:
            for subject in subjects:
                self.peer.say(f"-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n".encode())
        return [formatEvent(event) for event in logs if event["log_level"] is LogLevel.warn]

    def test_few_lines(self) -> None:
        """Thousands of them, whoever chose the subjects, give a few lines."""
        self.assertEqual(len(self.refuse(*(f"_INBOX.x{n}" for n in range(5000)))), 1)
        self.assertLess(len(self.refuse(*(f"invented{n}.x" for n in range(5000)))), 10)
        self.assertLess(len(self.refuse(*(f"invented{n}" for n in range(5000)))), 10)
        self.assertEqual(len(self.world.errors), 15000)

    def test_counted(self) -> None:
        """What goes on is told again after a while, with the number of those that were not."""
        self.assertNotIn("more", self.refuse("b.c")[0])
        self.assertEqual(self.refuse("b.c", "b.d", "b.e"), [])
        self.world.clock.advance(59)
        self.peer.say(PONG)
        self.world.clock.advance(1)
        (line,) = self.refuse("b.z")
        self.assertIn("b.z", line)
        self.assertIn("(and 3 more like it)", line)

    def test_kinds(self) -> None:
        """A new kind of subject is told at once, also when many others were: old ones are forgotten."""
        self.refuse(*(f"other{n}.x" for n in range(100)))
        for _ in range(70):
            self.world.clock.advance(10)
            self.peer.say(PONG * 3)
        self.assertEqual(len(self.refuse("$JS.ACK.S.C.1.1.1.1.0", "$JS.ACK.S.C.1.2.2.2.0", "$JS.API.INFO")), 2)

    def test_long_text(self) -> None:
        """A line has its bounds."""
        (line,) = self.refuse("x" * 4000)
        self.assertLess(len(line), 500)

    def test_watched(self) -> None:
        """Who publishes acks can see that one is refused."""
        seen: list[PermissionsViolation] = []
        unwatch = self.world.client.watch_refused_publishes(seen.append)
        self.refuse("$JS.ACK.S.C.1.1.1.1.0", "b")
        unwatch()
        self.refuse("c")
        self.assertEqual([each.subject for each in seen], ["$JS.ACK.S.C.1.1.1.1.0", "b"])

    def test_other_errors(self) -> None:
        """What a server reports again and again is counted, too."""
        with capturedLogs() as logs:
            for _ in range(1000):
                self.peer.say(b"-ERR 'something new'\r\n")
        self.assertEqual(len(self.lines(logs, LogLevel.warn)), 1)


class ServerErrorTests(SynchronousTestCase):
    """The texts of servers, as nats-server 2.15 writes them."""

    def test_violations(self) -> None:
        """Subject, queue group and sid are read, whatever characters are quoted in them."""
        for text, expected in [
            ('Subscription to "a"', ("subscription", "a", None, None)),
            ('Subscription to "q" using queue "w"', ("subscription", "q", "w", None)),
            ('Subscription to "a" (sid "1")', ("subscription", "a", None, 1)),
            ('Subscription to "q" using queue "w" (sid "3")', ("subscription", "q", "w", 3)),
            ('Subscription to "x.y\\"z\\\\k" using queue "q"', ("subscription", 'x.y"z\\k', "q", None)),
            (
                'Subscription to "ü.\\x01\\u200b\\U0010ffff\\xff\\a"',
                ("subscription", "ü.\1\u200b\U0010ffff\udcff\a", None, None),
            ),
            ('Publish to "\\"x\\\\y\\""', ("publish", '"x\\y"', None, None)),
        ]:
            error = server_error(f"Permissions Violation for {text}")
            assert isinstance(error, PermissionsViolation), text
            self.assertEqual((error.operation, error.subject, error.queue, error.sid), expected)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever a server says is an error, and none of ours."""
        for prefix in ("", "Permissions Violation for ", 'Permissions Violation for Publish to "', "Invalid Subject "):
            self.assertEqual(server_error(prefix + text).message, prefix + text)
