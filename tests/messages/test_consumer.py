"""Tests of getting hold of a consumer."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.messages.consumer import (
    Opened,
    Wanted,
    check_dead_letters,
    consumer_cautions,
    open_consumer,
    stream_cautions,
)
from natsconnector.messages.facts import ConsumerFacts, NotUsable
from natsconnector.nats.jetstream import InvalidAnswer, JetStreamError
from tests.nats.jetstream.support import JetStreamPeer, ScriptedApi, error

FITTING = {"durable_name": "C", "ack_policy": "explicit", "ack_wait": 30_000_000_000, "filter_subject": "function.call"}
NO_CONSUMER = error(10014, description="consumer not found")


class OpenCase(SynchronousTestCase):
    """A server with a stream, where there is a consumer or none."""

    def open(
        self,
        consumer: dict[str, Any],
        *,
        subjects: tuple[str, ...] = ("function.call",),
        dead_letter: str | None = None,
        stream: dict[str, Any] | None = None,
        domain: str | None = None,
        version: str = "2.15.1",
        make: bool = True,
        done: tuple[str, int] | None = None,
        state: dict[str, Any] | None = None,
        **more: Any,
    ) -> Deferred[Opened]:
        answers = {name.replace("_", "."): more.pop(name) for name in [*more] if name.isupper()}
        self.api = ScriptedApi(JetStreamPeer(domain, version=version))
        self.api.answers = {
            "CONSUMER.INFO.S.C": consumer if "error" in consumer else {"config": consumer},
            "CONSUMER.DURABLE.CREATE.S.C": lambda body: {"config": body["config"]},
            "CONSUMER.DELETE.S.C": {"success": True},
            "STREAM.INFO.S": {
                "config": stream or {"subjects": ["function.*"], "retention": "workqueue"},
                "created": "2026-01-01T00:00:00Z",
                "state": state or {},
            },
            "STREAM.NAMES": {"streams": ["DEAD"]},
            "STREAM.INFO.DEAD": {"config": {"subjects": ["dead"]}},
            **answers,
        }
        self.wanted = Wanted("S", "C", subjects, 30.0, dead_letter=dead_letter, **more)
        opened = Deferred.fromCoroutine(open_consumer(self.api.server.js, self.wanted, make=make, done=done))
        self.api.serve()
        return opened

    def opened(self, consumer: dict[str, Any], **more: Any) -> ConsumerFacts:
        found = self.successResultOf(self.open(consumer, **more)).consumer
        assert found is not None
        return found

    def cautions(self, consumer: dict[str, Any], **more: Any) -> list[str]:
        opened = self.successResultOf(self.open(consumer, **more))
        told = stream_cautions(opened.stream, self.wanted.subjects)
        return told if opened.consumer is None else told + consumer_cautions(opened.consumer, 100, self.wanted.ordered)

    def made(self) -> dict[str, Any]:
        """The configuration of the consumer that was made."""
        (body,) = self.asked("CONSUMER.DURABLE.CREATE")
        return dict(body["config"])

    def refused(self, consumer: dict[str, Any], **more: Any) -> str:
        """Why it is not usable."""
        return str(self.failureResultOf(self.open(consumer, **more), NotUsable).value)

    def asked(self, what: str) -> list[Any]:
        """The bodies of all requests of a kind."""
        return [body for asked, body in self.api.asked if asked.startswith(what)]


class FittingTests(OpenCase):
    """A consumer that is there."""

    def test_taken_as_it_is(self) -> None:
        """It is not touched; what it says counts."""
        found = self.opened({**FITTING, "ack_wait": 5_000_000_000, "max_deliver": 7, "max_ack_pending": 2000})
        self.assertEqual((found.ack_wait_s, found.max_deliver, found.max_ack_pending), (5.0, 7, 2000))
        self.assertEqual([what for what, _ in self.api.asked], ["STREAM.INFO.S", "CONSUMER.INFO.S.C"])

    def test_no_limits(self) -> None:
        """-1, 0 and nothing mean that there is none."""
        for fields in ({"max_deliver": -1, "max_ack_pending": -1}, {"max_deliver": 0, "max_ack_pending": 0}, {}):
            found = self.opened({**FITTING, **fields})
            self.assertEqual((found.max_deliver, found.max_ack_pending), (None, None))
            self.assertEqual(self.cautions({**FITTING, **fields}), [])

    def test_backoff(self) -> None:
        """With a list of waits the shortest counts: in-progress acks have to come within it."""
        found = self.opened({**FITTING, "backoff": [20_000_000_000, 0, 2_500_000_000]})
        self.assertEqual(found.ack_wait_s, 2.5)

    def test_what_is_left_out(self) -> None:
        """The server's defaults: it waits half a minute, and counts from zero."""
        for ack_wait in (None, 0):
            found = self.opened({**FITTING, "ack_wait": ack_wait})
            self.assertEqual((found.ack_wait_s, found.inactive_threshold_s, found.is_paused), (30.0, 0.0, False))
            self.assertEqual((found.floor, found.pending, found.outstanding, found.redelivered), (0, 0, 0, 0))

    def test_without_filter(self) -> None:
        """It takes all of the stream: fine if that is what is wanted."""
        whole = {key: value for key, value in FITTING.items() if key != "filter_subject"}
        self.opened(whole, stream={"subjects": ["function.call"]})
        self.opened(whole, subjects=("function.*",), stream={"subjects": ["function.call", "function.other"]})
        self.opened({**FITTING, "filter_subject": ">"}, subjects=(">",))
        for stream in (
            {"subjects": ["function.*"]},
            {"subjects": ["function.call", "x"]},
            {"sources": [{"name": "A"}]},
        ):
            self.assertIn("it takes >, but the connector is to take function.call", self.refused(whole, stream=stream))

    def test_several_filters(self) -> None:
        """Their order does not matter."""
        several = {"durable_name": "C", "ack_policy": "explicit", "filter_subjects": ["b", "a"]}
        self.opened(several, subjects=("a", "b"))
        self.assertIn("it takes a, b, but the connector is to take a", self.refused(several, subjects=("a",)))

    def test_misfits(self) -> None:
        """What would lose messages, or not deliver them, is refused with the reason and with what to do."""
        misfits: list[tuple[dict[str, Any], str]] = [
            ({"deliver_subject": "x"}, "push consumer"),
            ({"durable_name": None}, "not durable"),
            ({"ack_policy": "none"}, "ack_policy is none"),
            ({"ack_policy": "all"}, "ack_policy is all"),
            ({"headers_only": True}, "headers only"),
            ({"priority_groups": ["a"]}, "priority groups"),
        ]
        for fields, says in misfits:
            reason = self.refused({**FITTING, **fields})
            self.assertIn(says, reason)
            self.assertIn("name another one with --consumer, or remove it", reason)
            self.assertEqual(self.asked("CONSUMER.DELETE"), [])

    def test_one_connector_at_a_time(self) -> None:
        """For order a consumer is made that is pinned, where the server can; one that is not, is told of."""
        self.opened(NO_CONSUMER, ordered=True)
        made = self.made()
        found = (made["priority_groups"], made["priority_policy"], made["priority_timeout"])
        self.assertEqual(found, (["ordered"], "pinned_client", 20_000_000_000))
        self.opened(NO_CONSUMER, ordered=True, version="2.10.29")
        self.assertNotIn("priority_groups", self.made())
        pinned = {**FITTING, "priority_groups": ["g"], "priority_policy": "pinned_client"}
        self.assertEqual((self.opened(pinned, ordered=True).group, self.cautions(pinned, ordered=True)), ("g", []))
        (caution,) = self.cautions(FITTING, ordered=True)
        self.assertIn("is not pinned to one connector at a time", caution)
        self.assertIn("overflow", self.refused({**pinned, "priority_policy": "overflow"}, ordered=True))
        self.assertIn("priority groups", self.refused(pinned))

    def test_other_subjects(self) -> None:
        """A consumer of other subjects is refused, and changed in place only if that is asked for."""
        other = {**FITTING, "filter_subject": "function.other", "max_deliver": 7}
        reason = self.refused(other)
        self.assertIn("it takes function.other, but the connector is to take function.call", reason)
        self.assertIn("--update-consumer", reason)
        self.assertEqual(self.asked("CONSUMER.DURABLE.CREATE"), [])
        found = self.opened(other, subjects=("a", "b"), stream={"subjects": [">"]}, update=True)
        self.assertEqual(found.filters, ("a", "b"))
        kept = {key: value for key, value in other.items() if key != "filter_subject"}
        self.assertEqual(self.made(), {**kept, "filter_subjects": ["a", "b"]})

    def test_cautions(self) -> None:
        """What works but may surprise is told."""
        table: list[tuple[dict[str, Any], dict[str, Any], str]] = [
            ({"max_ack_pending": 5}, {}, "allows 5 unacknowledged messages"),
            ({"max_ack_pending": 999}, {}, "allows 999 unacknowledged messages"),
            ({"max_deliver": 3}, {}, "after 3 deliveries"),
            ({"inactive_threshold": 3_000_000_000}, {}, "no connector is there for 3 s"),
            ({}, {"retention": "limits"}, "limits retention"),
            ({}, {"max_age": 2_000_000_000}, "max_age of 2 s"),
            ({}, {"max_msgs": 100}, "max_msgs of 100"),
            ({}, {"allow_msg_ttl": True}, "Nats-TTL"),
        ]
        for consumer, stream, says in table:
            config = {"subjects": ["function.*"], "retention": "workqueue", **stream}
            (caution,) = self.cautions({**FITTING, **consumer}, stream=config)
            self.assertIn(says, caution)
        full = {"subjects": ["function.*"], "retention": "workqueue", "max_msgs": 100, "discard": "new"}
        for most in (1000, 5000):
            self.assertEqual(self.cautions({**FITTING, "max_ack_pending": most}, stream=full), [])

    def test_subject_that_is_not_there(self) -> None:
        """One of several subjects that the stream does not listen on is told: nothing can come from there."""
        several = {"durable_name": "C", "ack_policy": "explicit", "filter_subjects": ["function.call", "orders"]}
        (caution,) = self.cautions(several, subjects=("function.call", "orders"))
        self.assertIn("does not listen on orders", caution)

    def test_paused(self) -> None:
        """A paused consumer looks like an empty stream."""
        (caution,) = self.cautions(FITTING, CONSUMER_INFO_S_C={"config": FITTING, "paused": True})
        self.assertIn("is paused", caution)

    def test_answers_of_another_form(self) -> None:
        """Whatever an answer holds, it is read or refused: any client may give it on a server without permissions."""
        values: list[Any] = [5, "x", [1], [None], {}, True, -1, 10**400, 1e999, None]
        for value in values:
            for field in ("backoff", "filter_subjects", "filter_subject", "ack_wait", "max_deliver", "max_ack_pending"):
                opened = self.open({**FITTING, field: value})
                self.assertNotIsInstance(opened.result, Deferred)
                opened.addErrback(lambda failure: failure.trap(NotUsable, InvalidAnswer))
                self.successResultOf(opened)
            for name in ("subjects", "subject_transform", "mirror", "retention", "max_age", "max_msgs", "discard"):
                opened = self.open(NO_CONSUMER, stream={"subjects": ["function.*"], name: value})
                opened.addErrback(lambda failure: failure.trap(NotUsable, InvalidAnswer))
                self.successResultOf(opened)
            found = self.open(FITTING, CONSUMER_INFO_S_C={"config": FITTING, "ack_floor": value, "num_pending": value})
            found.addErrback(lambda failure: failure.trap(InvalidAnswer))
            self.successResultOf(found)
        self.assertGreater(self.opened({**FITTING, "ack_wait": 1, "backoff": [0]}).ack_wait_s, 0)


class MakingTests(OpenCase):
    """A consumer that is missing."""

    def test_made(self) -> None:
        """With explicit acks, the ack wait, the filter, and no limits by which one function could stall others."""
        found = self.opened(NO_CONSUMER, description="ours")
        self.assertEqual((found.ack_wait_s, found.max_deliver, found.max_ack_pending), (30.0, None, None))
        self.assertEqual(
            self.made(),
            {
                "durable_name": "C",
                "description": "ours",
                "ack_policy": "explicit",
                "ack_wait": 30_000_000_000,
                "deliver_policy": "all",
                "replay_policy": "instant",
                "max_deliver": -1,
                "max_ack_pending": -1,
                "filter_subject": "function.call",
            },
        )

    def test_several_subjects(self) -> None:
        """A server that knows several filters gets them."""
        self.opened(NO_CONSUMER, subjects=("function.call", "function.other"), version="2.10.0")
        (body,) = self.asked("CONSUMER.DURABLE.CREATE")
        self.assertEqual(body["config"]["filter_subjects"], ["function.call", "function.other"])
        self.assertNotIn("filter_subject", body["config"])

    def test_several_subjects_on_an_old_server(self) -> None:
        """One that would ignore them is not asked."""
        reason = self.refused(NO_CONSUMER, subjects=("function.call", "function.other"), version="2.9.25")
        self.assertIn("needs nats-server 2.10 or newer, this is 2.9.25", reason)
        self.assertEqual(self.asked("CONSUMER.DURABLE.CREATE"), [])

    def test_several_subjects_in_another_domain(self) -> None:
        """There the version is not known: a consumer that came out without its filters is removed again."""

        def old_server(body: Any) -> Any:
            config = {key: value for key, value in body["config"].items() if key != "filter_subjects"}
            return {"config": config}

        reason = self.refused(
            NO_CONSUMER, subjects=("function.call", "function.other"), domain="hub", version="2.9.10",
            CONSUMER_DURABLE_CREATE_S_C=old_server,
        )  # fmt: skip
        self.assertIn("it takes >, but the connector is to take", reason)
        self.assertEqual(len(self.asked("CONSUMER.DELETE")), 1)
        self.opened(NO_CONSUMER, subjects=("function.call", "function.other"), domain="hub", version="2.9.10")

    def test_no_stream(self) -> None:
        """The stream is never made; whichever request finds out."""
        gone = error(10059, description="stream not found")
        self.assertIn("there is no stream S", self.refused(gone))
        self.assertIn("there is no stream S", self.refused(NO_CONSUMER, STREAM_INFO_S=gone))

    def test_wrong_stream(self) -> None:
        """A stream in which nothing of it can ever be; one that gets its messages from others may be anything."""
        reason = self.refused(NO_CONSUMER, stream={"subjects": ["orders.>"]})
        self.assertIn(
            "stream S holds orders.>, and none of the subjects that the connector is to take: function.call", reason
        )
        self.opened(NO_CONSUMER, stream={"sources": [{"name": "A"}]})
        self.opened(NO_CONSUMER, stream={"mirror": {"name": "A"}})

    def test_subjects_that_are_transformed(self) -> None:
        """What counts is the subject that messages have in the stream, not the one it listens on."""
        transform = {"src": "in.*", "dest": "function.{{wildcard(1)}}"}
        self.opened(NO_CONSUMER, stream={"subjects": ["in.*"], "subject_transform": transform})
        reason = self.refused(
            NO_CONSUMER, subjects=("in.x",), stream={"subjects": ["in.*"], "subject_transform": transform}
        )
        self.assertIn("stream S holds function.*", reason)

    def test_where_it_begins(self) -> None:
        """As --deliver says the first time; one that was removed goes on where the old one was, in the same stream."""
        limits = {"subjects": ["function.*"], "retention": "limits"}
        by_sequence = {"deliver_policy": "by_start_sequence", "opt_start_seq": 7}
        self.opened(NO_CONSUMER, stream=limits, deliver=by_sequence)
        self.assertEqual(self.made().items() & by_sequence.items(), by_sequence.items())
        opened = self.open(NO_CONSUMER, stream=limits, done=("2026-01-01T00:00:00Z", 41))
        self.assertEqual(self.successResultOf(opened).made_from, 42)
        self.assertEqual((self.made()["deliver_policy"], self.made()["opt_start_seq"]), ("by_start_sequence", 42))
        self.opened(NO_CONSUMER, stream=limits, done=("2025-01-01T00:00:00Z", 41))
        self.assertEqual(self.made()["deliver_policy"], "all", "a stream that was made anew")
        by_time = {"deliver_policy": "by_start_time", "opt_start_time": "2026-01-01T00:00:00Z"}
        self.successResultOf(self.open(NO_CONSUMER, stream=limits, done=("2026-01-01T00:00:00Z", 41), deliver=by_time))
        self.assertEqual(self.made()["opt_start_seq"], 42)
        self.assertNotIn("opt_start_time", self.made(), "the server refuses both")
        opened = self.open(NO_CONSUMER, done=("2026-01-01T00:00:00Z", 41), deliver=by_sequence, state={"first_seq": 5})
        self.assertEqual(self.successResultOf(opened).made_from, 5)
        self.assertEqual(self.made()["deliver_policy"], "all", "a work queue allows no other, and has no old messages")
        self.assertNotIn("opt_start_seq", self.made())

    def test_looked_at_only(self) -> None:
        """A look makes nothing, and finds the same faults."""
        self.assertIsNone(self.successResultOf(self.open(NO_CONSUMER, make=False)).consumer)
        self.assertEqual(self.asked("CONSUMER.DURABLE.CREATE"), [])
        self.assertIn("none of the subjects", self.refused(NO_CONSUMER, make=False, stream={"subjects": ["orders.>"]}))
        limits = {"subjects": ["function.*"], "retention": "limits"}
        (caution,) = self.cautions(NO_CONSUMER, make=False, stream=limits)
        self.assertIn("limits retention", caution)

    def test_not_unique(self) -> None:
        """Another consumer of a work queue has the same subjects: said in our words."""
        taken = error(10100, 400, "filtered consumer not unique on workqueue stream")
        reason = self.refused(NO_CONSUMER, CONSUMER_DURABLE_CREATE_S_C=taken)
        self.assertIn(
            "another consumer of stream S, which has work-queue retention, takes some of function.call", reason
        )

    def test_other_errors(self) -> None:
        """What the server says otherwise is passed on."""
        for what in ("CONSUMER_INFO_S_C", "CONSUMER_DURABLE_CREATE_S_C", "STREAM_INFO_S"):
            for err_code in (10008, 10199):
                answers: Any = {what: error(err_code, 503, "system temporarily unavailable")}
                self.failureResultOf(self.open(NO_CONSUMER, **answers), JetStreamError)

    def test_not_understood(self) -> None:
        """An answer without a configuration."""
        self.failureResultOf(self.open(NO_CONSUMER, CONSUMER_INFO_S_C={"config": None}), InvalidAnswer)


class DeadLetterTests(OpenCase):
    """The place for dead letters."""

    def test_stream_listens(self) -> None:
        """A stream has to listen there."""
        self.opened(FITTING, dead_letter="dead")
        self.assertEqual(self.asked("STREAM.NAMES"), [{"subject": "dead"}])

    def test_no_stream_listens(self) -> None:
        """Otherwise nothing is taken: no message could be given up safely."""
        reason = self.refused(FITTING, dead_letter="dead", STREAM_NAMES={"streams": None})
        self.assertIn("no stream listens on the dead-letter subject dead", reason)

    def test_kept(self) -> None:
        """A stream that acknowledges letters and keeps none of them, or only the last one, is no place for them."""
        table: list[tuple[dict[str, Any], dict[str, Any], str]] = [
            ({"retention": "interest"}, {"consumer_count": 0}, "would keep nothing"),
            ({"max_msgs_per_subject": 1}, {}, "max_msgs_per_subject"),
        ]
        for config, state, says in table:
            answer = {"config": {"subjects": ["dead"], **config}, "state": state}
            self.assertIn(says, self.refused(FITTING, dead_letter="dead", STREAM_INFO_DEAD=answer))

    def test_streams(self) -> None:
        """Whoever asks gets all that keep them."""
        self.opened(FITTING)
        self.api.answers["STREAM.NAMES"] = {"streams": ["S", "DEAD"]}
        found = Deferred.fromCoroutine(check_dead_letters(self.api.server.js, "dead"))
        self.api.serve()
        self.assertEqual([stream.name for stream in self.successResultOf(found)], ["S", "DEAD"])

    def test_stream_that_may_not_be_looked_at(self) -> None:
        """That it is there is known; what it is like is not asked for with more rights than there are."""
        found = self.open(FITTING, dead_letter="dead", STREAM_NAMES={"streams": ["SECRET"]})
        self.assertNoResult(found)
        refusal = b"-ERR 'Permissions Violation for Publish to \"$JS.API.STREAM.INFO.SECRET\"'\r\n"
        self.api.server.peer.say(refusal)
        self.api.serve()
        self.assertIsNotNone(self.successResultOf(found).consumer)
        interest = {"config": {"subjects": ["dead"], "retention": "interest"}, "state": {"consumer_count": 1}}
        self.opened(FITTING, dead_letter="dead", STREAM_INFO_DEAD=interest)
