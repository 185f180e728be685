"""Tests of taking messages from a pull consumer."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import Msg, NatsError
from natsconnector.nats.jetstream import Position, PullConsumer
from tests.nats.jetstream.support import Heard, JetStreamPeer

PENDING = "Nats-Pending-Messages: 3\r\nNats-Pending-Bytes: 0\r\n"


class PullCase(SynchronousTestCase):
    """A consumer with room for three."""

    def setUp(self) -> None:
        self.server = JetStreamPeer()
        self.clock = self.server.clock
        self.room = 3
        self.delivered: list[Msg] = []
        self.lost: list[str] = []
        self.consumer = PullConsumer(
            self.clock, self.server.js, "S", "C",
            room=lambda: self.room, deliver=self._deliver, lost=self.lost.append,
        )  # fmt: skip
        self.warnings: list[str] = []
        observe: Any = self._observe
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def _deliver(self, msg: Msg, where: Position) -> None:
        self.room -= 1
        self.delivered.append(msg)

    def _observe(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn and event.get("event") in ("consumer_silent", "pull_ended"):
            self.warnings.append(str(event.get("reason", event["log_format"])))

    def start(self) -> Heard:
        """The first pull."""
        self.consumer.start()
        return self.pull()

    def pull(self) -> Heard:
        """The one pull that was made since the last look."""
        pulls = self.pulls()
        self.assertEqual(len(pulls), 1, pulls)
        return pulls[0]

    def pulls(self) -> list[Heard]:
        return [each for each in self.server.heard() if each.subject.startswith("$JS.API.")]

    def say(self, pull: Heard, text: str, headers: str = "") -> None:
        self.server.status(text, to=str(pull.reply), headers=headers)

    def settle(self) -> None:
        """There is room for one more."""
        self.room += 1
        self.consumer.pull()


class PullTests(PullCase):
    """What is asked for, and when."""

    def test_request(self) -> None:
        """As many as there is room for, with a heartbeat of at most half the time, in whole nanoseconds."""
        pull = self.start()
        self.assertEqual(pull.subject, "$JS.API.CONSUMER.MSG.NEXT.S.C")
        self.assertEqual(pull.fields, {"batch": 3, "expires": 30_000_000_000, "idle_heartbeat": 5_000_000_000})

    def test_at_once(self) -> None:
        """The first pull goes out behind its subscription, and does not wait for that to be confirmed."""
        self.server.peer.transport.confirms = False
        self.start()
        self.server.peer.drop()

    def test_no_room_at_all(self) -> None:
        """With less than no room, as when what was held back goes on, nothing is asked for."""
        self.room = -2
        self.consumer.start()
        self.assertEqual(self.pulls(), [])
        self.room = 1
        self.consumer.pull()
        self.assertEqual(self.pull().fields["batch"], 1)

    def test_cannot_be_published(self) -> None:
        """A pull that the client does not take is tried again after a pause, and told."""

        def full(*_: object, **__: object) -> None:
            raise NatsError("too much waits")

        patched = self.patch(self.server.client, "publish", full)
        self.consumer.start()
        self.assertEqual(self.warnings, ["cannot ask for messages: too much waits"])
        patched.restore()
        self.assertEqual(self.pulls(), [])
        self.clock.advance(0.1)
        self.assertEqual(self.pull().fields["batch"], 3)

    def test_one_pull_at_a_time(self) -> None:
        """While one waits there is no other; with its last message the next one asks for the room there is then."""
        pull = self.start()
        self.server.deliver(1, to=str(pull.reply))
        self.settle()
        self.server.deliver(2, to=str(pull.reply))
        self.assertEqual(self.pulls(), [])
        self.server.deliver(3, to=str(pull.reply))
        self.assertEqual(self.pull().fields["batch"], 1)
        self.assertEqual(len(self.delivered), 3)

    def test_no_room(self) -> None:
        """Without room nothing is asked for until something is settled."""
        pull = self.start()
        for sequence in (1, 2, 3):
            self.server.deliver(sequence, to=str(pull.reply))
        self.assertEqual(self.pulls(), [])
        self.clock.advance(120)
        self.assertEqual((self.pulls(), self.warnings), ([], []))
        self.settle()
        self.assertEqual(self.pull().fields["batch"], 1)

    def test_without_connection(self) -> None:
        """Nothing is asked for without a connection, and at once with the next one: the old pull is dead."""
        self.start()
        self.server.reconnect()
        self.assertEqual(self.pull().fields["batch"], 3)

    def test_reconnected_in_the_middle(self) -> None:
        """What the old connection still owed is not waited for."""
        pull = self.start()
        self.server.deliver(1, to=str(pull.reply))
        self.server.reconnect()
        self.assertEqual(self.pull().fields["batch"], 2)

    def test_reconnected_without_room(self) -> None:
        """Heartbeats are watched again on the new connection, also if there was no room at first."""
        pull = self.start()
        for sequence in (1, 2, 3):
            self.server.deliver(sequence, to=str(pull.reply))
        self.server.reconnect()
        self.assertEqual(self.pulls(), [])
        self.settle()
        self.pull()
        self.clock.advance(10)
        self.pull()

    def test_not_a_message(self) -> None:
        """What somebody else publishes to the inbox counts for nothing."""
        pull = self.start()
        for reply in ("", "elsewhere", "$JS.ACK.S.C.1"):
            self.server.say("function.call", b"x", to=str(pull.reply), reply=reply)
        self.assertEqual((self.delivered, self.pulls()), ([], []))

    def test_message_that_looks_like_a_status(self) -> None:
        """A publisher can give a message the header block of a status: it is a message all the same."""
        pull = self.start()
        for sequence, block in enumerate((b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 409 Consumer Deleted\r\n\r\n"), 1):
            self.server.deliver(sequence, b"", to=str(pull.reply), block=block)
        self.assertEqual((len(self.delivered), self.lost), (2, []))


class StatusTests(PullCase):
    """What the server says about a pull, in the exact bytes of 2.9 and 2.15."""

    def test_over(self) -> None:
        """A pull that is over, for no fault, is followed by the next at once."""
        pull = self.start()
        for text, headers in [
            ("408 Request Timeout", PENDING),
            ("408 Interest Expired", PENDING),
            ("408 Request Timeout", "Nats-Pending-Messages: -1\r\n"),
            ("408 Request Timeout", ""),
            ("409 Batch Completed", PENDING),
        ]:
            self.say(pull, text, headers)
            pull = self.pull()
            self.assertEqual(pull.fields["batch"], 3)
        self.assertEqual(self.lost, [])

    def test_again_later(self) -> None:
        """After a fault that passes the next pull waits, longer each time; it is told once."""
        pull = self.start()
        for delay_s in (0.1, 0.2, 0.4, 0.8):
            self.say(pull, "409 Exceeded MaxWaiting")
            self.clock.advance(delay_s * 0.49)
            self.assertEqual(self.pulls(), [])
            self.clock.advance(delay_s * 0.52)
            pull = self.pull()
        self.assertEqual(self.warnings, ["409 Exceeded MaxWaiting"])

    def test_well_again(self) -> None:
        """After a message, a heartbeat, a pull that ended well or a new connection a fault is told, and short, anew."""
        pull = self.start()
        for number, good in enumerate(("message", "100 Idle Heartbeat", "408 Request Timeout", "connection", "")):
            for delay_s in (0.1, 0.2):
                self.say(pull, "409 Exceeded MaxWaiting")
                self.clock.advance(delay_s * 0.49)
                self.assertEqual(self.pulls(), [], good)
                self.clock.advance(delay_s * 0.52)
                pull = self.pull()
            self.assertEqual(len(self.warnings), number + 1, good)
            if good == "message":
                self.server.deliver(1, to=str(pull.reply))
                self.room = 3
            elif good == "connection":
                self.server.reconnect()
                self.warnings = [each for each in self.warnings if each == "409 Exceeded MaxWaiting"]
                pull = self.pull()
            elif good:
                self.say(pull, good)
                pull = self.pull() if good.startswith("408") else pull

    def test_reconnected_in_a_pause(self) -> None:
        """A pause ends with its connection: the next one is asked at once, and once."""
        pull = self.start()
        for delay_s in (0.1, 0.2, 0.4, 0.8):
            self.say(pull, "409 Exceeded MaxWaiting")
            self.clock.advance(delay_s)
            pull = self.pull()
        self.say(pull, "409 Exceeded MaxWaiting")
        self.server.reconnect()
        self.pull()
        self.clock.advance(2)
        self.assertEqual(self.pulls(), [])

    def test_another_fault(self) -> None:
        """One that differs from the last is told."""
        pull = self.start()
        faults = ["409 Server Shutdown", "409 Leadership Change", "409 Server Shutdown"]
        for fault in faults:
            self.say(pull, fault)
            self.clock.advance(1)
            pull = self.pull()
        self.assertEqual(self.warnings, faults)

    def test_again_later_for_ever(self) -> None:
        """However often that happens, the wait stays bounded."""
        pull = self.start()
        for _ in range(1100):
            self.say(pull, "409 Exceeded MaxWaiting")
            self.clock.advance(10)
            self.server.peer.say(b"PONG\r\n" * 3)  # the client looks now and then whether the server lives
            pull = self.pull()

    def test_each_fault_that_passes(self) -> None:
        """Leader changes, shutdowns and the others end the pull, not the consumer; a heartbeat makes all well again."""
        pull = self.start()
        for text, headers in [
            ("409 Leadership Change", ""),
            ("409 Server Shutdown", PENDING),
            ("409 Exceeded MaxAckPending", ""),
            ("409 Exceeded MaxRequestMaxBytes of 100", ""),
            ("404 No Messages", ""),
        ]:
            self.say(pull, text, headers)
            self.clock.advance(0.1)
            pull = self.pull()
            self.say(pull, "100 Idle Heartbeat", "Nats-Last-Consumer: 0\r\nNats-Last-Stream: 0\r\n")
        self.assertEqual((self.lost, len(self.warnings)), ([], 5))

    def test_lost(self) -> None:
        """What cannot pass ends the consumer, with the reason."""
        for text, headers, says in [
            ("409 Consumer Deleted", "", "409 Consumer Deleted"),
            ("409 Consumer is push based", "", "409 Consumer is push based"),
            ("400 Bad Request - Priority Group missing", "", "Priority Group missing"),
            ("423 Nats-Pin-Id mismatch", "", "423"),
            ("503", "Nats-Subject: $JS.API.CONSUMER.MSG.NEXT.S.C\r\n", "nobody answers"),
            ("503", "", "nobody answers"),
            ("499 Something New", "", "499 Something New"),
        ]:
            self.setUp()
            self.say(self.start(), text, headers)
            self.assertEqual(len(self.lost), 1, text)
            self.assertIn(says, self.lost[0])
            self.server.heard()
            self.assertEqual(list(self.server.client._session.subscriptions), [], text)
            self.clock.advance(60)
            self.assertEqual((self.pulls(), len(self.lost)), ([], 1))

    def test_pinned(self) -> None:
        """Pulls name the group, and the pin once there is one; when another client has it the next pull waits."""
        told: list[int] = []
        self.consumer = PullConsumer(
            self.clock, self.server.js, "S", "C", room=lambda: self.room, deliver=self._deliver, lost=self.lost.append,
            group="g", pinned=lambda: told.append(len(self.delivered)),
        )  # fmt: skip
        pull = self.start()
        self.assertEqual((pull.fields["group"], "id" in pull.fields), ("g", False))
        self.assertAlmostEqual(pull.fields["expires"] / 1e9, 10)
        for pin in ("one", "one", "two"):
            block = f"NATS/1.0\r\nNats-Pin-Id: {pin}\r\n\r\n".encode()
            self.server.deliver(len(self.delivered) + 1, to=str(pull.reply), block=block)
        self.assertEqual(told, [0, 2])
        self.settle()
        pull = self.pull()
        self.assertEqual((pull.fields["group"], pull.fields["id"]), ("g", "two"))
        self.say(pull, "423 Nats-Wrong-Pin-Id")
        self.assertNotIn("id", self.pull().fields)
        self.assertEqual((self.lost, self.warnings), ([], []))
        self.consumer.stop()
        self.assertEqual(self.pulls(), [], "it has no pin to give back")

    def test_small_batches(self) -> None:
        """A limit of the consumer is kept to."""
        self.say(self.start(), "409 Exceeded MaxRequestBatch of 2")
        pull = self.pull()
        self.assertEqual(pull.fields["batch"], 2)
        self.server.deliver(1, to=str(pull.reply))
        self.server.deliver(2, to=str(pull.reply))
        self.assertEqual(self.pull().fields["batch"], 1)
        for text, batch in (("1", 1), ("999999999", 3)):
            self.setUp()
            self.say(self.start(), f"409 Exceeded MaxRequestBatch of {text}")
            self.assertEqual(self.pull().fields["batch"], batch)
        self.setUp()
        self.say(self.start(), "409 Exceeded MaxRequestBatch of 1000000000")
        self.assertIn("no pull of a useful size", self.lost[0])

    def test_short_pulls(self) -> None:
        """So is that of time, with heartbeats that fit."""
        pull = self.start()
        for expires_s in (15, 7.5, 3.75, 1.875):
            self.say(pull, "409 Exceeded MaxRequestExpires of 2s")
            pull = self.pull()
            self.assertEqual(pull.fields["expires"], expires_s * 1e9)
            self.assertLessEqual(2 * pull.fields["idle_heartbeat"], pull.fields["expires"])
        self.assertEqual(self.lost, [])

    def test_limits_of_no_use(self) -> None:
        """A limit that leaves nothing is told, not tried for ever."""
        self.say(self.start(), "409 Exceeded MaxRequestBatch of 0")
        self.assertIn("no pull of a useful size: batch of 0", self.lost[0])
        self.setUp()
        pull = self.start()
        for _ in range(10):
            self.say(pull, "409 Exceeded MaxRequestExpires of 1ms")
            if self.lost:
                break
            pull = self.pull()
        self.assertIn("expires of 1ms", self.lost[0])

    def test_status_of_an_old_pull(self) -> None:
        """The end of a pull that was given up is not that of the one that waits."""
        old = self.start()
        self.clock.advance(10)
        new = self.pull()
        self.assertNotEqual(old.reply, new.reply)
        self.say(old, "408 Request Timeout", PENDING)
        self.say(old, "409 Consumer Deleted")
        self.assertEqual((self.pulls(), self.lost), ([], []))

    def test_late_message_of_an_old_pull(self) -> None:
        """A message that comes when no pull waits is none of those that the next pull asks for."""
        pull = self.start()
        self.say(pull, "409 Leadership Change")
        self.server.deliver(1, to=str(pull.reply))
        self.settle()
        self.clock.advance(0.1)
        pull = self.pull()
        self.assertEqual(pull.fields["batch"], 3)
        for sequence in (2, 3, 4):
            self.server.deliver(sequence, to=str(pull.reply))
        self.settle()
        self.assertEqual(self.pull().fields["batch"], 1)

    def test_status_for_a_stranger(self) -> None:
        """A status that comes as a message of another subject says nothing about our pull."""
        pull = self.start()
        self.server.say("elsewhere", b"", to=str(pull.reply), block=b"NATS/1.0 409 Consumer Deleted\r\n\r\n")
        self.assertEqual(self.lost, [])


class RefusedTests(PullCase):
    """Rights that are missing."""

    def test_pull(self) -> None:
        """A pull that may not be published is tried again, with growing pauses, and told once."""
        pull = self.start()
        for delay_s in (0.1, 0.2, 0.4):
            self.server.peer.say(f"-ERR 'Permissions Violation for Publish to \"{pull.subject}\"'\r\n".encode())
            self.clock.advance(delay_s * 0.49)
            self.assertEqual(self.pulls(), [])
            self.clock.advance(delay_s * 0.52)
            pull = self.pull()
        self.assertEqual(len(self.warnings), 1)
        self.assertIn("MSG.NEXT", self.warnings[0])
        self.assertEqual(self.lost, [])

    def test_other_publishes(self) -> None:
        """What else may not be published is no concern of the pull."""
        self.start()
        self.server.peer.say(b"-ERR 'Permissions Violation for Publish to \"elsewhere\"'\r\n")
        self.clock.advance(9)
        self.assertEqual((self.pulls(), self.warnings), ([], []))

    def test_inbox(self) -> None:
        """While its inbox is refused there is no pull; the next one comes as soon as the inbox is there."""
        subject = str(self.start().reply).rpartition(".")[0] + ".*"
        self.server.peer.say(f'-ERR \'Permissions Violation for Subscription to "{subject}" (sid "1")\'\r\n'.encode())
        self.consumer.pull()
        self.assertEqual(self.pulls(), [])
        self.clock.advance(0.5)
        self.assertEqual(self.pull().fields["batch"], 3)
        self.assertEqual(self.lost, [])


class HeartbeatTests(PullCase):
    """The server that has forgotten the pull."""

    def test_heartbeats(self) -> None:
        """While they come the pull is left alone."""
        pull = self.start()
        for _ in range(20):
            self.clock.advance(5)
            self.say(pull, "100 Idle Heartbeat")
        self.assertEqual((self.pulls(), self.warnings), ([], []))

    def test_silence(self) -> None:
        """Two that stay away have it asked again; when that helps all is well."""
        self.start()
        self.clock.advance(9.9)
        self.assertEqual(self.pulls(), [])
        self.clock.advance(0.2)
        pull = self.pull()
        self.server.deliver(1, to=str(pull.reply))
        self.assertEqual((len(self.delivered), self.lost), (1, []))

    def test_silence_after_a_sign_of_life(self) -> None:
        """Silence counts from the last heartbeat, or message, to the moment."""
        for sign in ("100 Idle Heartbeat", "message"):
            self.setUp()
            pull = self.start()
            self.clock.advance(4)
            if sign == "message":
                self.server.deliver(1, to=str(pull.reply))
            else:
                self.say(pull, sign)
            self.clock.advance(9.9)
            self.assertEqual(self.pulls(), [])
            self.clock.advance(0.2)
            self.pull()
            self.assertEqual(len(self.warnings), 1)

    def test_long_silence(self) -> None:
        """Nobody there, as with a consumer that is missing on an old server: it ends, to be looked at."""
        self.start()
        for _ in range(3):
            self.assertEqual(self.lost, [])
            self.clock.advance(10)
        self.assertEqual(self.lost, ["it sends neither messages nor heartbeats"])
        self.assertEqual(len(self.warnings), 2, "told of those after which it was asked again")

    def test_silence_between_good_times(self) -> None:
        """Silences far apart do not add up."""
        pull = self.start()
        for _ in range(5):
            for _ in range(2):
                self.clock.advance(10)
                self.server.peer.say(b"PONG\r\n" * 3)
                pull = self.pull()
            self.say(pull, "100 Idle Heartbeat")
        self.assertEqual(self.lost, [])


class StopTests(PullCase):
    """The end."""

    def assertOver(self) -> None:
        """Nothing is left of it: no timer, no subscription, no pull."""
        self.consumer.pull()
        self.clock.advance(0)
        self.assertEqual((self.pulls(), list(self.server.client._session.subscriptions)), ([], []))
        timers: Any = self.clock.getDelayedCalls()
        names = [getattr(timer.func, "__qualname__", "") for timer in timers]
        self.assertEqual([name for name in names if "PullConsumer" in name], [])

    def test_stop(self) -> None:
        """In whatever state it is."""
        for text in ("", "100 Idle Heartbeat", "409 Leadership Change"):
            self.setUp()
            pull = self.start()
            if text:
                self.say(pull, text)
            self.consumer.stop()
            self.consumer.stop()
            self.assertOver()

    def test_forgotten(self) -> None:
        """The client keeps nothing of it: a consumer may be lost and found again many times."""
        self.start()
        self.consumer.stop()
        left = weakref.ref(self.consumer)
        del self.consumer
        gc.collect()
        self.assertIsNone(left())

    def test_stop_without_connection(self) -> None:
        """It does not come back with the next one."""
        self.start()
        self.server.peer.drop()
        self.consumer.stop()
        self.server.reconnect()
        self.assertOver()

    def test_drain(self) -> None:
        """What is on its way is delivered; nothing more is asked for, whatever the pull's end says."""
        pull = self.start()
        drained = self.consumer.drain()
        self.server.heard()
        self.server.deliver(1, to=str(pull.reply))
        self.say(pull, "409 Leadership Change")
        self.say(pull, "409 Consumer Deleted")
        self.assertNoResult(drained)
        self.server.peer.say(b"PONG\r\n")
        self.successResultOf(drained)
        self.assertEqual((len(self.delivered), self.lost), (1, []))
        self.assertOver()

    def test_drain_twice(self) -> None:
        """The second time there is nothing to do."""
        self.start()
        first: Any = self.consumer.drain()
        self.successResultOf(self.consumer.drain())
        self.server.peer.say(b"PONG\r\n")
        self.successResultOf(first)
