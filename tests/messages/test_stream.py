"""Tests of messages from a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, capturedLogs, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from natsconnector.messages import past, room
from natsconnector.messages.consumer import Wanted
from natsconnector.messages.in_hand import JetStreamDelivery
from natsconnector.messages.replies import Replies
from natsconnector.messages.room import Room
from natsconnector.messages.stream import JetStreamSource
from natsconnector.model.mapping import SubjectMapping
from natsconnector.model.reply import Reply
from natsconnector.model.seams import IDelivery, ISource, ReplyTooLarge
from natsconnector.nats.errors import FlushTimeout
from tests.nats.jetstream.support import TIME_NS, Heard, JetStreamPeer, ScriptedApi, error

CONSUMER = {"durable_name": "C", "ack_policy": "explicit", "ack_wait": 3_000_000_000, "filter_subject": "function.call"}


class SourceCase(SynchronousTestCase):
    """A source with room for two, at a server with a stream and a consumer whose ack wait is three seconds."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        observe: Any = self._observe
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.server = JetStreamPeer()
        self.clock = self.server.clock
        self.api = ScriptedApi(self.server)
        self.api.answers = {
            "CONSUMER.INFO.S.C": {"config": CONSUMER},
            "STREAM.INFO.S": {"config": {"subjects": ["function.*"], "retention": "workqueue"}, "created": "then"},
            "CONSUMER.DURABLE.CREATE.S.C": lambda body: {"config": body["config"], "num_pending": 3},
        }
        self.deliveries: list[JetStreamDelivery] = []
        self.source = JetStreamSource(
            self.clock, self.server.client, self.server.js, Wanted("S", "C", ("function.call",)), room=Room(2),
            replies=Replies(self.server.client, ["results.>", "results"]),
        )  # fmt: skip

    def _observe(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn:
            self.lines.append(str(event.get("reason", event.get("text", event.get("log_format")))))

    def take(self) -> None:
        """Take messages; the pull is there afterwards."""
        self.source.start(self.deliveries.append)  # type: ignore[arg-type]
        self.said()

    def said(self) -> list[Heard]:
        """What was published besides requests to the API; the subject of the newest pull is noted."""
        others = self.api.serve()
        pulls = [each for each in others if ".MSG.NEXT." in each.subject]
        self.pulled = [each.fields["batch"] for each in pulls]
        if pulls:
            self.inbox = str(pulls[-1].reply)
        return [each for each in others if ".MSG.NEXT." not in each.subject]

    def verbs(self) -> list[tuple[str, bytes]]:
        return [(each.subject, each.payload) for each in self.said()]

    def deliver(self, sequence: int, payload: bytes = b"{}", **more: Any) -> str:
        return self.server.deliver(sequence, payload, to=self.inbox, **more)


class TakingTests(SourceCase):
    """From the consumer to whoever takes the messages."""

    def test_interfaces(self) -> None:
        """Source and deliveries are what they say."""
        verifyObject(ISource, self.source)
        self.take()
        self.deliver(1)
        verifyObject(IDelivery, self.deliveries[0])

    def test_bytes(self) -> None:
        """As many messages like those that are in hand are taken as there is room for in bytes."""
        self.take()
        hand, space = self.source._in_hand, self.source._room
        space.messages, space.size_bytes = 100, 10
        self.deliver(1)
        size = self.deliveries[0].size_bytes
        self.assertEqual((hand.free, size), (4, 2))
        space.size_bytes = size
        self.assertEqual(hand.free, 0)
        self.deliveries[0].ack()
        self.assertEqual((hand.free, space.taken_bytes), (100, 0))

    def test_ready(self) -> None:
        """It is ready once the consumer is there, and whoever watches is told."""
        told: list[str | None] = []
        self.source.watch(lambda: told.append(self.source.not_ready))
        self.assertEqual(self.source.not_ready, "consumer C of stream S is not bound yet")
        self.take()
        self.assertEqual((self.source.not_ready, told), (None, [None]))
        self.assertEqual(self.pulled, [2])
        self.server.status("409 Consumer Deleted", to=self.inbox)
        self.assertEqual(told[1:], ["consumer C of stream S is not bound yet"])

    def test_without_a_server(self) -> None:
        """It waits for the first connection, and says nothing of it: the client does."""
        self.server.peer.drop()
        self.source.start(self.deliveries.append)  # type: ignore[arg-type]
        self.clock.pump([1] * 9)
        self.assertEqual(self.source.not_ready, "consumer C of stream S is not bound yet")
        self.server.reconnect()
        self.said()
        self.assertEqual((self.pulled, self.source.not_ready), ([2], None))

    def test_delivery(self) -> None:
        """What is known of a message."""
        self.take()
        self.deliver(7, b"hello", delivered=3, block=b"NATS/1.0\r\nA: b\r\n\r\n")
        (delivery,) = self.deliveries
        self.assertEqual(
            (delivery.subject, delivery.payload, list(delivery.headers)), ("function.call", b"hello", [("A", "b")])
        )
        self.assertEqual((delivery.attempt, delivery.most_attempts, delivery.identity), (3, None, "S-7"))
        self.assertEqual((delivery.durable, delivery.comes_again), (True, True))
        self.assertEqual((delivery.header_error, delivery.skipped_headers), (None, ()))
        self.assertEqual(delivery.published_at_s, TIME_NS / 1e9)

    def test_room(self) -> None:
        """Never more than there is room for; each settlement makes room."""
        self.take()
        self.deliver(1)
        self.deliver(2)
        self.said()
        self.assertEqual(self.pulled, [])
        self.deliveries[0].ack()
        self.said()
        self.assertEqual(self.pulled, [1])

    def test_held(self) -> None:
        """While no call can be made nothing is asked for; what is on its way is taken, and then all goes on."""
        self.take()
        self.source.hold(True)
        self.deliver(1)
        self.deliveries[0].ack()
        self.said()
        self.assertEqual((self.pulled, len(self.deliveries)), ([], 1))
        self.deliver(2)
        self.said()
        self.assertEqual(self.pulled, [])
        self.source.hold(False)
        self.said()
        self.assertEqual(self.pulled, [1])

    def test_held_back(self) -> None:
        """What waits for its function makes room for others, but not without bound: in messages, and in bytes."""
        self.take()
        self.deliver(1, b"x" * 100_000)
        self.deliver(2)
        self.deliveries[0].hold_back(True)
        self.said()
        self.assertEqual(self.pulled, [1])
        for sequence in range(3, 31):
            if self.source._in_hand.free > 0:
                self.deliver(sequence)
                self.deliveries[-1].hold_back(True)
                self.said()
        self.assertEqual(len(self.deliveries), 22)
        for delivery in self.deliveries:
            delivery.ack()
        self.said()
        self.patch(room, "_MOST_HELD_BACK_BYTES", 9)
        for sequence in (31, 32):
            self.deliver(sequence, b"12345")
        self.said()
        for delivery in self.deliveries[-2:]:
            delivery.hold_back(True)
        self.said()
        self.assertEqual(self.source._in_hand.free, 0)
        self.deliveries[-1].hold_back(False)
        self.assertEqual(self.source._in_hand.free, 1)

    def test_most_deliveries(self) -> None:
        """A limit of the consumer is told with each message."""
        self.api.answers["CONSUMER.INFO.S.C"] = {"config": {**CONSUMER, "max_deliver": 4, "max_ack_pending": 1}}
        self.take()
        self.deliver(1)
        self.assertEqual(self.deliveries[0].most_attempts, 4)
        self.assertEqual(len(self.lines), 2)

    def test_not_ready(self) -> None:
        """What is missing is told once, tried again for ever, and all goes on when it is there."""
        self.api.answers["CONSUMER.INFO.S.C"] = error(10059)
        told: list[str | None] = []
        self.source.watch(lambda: told.append(self.source.not_ready))
        self.source.start(self.deliveries.append)  # type: ignore[arg-type]
        for _ in range(1200):  # ten hours
            self.said()
            self.clock.advance(30)
            self.server.peer.say(b"PONG\r\n" * 3)
        self.assertIn("there is no stream S", self.source.not_ready or "")
        self.assertEqual(len(self.lines), 1)
        self.assertIn("there is no stream S", self.lines[0])
        self.assertEqual(told, [self.source.not_ready])
        self.api.answers["CONSUMER.INFO.S.C"] = {"config": CONSUMER}
        self.said()
        self.assertIsNone(self.source.not_ready)

    def test_another_reason(self) -> None:
        """Each time that something else is missing it is told."""
        for answer in (error(10059), error(10008, 503), error(10059), error(10008, 503)):
            self.api.answers["CONSUMER.INFO.S.C"] = answer
            self.clock.advance(30)
            self.server.peer.say(b"PONG\r\n" * 3)
            if self.source._deliver is None:
                self.take()
            self.said()
        self.assertEqual(len(self.lines), 4)

    def test_looks_again_less_and_less_often(self) -> None:
        """After two seconds at first, after half a minute in the end."""
        self.api.answers["CONSUMER.INFO.S.C"] = error(10059)
        self.take()
        for wait_s in (2, 4, 8, 16, 30, 30):
            self.api.asked.clear()
            self.clock.advance(wait_s - 0.25)
            self.said()
            self.assertEqual(self.api.asked, [])
            self.clock.advance(0.25)
            self.server.peer.say(b"PONG\r\n" * 3)
            self.said()
            self.assertEqual([what for what, _ in self.api.asked], ["STREAM.INFO.S", "CONSUMER.INFO.S.C"])
        self.api.answers["CONSUMER.INFO.S.C"] = {"config": CONSUMER}
        self.clock.advance(30)
        self.server.peer.say(b"PONG\r\n" * 3)
        self.said()
        self.assertEqual(self.pulled, [2])
        self.server.status("409 Consumer Deleted", to=self.inbox)
        self.assertEqual(self.source.not_ready, "consumer C of stream S is not bound yet")
        self.clock.advance(1)
        self.said()
        self.assertEqual(self.pulled, [2], "begins anew")

    def test_lost_consumer(self) -> None:
        """A consumer that is gone is looked for, or made, after a moment; what was taken before keeps its place."""
        self.take()
        self.deliver(1)
        self.server.status("409 Consumer Deleted", to=self.inbox)
        self.assertEqual(self.lines, ["409 Consumer Deleted"])
        self.clock.advance(1)
        self.said()
        self.assertEqual(self.pulled, [1])
        self.deliveries[0].ack()
        self.assertEqual(self.verbs()[0][1], b"+ACK")


class SettlingTests(SourceCase):
    """What the server is told."""

    def test_verbs(self) -> None:
        """Each settlement is published on the message's own ack subject."""
        self.take()
        settlements: list[tuple[Callable[[JetStreamDelivery], None], bytes]] = [
            (lambda delivery: delivery.ack(), b"+ACK"),
            (lambda delivery: delivery.nak(0.0), b"-NAK"),
            (lambda delivery: delivery.nak(2.0), b'-NAK {"delay": 2000000000}'),
            (lambda delivery: delivery.term("bad"), b"+TERM bad"),
        ]
        for sequence, (settle, verb) in enumerate(settlements):
            ack = self.deliver(sequence)
            settle(self.deliveries.pop())
            self.assertEqual(self.verbs(), [(ack, verb)])

    def test_term_without_reason(self) -> None:
        """A server that does not know reasons is told none."""
        self.server.peer.say(b'INFO {"version":"2.10.3","headers":true,"max_payload":1048576} \r\n')
        self.take()
        self.deliver(1)
        self.deliveries[0].term("bad")
        self.assertEqual(self.verbs()[0][1], b"+TERM")

    def test_without_connection(self) -> None:
        """An acknowledgement waits for the next connection, and goes before the next pull."""
        self.take()
        ack = self.deliver(1)
        self.server.peer.drop()
        self.deliveries[0].ack()
        self.server.reconnect()
        heard = [each for each in self.server.heard() if not each.subject.startswith("$JS.API.CONSUMER.INFO")]
        self.assertEqual([each.subject for each in heard], [ack, "$JS.API.CONSUMER.MSG.NEXT.S.C"])

    def test_lost_acknowledgement(self) -> None:
        """One that cannot be published is told: its message comes again."""
        self.take()
        self.deliver(1)
        self.server.client.close()
        self.deliveries[0].ack()
        self.assertTrue(any("closed" in line for line in self.lines), self.lines)


class ProgressTests(SourceCase):
    """Functions that take longer than the ack wait."""

    def test_in_progress(self) -> None:
        """Three times within the ack wait the server is told of what is being worked on, and of nothing else."""
        self.take()
        first, second = self.deliver(1), self.deliver(2)
        self.clock.advance(0.875)
        self.assertEqual(self.verbs(), [])
        self.clock.advance(0.125)
        self.assertEqual(self.verbs(), [(first, b"+WPI"), (second, b"+WPI")])
        self.deliveries[0].ack()
        self.said()
        self.clock.advance(1)
        self.assertEqual(self.verbs(), [(second, b"+WPI")])

    def test_without_connection(self) -> None:
        """Nothing is piled up for the next one."""
        self.take()
        self.deliver(1)
        self.server.peer.drop()
        self.clock.advance(0.5)
        self.source._in_hand._tell_progress()
        self.server.reconnect()
        self.assertNotIn(b"+WPI", [each.payload for each in self.server.heard()])

    def test_tiny_ack_wait(self) -> None:
        """However short the ack wait is, the server is told ten times in a second at the most."""
        self.api.answers["CONSUMER.INFO.S.C"] = {"config": {**CONSUMER, "ack_wait": 1}}
        self.take()
        ack = self.deliver(1)
        for _ in range(32):
            self.clock.advance(1 / 32)
        verbs = self.verbs()
        self.assertEqual(verbs[0], (ack, b"+WPI"))
        self.assertIn(len(verbs), range(5, 11))

    def test_came_again(self) -> None:
        """What comes again while it is worked on is not worked on twice; the newer delivery is acknowledged."""
        self.take()
        self.deliver(1)
        again = self.deliver(1, delivered=2)
        self.assertEqual([each.attempt for each in self.deliveries], [2])
        self.assertEqual(self.verbs(), [(again, b"+WPI")])
        self.deliveries[0].ack()
        self.assertEqual(self.verbs(), [(again, b"+ACK")])

    def test_comes_after_it_was_settled(self) -> None:
        """One that was given back is a new delivery."""
        self.take()
        self.deliver(1)
        self.deliveries[0].nak(0.0)
        self.said()
        self.deliver(1, delivered=2)
        self.assertEqual([each.attempt for each in self.deliveries], [1, 2])

    def test_comes_after_its_end(self) -> None:
        """An acknowledgement that was lost is given again: the message is not called a second time."""
        self.take()
        for sequence, settle in ((1, "ack"), (2, "term")):
            self.deliver(sequence)
            getattr(self.deliveries[-1], settle)(*(["bad"] if settle == "term" else []))
            (first,) = self.verbs()
            again = self.deliver(sequence, delivered=2)
            self.assertEqual(self.verbs(), [(again, first[1])])
        self.assertEqual(len(self.deliveries), 2)

    def test_what_has_ended_is_forgotten(self) -> None:
        """Below the consumer's floor nothing comes again, and what is remembered is bounded."""
        self.take()
        self.patch(past, "_MOST_DONE", 5)
        for sequence in range(1, 9):
            self.deliver(sequence)
            self.deliveries[-1].ack()
            self.said()
        self.assertEqual(len(self.source._in_hand.past._done), 5)
        self.api.answers["CONSUMER.INFO.S.C"] = {"config": CONSUMER, "ack_floor": {"stream_seq": 7}}
        self.clock.advance(5)
        self.said()
        self.assertEqual([sequence for sequence, _ in self.source._in_hand.past._done], [8])

    def test_oldest(self) -> None:
        """How old the oldest message is that is here or was given back, until it is acknowledged, here or elsewhere."""
        self.take()
        self.clock.advance(TIME_NS / 1e9 + 10 - self.clock.seconds())
        self.said()
        self.assertEqual(self.source.oldest_unacknowledged_s, 0.0)
        self.deliver(1, time_ns=TIME_NS)
        self.deliver(2, time_ns=TIME_NS + 4 * 10**9)
        self.assertAlmostEqual(self.source.oldest_unacknowledged_s, 10.0, 3)
        self.deliveries[0].nak(60.0)
        self.assertAlmostEqual(self.source.oldest_unacknowledged_s, 10.0, 3)
        self.api.answers["CONSUMER.INFO.S.C"] = {"config": CONSUMER, "ack_floor": {"stream_seq": 1}}
        self.clock.advance(5)
        self.said()
        self.assertAlmostEqual(self.source.oldest_unacknowledged_s, 11.0, 3)
        self.deliveries[1].ack()
        self.assertEqual(self.source.oldest_unacknowledged_s, 0.0)

    def test_same_number_of_a_new_stream(self) -> None:
        """In a stream that was removed and made again a number names another message, not the old one."""
        self.take()
        self.deliver(1, b"old")
        new = self.deliver(1, b"new", time_ns=TIME_NS + 1)
        self.assertEqual([each.payload for each in self.deliveries], [b"old", b"new"])
        self.said()
        self.deliveries[1].ack()
        self.assertEqual(self.verbs(), [(new, b"+ACK")])


class RefusedAcksTests(SourceCase):
    """A server that does not let acknowledgements through."""

    def refuse(self, ack: str) -> None:
        self.server.peer.say(b"-ERR 'Permissions Violation for Publish to \"%b\"'\r\n" % ack.encode())

    def refuse_and_try(self) -> None:
        """Refuse an acknowledgement; after the pause another message is acknowledged, to see whether that goes."""
        self.take()
        self.refuse(self.deliver(1))
        self.deliveries[0].ack()
        self.said()
        self.clock.advance(1)
        self.deliver(2)
        self.deliveries[1].ack()

    def test_refused(self) -> None:
        """Nothing more is taken but one at a time, with growing pauses; it is told, and seen by who asks."""
        self.take()
        ack = self.deliver(1)
        self.deliver(2)
        self.said()
        seen: list[str | None] = []
        self.source.watch(lambda: seen.append(self.source.not_ready))
        self.refuse(ack)
        self.refuse(ack)
        self.assertEqual(seen, [self.source.not_ready])
        self.assertIn("refuses acknowledgements", self.source.not_ready or "")
        self.assertIn("Permissions Violation for Publish", self.lines[-1])
        told = len(self.lines)
        for delivery in self.deliveries:
            delivery.ack()
        self.said()
        self.assertEqual(self.pulled, [])
        self.refuse(ack)
        self.server.peer.say(b"PONG\r\n" * 9)
        for pause_s in (1, 2):
            self.clock.advance(pause_s - 0.1)
            self.said()
            self.assertEqual(self.pulled, [])
            self.clock.advance(0.2)
            self.said()
            self.assertEqual(self.pulled, [1])
            again = self.deliver(10 + pause_s)
            self.deliveries[-1].ack()
            self.said()
            self.assertEqual(self.pulled, [], "not before the server has answered")
            self.refuse(again)
            self.server.peer.say(b"PONG\r\n" * 9)
            self.said()
        self.assertEqual(len(self.lines), told, "said once")

    def test_allowed_again(self) -> None:
        """An acknowledgement that gets through shows that all is well, without a restart."""
        self.refuse_and_try()
        with capturedLogs() as events:
            self.server.peer.say(b"PONG\r\n" * 3)
            self.said()
        self.assertEqual([event["event"] for event in events if "event" in event], ["acks_taken"])
        self.assertIsNone(self.source.not_ready)
        self.assertEqual(self.source._in_hand.free, 2)

    def test_no_answer(self) -> None:
        """Where the server does not say whether it takes an acknowledgement, the next message shows it."""
        self.refuse_and_try()
        self.said()
        self.assertEqual(self.pulled, [])
        self.source._in_hand._not_answered(Failure(FlushTimeout(10)))
        self.said()
        self.assertEqual(self.pulled, [1])

    def test_allowed_again_at_once(self) -> None:
        """Nobody waits for the end of a pause when an acknowledgement has got through; the next refusal has its own."""
        self.take()
        seen: list[str | None] = []
        self.source.watch(lambda: seen.append(self.source.not_ready))
        self.refuse(self.deliver(1))
        self.deliver(2)
        for delivery in self.deliveries:
            delivery.ack()
        self.said()
        self.server.peer.say(b"PONG\r\n" * 3)
        self.said()
        self.assertEqual((self.pulled, seen[1:]), ([2], [None]))
        self.clock.advance(0.5)
        ack = self.deliver(3)
        self.refuse(ack)
        self.deliver(4)
        for delivery in self.deliveries[2:]:
            delivery.nak(0.0)
        self.said()
        self.refuse(ack)
        self.server.peer.say(b"PONG\r\n" * 3)
        self.clock.advance(0.9)
        self.said()
        self.assertEqual(self.pulled, [])
        self.clock.advance(0.2)
        self.said()
        self.assertEqual(self.pulled, [1])

    def test_refused_after_the_last(self) -> None:
        """With nothing in hand one message is taken after the pause: its acknowledgement shows how it stands."""
        self.take()
        ack = self.deliver(1)
        self.deliveries[0].ack()
        self.said()
        self.refuse(ack)
        self.server.status("408 Request Timeout", to=self.inbox)
        self.said()
        self.assertEqual(self.pulled, [])
        self.clock.advance(1)
        self.said()
        self.assertEqual(self.pulled, [1])

    def test_connection_lost_while_asking(self) -> None:
        """A connection that ends before the server has answered shows nothing: the next message is to show it."""
        self.take()
        self.refuse(self.deliver(1))
        self.deliver(2)
        for delivery in self.deliveries:
            delivery.ack()
        self.said()
        self.clock.advance(1)
        self.server.reconnect()
        self.said()
        self.assertIsNotNone(self.source.not_ready)
        self.assertEqual(self.source._in_hand.free, 1)

    def test_other_publishes(self) -> None:
        """A reply that is refused concerns its requester only."""
        self.take()
        self.refuse("somebody.elses.inbox")
        self.assertIsNone(self.source.not_ready)


class LostConsumerTests(SourceCase):
    """A consumer that is removed while messages come from it."""

    def lose(self) -> None:
        """The consumer is removed, and looked for again."""
        self.remove()
        self.server.status("409 Consumer Deleted", to=self.inbox)
        self.clock.advance(1)
        self.said()

    def remove(self) -> None:
        """The consumer is gone until it is made again."""

        def make(body: dict[str, Any]) -> dict[str, Any]:
            self.api.answers["CONSUMER.INFO.S.C"] = {"config": body["config"]}
            return {"config": body["config"], "num_pending": 3}

        self.api.answers["CONSUMER.INFO.S.C"] = error(10014)
        self.api.answers["CONSUMER.DURABLE.CREATE.S.C"] = make

    def made(self) -> dict[str, Any]:
        (config,) = [body["config"] for what, body in self.api.asked if what.startswith("CONSUMER.DURABLE.CREATE")]
        return dict(config)

    def stream(self, created: str) -> None:
        config = {"subjects": ["function.*"], "retention": "limits"}
        self.api.answers["STREAM.INFO.S"] = {"config": config, "created": created}

    def test_goes_on_where_it_was(self) -> None:
        """It is made again behind what is acknowledged, which is told; what has ended here is not called again."""
        self.stream("then")
        self.take()
        self.api.answers["CONSUMER.INFO.S.C"] = {"config": CONSUMER, "ack_floor": {"stream_seq": 41}}
        self.clock.advance(5)
        self.said()
        for sequence in (42, 43):
            self.deliver(sequence)
        self.deliveries[1].ack()
        self.said()
        self.lines.clear()
        self.lose()
        self.assertEqual((self.made()["deliver_policy"], self.made()["opt_start_seq"]), ("by_start_sequence", 42))
        self.assertEqual(
            self.lines,
            [
                "409 Consumer Deleted",
                "made consumer {consumer} of stream {stream}, from message {sequence}: {pending} messages wait",
            ],
        )
        again = [self.deliver(sequence) for sequence in (42, 43, 44)]
        self.assertEqual([each.where.stream_sequence for each in self.deliveries], [42, 43, 44])
        self.assertEqual(self.verbs(), [(again[0], b"+WPI"), (again[1], b"+ACK")])

    def test_of_a_stream_that_was_made_anew(self) -> None:
        """Its sequences begin anew: what the old consumer was behind says nothing."""
        self.stream("then")
        self.take()
        self.api.answers["CONSUMER.INFO.S.C"] = {"config": CONSUMER, "ack_floor": {"stream_seq": 41}}
        self.clock.advance(5)
        self.said()
        self.stream("now")
        self.lose()
        self.assertEqual(self.made()["deliver_policy"], "all")

    def test_given_back_to_a_stream_that_is_gone(self) -> None:
        """A message that was given back is no longer waited for when its stream was made anew."""
        self.stream("then")
        self.take()
        self.deliver(1)
        self.deliveries[0].nak(60.0)
        self.clock.advance(TIME_NS / 1e9 + 10 - self.clock.seconds())
        self.said()
        self.assertGreater(self.source.oldest_unacknowledged_s, 9.0)
        self.stream("now")
        self.lose()
        self.assertEqual(self.source.oldest_unacknowledged_s, 0.0)

    def test_defect(self) -> None:
        """A defect of ours is logged, and the flow begins again."""

        def broken(*_: object) -> None:
            raise ZeroDivisionError("a defect")

        patched = self.patch(self.source, "_say_opened", broken)
        self.take()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.source.not_ready, "a defect")
        patched.restore()
        self.clock.advance(1.5)
        self.said()
        self.assertEqual(self.pulled, [])
        self.clock.advance(0.5)
        self.said()
        self.assertEqual(self.pulled, [2])

    def test_look_that_fails(self) -> None:
        """A look that fails is no fault, and the next one counts."""
        self.stream("then")
        self.take()
        for answer in (error(10008), {"config": None}, {"config": CONSUMER, "ack_floor": {"stream_seq": 41}}):
            self.api.answers["CONSUMER.INFO.S.C"] = answer
            self.clock.advance(5)
            self.said()
        self.assertIsNone(self.source.not_ready)
        self.lose()
        self.assertEqual(self.made()["opt_start_seq"], 42)

    def assert_seen(self, code: int) -> None:
        """While all slots are taken no pull tells what the server's answer to a look does."""
        self.take()
        told: list[str | None] = []
        self.source.watch(lambda: told.append(self.source.not_ready))
        for sequence in (1, 2):
            self.deliver(sequence)
        self.said()
        self.assertEqual(self.pulled, [])
        self.remove()
        self.api.answers["CONSUMER.INFO.S.C"] = error(code)
        self.clock.advance(5)
        self.said()
        self.assertEqual(told, ["consumer C of stream S is not bound yet"])

    def test_look_sees_the_consumer_gone(self) -> None:
        """A consumer that is gone."""
        self.assert_seen(10014)

    def test_look_sees_the_stream_gone(self) -> None:
        """A stream that is gone, with its consumer."""
        self.assert_seen(10059)

    def test_other_look_is_too_late(self) -> None:
        """An answer that is late by a pull says nothing about the next one."""
        self.take()
        self.clock.advance(5)
        (asked,) = [each for each in self.server.heard() if ".INFO." in each.subject]
        self.lose()
        self.server.answer(asked, error(10014))
        self.assertIsNone(self.source.not_ready)


class AnswerTests(SourceCase):
    """Where outcomes go."""

    def delivery(self, reply_subject: str | None) -> JetStreamDelivery:
        self.take()
        header = b"" if reply_subject is None else b"X-Reply-Subject: %b\r\n" % reply_subject.encode()
        self.deliver(1, block=b"NATS/1.0\r\n%b\r\n" % header)
        return self.deliveries[0]

    def test_answer(self) -> None:
        """To the subject that the message names."""
        delivery = self.delivery("results.here")
        self.assertTrue(delivery.wants_answer)
        delivery.answer(Reply(200, b"done", (("A", "b"),)))
        (answer,) = self.said()
        self.assertEqual((answer.subject, answer.payload), ("results.here", b"done"))
        self.assertIn(b"A: b", answer.headers)

    def test_nobody_asked(self) -> None:
        """Without the header, never to the ack subject."""
        delivery = self.delivery(None)
        self.assertFalse(delivery.wants_answer)
        delivery.answer(Reply(200, b"done"))
        self.assertEqual(self.said(), [])

    def test_unasked(self) -> None:
        """Without the header where the operator sends it; with it there alone, and nowhere if that is not allowed."""
        for asked, answer in ((None, "to.call"), ("results.x", "results.x"), ("admin", None)):
            self.setUp()
            self.source._in_hand.replies._unasked = (SubjectMapping("function.*", "to.$1"),)
            delivery = self.delivery(asked)
            self.assertEqual(delivery.reply_subject, answer)

    def test_subjects_of_the_server(self) -> None:
        """A publisher cannot make us speak to the server in its stead."""
        for subject in (
            "$JS.API.STREAM.DELETE.S",
            "$JS.hub.API.INFO",
            "$SYS.REQ.ACCOUNT.PING",
            "$JS.ACK.S.C.1.1.1.1.0",
            "admin.exec",
            "two words",
            "",
        ):
            self.setUp()
            delivery = self.delivery(subject)
            self.assertFalse(delivery.wants_answer, subject)
            delivery.answer(Reply(200, b"done"))
            self.assertEqual(self.said(), [], subject)
            if subject:
                self.assertIn("asks for its reply on {reply_subject}", self.lines[-1])

    def test_said_now_and_then(self) -> None:
        """Publishers write such headers again and again: a line is said every ten minutes at the most."""
        self.take()
        for sequence, minutes in enumerate((0, 0, 9, 1, 1)):
            for _ in range(2 * minutes):
                self.clock.advance(30)
                self.server.peer.say(b"PONG\r\n" * 3)
                self.said()
            self.deliver(sequence, block=b"NATS/1.0\r\nX-Reply-Subject: admin\r\n\r\n")
            self.deliveries[-1].ack()
            self.said()
        self.assertEqual(sum("asks for its reply" in line for line in self.lines), 2)

    def test_cannot_be_sent(self) -> None:
        """A reply that is too large."""
        delivery = self.delivery("results")
        self.assertRaises(ReplyTooLarge, delivery.answer, Reply(200, b"x" * (1 << 21)))


class StopTests(SourceCase):
    """The end."""

    def assertQuiet(self) -> None:
        """Besides those of the client no timer is left."""
        self.server.client.close()
        self.server.peer.drop()
        self.clock.advance(0)
        self.assertEqual([repr(timer) for timer in self.clock.getDelayedCalls()], [])

    def stop(self) -> Deferred[None]:
        stopped = self.source.stop()
        self.said()
        return stopped

    def test_stop(self) -> None:
        """What is on its way is delivered, nothing more asked for, and the rest kept alive until it is settled."""
        self.take()
        self.deliver(1)
        stopped = self.stop()
        second = self.deliver(2)
        self.assertNoResult(stopped)
        self.server.peer.say(b"PONG\r\n")
        self.successResultOf(stopped)
        self.deliveries[0].ack()
        self.said()
        self.clock.advance(1)
        self.assertEqual(self.verbs(), [(second, b"+WPI")])
        self.deliveries[1].ack()
        self.said()
        self.assertEqual(self.pulled, [])
        self.assertQuiet()

    def test_stop_before_it_is_ready(self) -> None:
        """While it looks for its stream, and while it waits to look again."""
        self.api.answers["CONSUMER.INFO.S.C"] = error(10059)
        self.source.start(self.deliveries.append)  # type: ignore[arg-type]
        self.successResultOf(self.source.stop())
        self.assertQuiet()
        self.setUp()
        self.api.answers["CONSUMER.INFO.S.C"] = error(10059)
        self.take()
        self.successResultOf(self.source.stop())
        self.assertQuiet()

    def test_stop_without_having_begun(self) -> None:
        """There is nothing to stop."""
        self.successResultOf(self.source.stop())

    def test_stop_without_connection(self) -> None:
        """Nothing can come any more."""
        self.take()
        self.server.peer.drop()
        self.successResultOf(self.source.stop())
        self.assertQuiet()

    def test_server_does_not_answer(self) -> None:
        """The end does not wait for it for ever."""
        self.take()
        stopped = self.stop()
        self.clock.advance(10)
        self.successResultOf(stopped)
        self.assertIn("did not confirm a flush", self.lines[-1])
        self.assertQuiet()

    def test_stop_while_acknowledgements_are_refused(self) -> None:
        """No pause is waited for any more, and no refusal is noted."""
        self.take()
        ack = self.deliver(1)
        self.server.peer.say(b"-ERR 'Permissions Violation for Publish to \"%b\"'\r\n" % ack.encode())
        stopped = self.stop()
        self.server.peer.say(b"PONG\r\n")
        self.successResultOf(stopped)
        self.deliveries[0].ack()
        self.said()
        self.assertQuiet()
