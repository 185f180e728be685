"""Tests of getting hold of a consumer."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.messages.consumer import Consumer, NotUsable, open_consumer
from natsconnector.nats.jetstream import JetStreamError
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
        **answers: Any,
    ) -> Deferred[Consumer]:
        self.api = ScriptedApi(JetStreamPeer(domain, version=version))
        self.api.answers = {
            "CONSUMER.INFO.S.C": consumer if "error" in consumer else {"config": consumer},
            "CONSUMER.DURABLE.CREATE.S.C": lambda body: {"config": body["config"]},
            "CONSUMER.DELETE.S.C": {"success": True},
            "STREAM.INFO.S": {"config": stream or {"subjects": ["function.*"]}},
            "STREAM.NAMES": {"streams": ["DEAD"]},
            **{name.replace("_", "."): answer for name, answer in answers.items()},
        }
        opened = Deferred.fromCoroutine(open_consumer(self.api.server.js, "S", "C", subjects, 30.0, dead_letter))
        self.api.serve()
        return opened

    def opened(self, consumer: dict[str, Any], **more: Any) -> Consumer:
        return self.successResultOf(self.open(consumer, **more))

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
        self.assertEqual(found, Consumer("C", 5.0, 7, 2000))
        self.assertEqual([what for what, _ in self.api.asked], ["CONSUMER.INFO.S.C"])

    def test_no_limits(self) -> None:
        """-1 and nothing mean that there is none."""
        for fields in ({"max_deliver": -1, "max_ack_pending": -1}, {}):
            found = self.opened({**FITTING, **fields})
            self.assertEqual((found.max_deliver, found.max_ack_pending), (None, None))
            self.assertEqual(found.cautions(100), [])

    def test_backoff(self) -> None:
        """With a list of waits the shortest counts: in-progress acks have to come within it."""
        found = self.opened({**FITTING, "backoff": [20_000_000_000, 2_000_000_000]})
        self.assertEqual(found.ack_wait_s, 2.0)

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
            self.assertIn(
                "it takes >, but --subject and --topics name function.call", self.refused(whole, stream=stream)
            )

    def test_several_filters(self) -> None:
        """Their order does not matter."""
        several = {"durable_name": "C", "ack_policy": "explicit", "filter_subjects": ["b", "a"]}
        self.opened(several, subjects=("a", "b"))
        self.assertIn("it takes a, b, but --subject and --topics name a", self.refused(several, subjects=("a",)))

    def test_misfits(self) -> None:
        """What would lose messages, or not deliver them, is refused with the reason and with what to do."""
        misfits: list[tuple[dict[str, Any], str]] = [
            ({"deliver_subject": "x"}, "push consumer"),
            ({"durable_name": None}, "not durable"),
            ({"ack_policy": "none"}, "ack_policy is none"),
            ({"ack_policy": "all"}, "ack_policy is all"),
            ({"headers_only": True}, "headers only"),
            ({"priority_groups": ["a"]}, "priority groups"),
            ({"filter_subject": "function.other"}, "it takes function.other"),
        ]
        for fields, says in misfits:
            reason = self.refused({**FITTING, **fields})
            self.assertIn(says, reason)
            self.assertIn("name another one with --consumer, or remove it", reason)
            self.assertEqual(self.asked("CONSUMER.DELETE"), [])

    def test_cautions(self) -> None:
        """What works but may surprise is told."""
        (small,) = Consumer("C", 30, None, 5).cautions(100)
        self.assertIn("allows 5 unacknowledged messages", small)
        (few,) = Consumer("C", 30, 3, None).cautions(100)
        self.assertIn("after 3 deliveries", few)
        self.assertEqual(Consumer("C", 30, None, 1000).cautions(100), [])

    def test_paused(self) -> None:
        """A paused consumer looks like an empty stream."""
        opened = self.open(FITTING, CONSUMER_INFO_S_C={"config": FITTING, "paused": True})
        (caution,) = self.successResultOf(opened).cautions(100)
        self.assertIn("is paused", caution)


class MakingTests(OpenCase):
    """A consumer that is missing."""

    def test_made(self) -> None:
        """With explicit acks, the ack wait, the filter, and no limits by which one function could stall others."""
        found = self.opened(NO_CONSUMER)
        self.assertEqual(found, Consumer("C", 30.0, None, None))
        (body,) = self.asked("CONSUMER.DURABLE.CREATE")
        self.assertEqual(
            body["config"],
            {
                "durable_name": "C",
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
        self.assertIn("it takes >, but --subject and --topics name", reason)
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
        self.assertIn("stream S holds orders.>, nothing that --subject and --topics name: function.call", reason)
        self.opened(NO_CONSUMER, stream={"sources": [{"name": "A"}]})
        self.opened(NO_CONSUMER, stream={"mirror": {"name": "A"}})

    def test_other_errors(self) -> None:
        """What the server says otherwise is passed on."""
        for what in ("CONSUMER_INFO_S_C", "CONSUMER_DURABLE_CREATE_S_C", "STREAM_INFO_S"):
            answers: Any = {what: error(10008, 503, "system temporarily unavailable")}
            self.failureResultOf(self.open(NO_CONSUMER, **answers), JetStreamError)

    def test_not_understood(self) -> None:
        """An answer without a configuration."""
        self.assertIn("not understood", self.refused(NO_CONSUMER, CONSUMER_INFO_S_C={"config": None}))


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
