"""Tests of topics that are taken from a stream as functions come and go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from natsconnector.messages.consumer import Wanted
from natsconnector.messages.following import FollowingSource
from natsconnector.messages.room import Room
from natsconnector.messages.stream import JetStreamSource
from natsconnector.messages.topics import consumer_name
from natsconnector.model.seams import IDelivery, ISource
from tests.nats.jetstream.support import JetStreamPeer, ScriptedApi, error

TOPICS = ("t.a", "t.b", "t.*", "t.a.>", "x")
GRACE_S = 12.0


class FollowingCase(SynchronousTestCase):
    """A server with a stream and the consumers that were made, as it describes them."""

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        observe: Any = self.events.append
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.server = JetStreamPeer()
        self.clock = self.server.clock
        self.api = ScriptedApi(self.server)
        self.consumers: dict[str, dict[str, Any]] = {}
        self.changes: list[tuple[str, str]] = []
        for topic in TOPICS:
            name = consumer_name("C", topic)
            self.api.answers[f"CONSUMER.INFO.S.{name}"] = self.teller(topic)
            self.api.answers[f"CONSUMER.DURABLE.CREATE.S.{name}"] = self.maker(topic)
            self.api.answers[f"CONSUMER.DELETE.S.{name}"] = self.remover(topic)
        self.stream("workqueue")
        self.room = Room(10)
        self.source = self.make({"deliver_policy": "all"})

    def make(self, deliver: dict[str, Any], fixed: tuple[str, ...] = ()) -> FollowingSource:
        server = self.server

        def consume(wanted: Wanted) -> JetStreamSource:
            return JetStreamSource(self.clock, server.client, server.js, wanted, room=self.room, tells_of_stream=False)

        return FollowingSource(
            self.clock, server.client, server.js, Wanted("S", "C", (), deliver=deliver), consume,
            fixed=fixed, grace_s=GRACE_S,
        )  # fmt: skip

    def stream(self, retention: str, *subjects: str) -> None:
        config = {"subjects": subjects or ("t.>",), "retention": retention}
        self.api.answers["STREAM.INFO.S"] = {"config": config, "created": "then"}

    def teller(self, topic: str) -> Callable[[Any], dict[str, Any]]:
        return lambda _: self.consumers.get(topic) or error(10014)

    def maker(self, topic: str) -> Callable[[Any], dict[str, Any]]:
        def make(body: dict[str, Any]) -> dict[str, Any]:
            self.changes.append(("made", topic))
            self.consumers[topic] = {"config": body["config"]}
            return self.consumers[topic]

        return make

    def remover(self, topic: str) -> Callable[[Any], dict[str, Any]]:
        def remove(_: object) -> dict[str, Any]:
            self.changes.append(("removed", topic))
            return {"success": True} if self.consumers.pop(topic, None) else error(10014)

        return remove

    def take(self, *topics: str, since_s: float | None = None) -> None:
        if self.source._deliver is None:
            self.deliveries: list[IDelivery] = []
            self.source.start(self.deliveries.append)
        self.source.listen_on(topics, since_s)
        self.serve()

    def serve(self) -> list[tuple[str, int]]:
        """The topics whose messages were asked for, and how many."""
        others = self.api.serve()
        self.server.peer.say(b"PONG\r\n" * 5)  # for whoever has flushed
        others += self.api.serve()
        topics = {f"$JS.API.CONSUMER.MSG.NEXT.S.{consumer_name('C', topic)}": topic for topic in TOPICS}
        return [(topics[each.subject], each.fields["batch"]) for each in others if each.subject in topics]

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.serve()

    def refuse(self, subject: str, seconds: float) -> None:
        """For so long the server refuses whatever is published there."""
        for _ in range(int(10 * seconds)):
            self.server.peer.say(b"-ERR 'Permissions Violation for Publish to \"%b\"'\r\n" % subject.encode())
            self.clock.advance(0.1)
            self.serve()

    def taken(self) -> list[str]:
        return sorted(each._wanted.subjects[0] for each in self.source.sources)

    def told(self, event: str) -> list[str]:
        return [str(formatEvent(each)) for each in self.events if each.get("event") == event]


class TakingTests(FollowingCase):
    """Topics that come."""

    def test_interface(self) -> None:
        """It is a source."""
        verifyObject(ISource, self.source)

    def test_each_has_a_consumer(self) -> None:
        """A consumer is made for each topic, with nothing but that topic."""
        self.take("t.a", "t.b")
        self.assertEqual(sorted(self.changes), [("made", "t.a"), ("made", "t.b")])
        self.assertEqual(self.consumers["t.a"]["config"]["filter_subject"], "t.a")
        self.assertEqual(self.consumers["t.a"]["config"]["durable_name"], consumer_name("C", "t.a"))
        self.assertIsNone(self.source.not_ready)
        self.take("t.a", "t.b")
        self.wait(20)
        self.assertEqual(len(self.changes), 2)

    def test_one_that_is_there(self) -> None:
        """What another connector has made is used as it is."""
        self.take("t.a")
        self.source = self.make({"deliver_policy": "all"})
        self.take("t.a")
        self.assertEqual(self.changes, [("made", "t.a")])
        self.assertIsNone(self.source.not_ready)

    def test_share(self) -> None:
        """They share the room, and what comes comes."""
        self.source.start(lambda delivery: None)
        self.source.listen_on(("t.a", "t.b"), None)
        self.assertEqual(sorted(self.serve()), [("t.a", 5), ("t.b", 5)])

    def test_no_topics(self) -> None:
        """Without any there is no consumer at all, and it says so; beside fixed subjects that is no fault."""
        self.assertIn("not known yet", str(self.source.not_ready))
        self.take()
        self.assertEqual((self.changes, self.taken()), ([], []))
        self.assertIn("no function is annotated with a topic of stream S", str(self.source.not_ready))
        self.take("t.a")
        self.assertIsNone(self.source.not_ready)
        self.source = self.make({"deliver_policy": "all"}, ("t.b",))
        self.take()
        self.assertIsNone(self.source.not_ready)

    def test_not_in_the_stream(self) -> None:
        """A topic that the stream does not hold is told once, and taken when the stream does; the others are taken."""
        self.take("x", "t.a")
        self.wait(12)
        self.assertEqual((self.taken(), self.source.not_ready), (["t.a"], None))
        self.assertEqual(
            self.told("topic_left_out"),
            ["topic x gets nothing from stream S: the stream does not listen there, but on t.>"],
        )
        self.stream("workqueue", "t.>", "x")
        self.wait(6)
        self.assertEqual(self.taken(), ["t.a", "x"])

    def test_stream_is_missing(self) -> None:
        """It is not ready, says why once, and looks again."""
        self.api.answers["STREAM.INFO.S"] = error(10059)
        self.take("t.a")
        self.wait(20)
        self.assertIn("there is no stream S", str(self.source.not_ready))
        self.assertEqual(len(self.told("not_ready")), 1)
        self.stream("workqueue")
        self.wait(6)
        self.assertIsNone(self.source.not_ready)

    def test_slow_server(self) -> None:
        """A look that gets no answer changes nothing."""
        self.take("t.a")
        del self.api.answers["STREAM.INFO.S"]
        self.wait(20)
        self.assertEqual((self.taken(), self.source.not_ready), (["t.a"], None))

    def test_refused(self) -> None:
        """Without the right to make a consumer it is not ready, which is told once."""
        subject = f"$JS.API.CONSUMER.DURABLE.CREATE.S.{consumer_name('C', 't.a')}"
        del self.api.answers[subject.removeprefix("$JS.API.")]
        self.take("t.a")
        self.refuse(subject, 10)
        self.assertIn("Permissions Violation", str(self.source.not_ready))
        self.assertEqual(len([each for each in self.told("not_ready") if "Permissions Violation" in each]), 1)

    def test_new(self) -> None:
        """Where only new messages are wanted, new is what came since the function had the topic, not the consumer."""
        self.source = self.make({"deliver_policy": "new"})
        self.stream("limits")
        self.take("t.a")
        self.take("t.a", "t.b", since_s=1000.0)
        begins = [self.consumers[topic]["config"] for topic in ("t.a", "t.b")]
        self.assertEqual([each["deliver_policy"] for each in begins], ["new", "by_start_time"])
        self.assertEqual(datetime.fromisoformat(begins[1]["opt_start_time"]), datetime.fromtimestamp(995, timezone.utc))

    def test_change_meanwhile(self) -> None:
        """Topics that change while the server is asked are not forgotten."""
        self.source.start(lambda delivery: None)
        self.source.listen_on(("t.a",), None)
        self.server.clock.advance(0)
        self.source.listen_on(("t.a", "t.b"), None)
        self.serve()
        self.assertEqual(self.taken(), ["t.a", "t.b"])

    def test_hold(self) -> None:
        """Nothing is pulled while no call can be made, by those neither that come meanwhile."""
        self.source.hold(True)
        self.source.start(lambda delivery: None)
        self.source.listen_on(("t.a",), None)
        self.assertEqual(self.serve(), [])
        self.source.hold(False)
        self.assertEqual(self.serve(), [("t.a", 10)])

    def test_stop(self) -> None:
        """It stops with all its sources, and looks no more."""
        self.take("t.a")
        stopped = self.source.stop()
        self.serve()
        self.successResultOf(stopped)
        asked = len(self.api.asked)
        self.wait(10)
        self.assertEqual(len(self.api.asked), asked)

    def test_defect(self) -> None:
        """A defect of ours is logged, and it looks again."""

        def broken(*_: object) -> None:
            raise ZeroDivisionError("a defect")

        patched = self.patch(self.source, "_say_what_surprises", broken)
        self.take("t.a")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.source.not_ready, "a defect")
        patched.restore()
        self.wait(6)
        self.assertIsNone(self.source.not_ready)


class LeavingTests(FollowingCase):
    """Topics that no function has any more."""

    def test_grace(self) -> None:
        """It is taken for the grace; one that comes back has never gone."""
        self.take("t.a", "t.b")
        self.take("t.b")
        self.wait(GRACE_S - 6)
        self.assertEqual(self.taken(), ["t.a", "t.b"])
        self.take("t.a", "t.b")
        self.wait(GRACE_S)
        self.take("t.b")
        self.wait(GRACE_S - 6)
        self.assertEqual(self.taken(), ["t.a", "t.b"])
        self.wait(12)
        self.assertEqual((self.taken(), self.changes[2:]), (["t.b"], [("removed", "t.a")]))
        self.assertEqual(len(self.told("consumer_removed")), 1)

    def leave(self, retention: str, **facts: int) -> None:
        self.stream(retention)
        self.take("t.a", "t.b")
        self.consumers["t.a"].update(facts)
        self.take("t.b")
        self.wait(GRACE_S + 10)
        self.assertEqual(self.taken(), ["t.b"])

    def assert_kept(self, retention: str, **facts: int) -> None:
        self.leave(retention, **facts)
        self.assertIn("t.a", self.consumers)
        for name in facts:
            self.consumers["t.a"][name] = 0
        self.wait(10)
        self.assertNotIn("t.a", self.consumers)

    def test_unacknowledged(self) -> None:
        """The consumer stays while messages of it are unacknowledged, here or elsewhere."""
        self.assert_kept("workqueue", num_ack_pending=1)

    def test_taken_elsewhere(self) -> None:
        """And while another connector takes from it, whose list of functions has the topic."""
        self.assert_kept("workqueue", num_waiting=1)

    def test_interest(self) -> None:
        """With interest retention messages wait for the consumer alone: they are not dropped."""
        self.assert_kept("interest", num_pending=1)

    def test_work_queue(self) -> None:
        """In a work queue they stay without it."""
        self.leave("workqueue", num_pending=1)
        self.assertNotIn("t.a", self.consumers)

    def test_limits(self) -> None:
        """With limits retention the consumer is the only one who knows what was called: it stays."""
        self.leave("limits")
        self.assertIn("t.a", self.consumers)
        self.take("t.a", "t.b")
        self.assertEqual((self.taken(), self.changes), (["t.a", "t.b"], [("made", "t.a"), ("made", "t.b")]))

    def test_refused(self) -> None:
        """Without the right to remove it, it stays, and all else goes on."""
        self.take("t.a", "t.b")
        subject = f"$JS.API.CONSUMER.DELETE.S.{consumer_name('C', 't.a')}"
        del self.api.answers[subject.removeprefix("$JS.API.")]
        self.take("t.b")
        self.refuse(subject, GRACE_S + 10)
        self.assertIsNone(self.source.not_ready)
        self.assertEqual(self.source._leaving, {})

    def test_in_hand(self) -> None:
        """While a message of it is in hand the consumer is not even looked at."""
        self.take("t.a")
        source = self.source.sources[0]
        source._in_hand.unsettled[(1, 1)] = SimpleNamespace(in_progress=lambda: None)  # type: ignore[assignment]
        self.take()
        self.wait(GRACE_S + 10)
        self.assertIn("t.a", self.consumers)
        source._in_hand.unsettled.clear()
        self.wait(10)
        self.assertNotIn("t.a", self.consumers)


class OverlapTests(FollowingCase):
    """A topic that covers, or is covered by, one that was there."""

    def test_work_queue(self) -> None:
        """The narrow one's consumer goes first: a work queue allows no two."""
        self.take("t.a", "t.b")
        self.take("t.*", "t.b")
        self.assertEqual(self.taken(), ["t.*"])
        self.assertEqual(sorted(self.changes[2:4]), [("removed", "t.a"), ("removed", "t.b")])
        self.assertEqual(self.changes[4:], [("made", "t.*")])

    def place(self, floor: int, begins: int) -> dict[str, Any]:
        """
        The configuration of the consumer that a wider topic has, with limits retention.

        :param floor: up to where the narrow one's messages are acknowledged.
        :param begins: before which message a consumer stands that begins at the time of the annotation.
        """
        self.stream("limits")
        self.take("t.a")
        self.consumers["t.a"]["ack_floor"] = {"stream_seq": floor}
        make = self.maker("t.*")

        def make_by_time(body: dict[str, Any]) -> dict[str, Any]:
            by_time = {"ack_floor": {"stream_seq": begins}} if "opt_start_time" in body["config"] else {}
            return {**make(body), **by_time}

        self.api.answers[f"CONSUMER.DURABLE.CREATE.S.{consumer_name('C', 't.*')}"] = make_by_time
        self.take("t.*", since_s=1000.0)
        self.assertEqual(self.taken(), ["t.*"])
        self.assertEqual(self.changes[-1], ("removed", "t.a"))
        return dict(self.consumers["t.*"]["config"])

    def test_limits(self) -> None:
        """The new one begins where the old one was, if that was before the annotation."""
        config = self.place(41, 60)
        self.assertEqual((config["deliver_policy"], config["opt_start_seq"]), ("by_start_sequence", 42))
        self.assertNotIn("opt_start_time", config)

    def test_limits_since_the_annotation(self) -> None:
        """Else with what came since: the old one has passed messages of other subjects."""
        config = self.place(70, 60)
        self.assertEqual(datetime.fromisoformat(config["opt_start_time"]).timestamp(), 995.0)

    def test_limits_of_another(self) -> None:
        """One that another connector has made is taken as it is."""
        self.stream("limits")
        self.consumers["t.*"] = {"config": {"durable_name": consumer_name("C", "t.*"), "ack_policy": "explicit",
                                            "filter_subject": "t.*"}, "ack_floor": {"stream_seq": 99}}  # fmt: skip
        self.take("t.a")
        self.take("t.*", since_s=1000.0)
        self.assertEqual(self.changes, [("made", "t.a"), ("removed", "t.a")])

    def test_unacknowledged(self) -> None:
        """Messages that are being called are waited for, but not for ever."""
        self.take("t.a")
        self.consumers["t.a"]["num_ack_pending"] = 1
        self.take("t.*")
        self.wait(20)
        self.assertEqual((self.taken(), self.changes[1:]), ([], []))
        self.wait(15)
        self.assertEqual((self.taken(), self.changes[1:]), (["t.*"], [("removed", "t.a"), ("made", "t.*")]))

    def test_acknowledged_meanwhile(self) -> None:
        """As soon as they are acknowledged it goes on."""
        self.stream("limits")
        self.take("t.a")
        self.consumers["t.a"]["num_ack_pending"] = 1
        self.take("t.*")
        self.wait(6)
        self.consumers["t.a"].update(num_ack_pending=0, ack_floor={"stream_seq": 9})
        self.wait(6)
        self.assertEqual((self.taken(), self.changes[1:]), (["t.*"], [("made", "t.*"), ("removed", "t.a")]))

    def test_wider_one_goes(self) -> None:
        """Within the grace the wider one brings the messages, then the narrow one, from there on."""
        self.stream("limits")
        self.take("t.*")
        self.take("t.a")
        self.assertEqual(self.taken(), ["t.*"])
        self.consumers["t.*"]["ack_floor"] = {"stream_seq": 9}
        self.wait(GRACE_S + 10)
        self.assertEqual((self.taken(), self.changes[1:]), (["t.a"], [("made", "t.a"), ("removed", "t.*")]))
        self.assertEqual(self.consumers["t.a"]["config"]["opt_start_seq"], 10)

    def test_what_the_wider_one_has_left(self) -> None:
        """With limits retention its consumer alone knows of its unacknowledged messages: it stays."""
        self.stream("limits")
        self.take("t.*")
        self.take("t.a")
        self.consumers["t.*"].update(num_ack_pending=1, ack_floor={"stream_seq": 9})
        self.wait(GRACE_S + 45)
        self.assertEqual((self.taken(), self.changes[1:]), (["t.a"], [("made", "t.a")]))
        self.assertIn("t.*", self.consumers)
