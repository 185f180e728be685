"""Tests of what listens where, as the composition root puts it together."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.assembly import sources
from natsconnector.assembly.connector import make_connector, make_tracer
from natsconnector.assembly.insight import Insight
from natsconnector.config.reading import read
from natsconnector.connector import Connector
from natsconnector.messages.consumer import Wanted
from natsconnector.messages.core import CoreSource
from natsconnector.messages.facts import consumer_facts
from natsconnector.messages.following import FollowingSource
from natsconnector.messages.stream import JetStreamSource
from natsconnector.model.function import DeployedFunction
from natsconnector.nats import PermissionsViolation
from tests.tracing import SKIP

if SKIP is None:
    from natsconnector.tracing.spans import OpenTelemetry


def reactor() -> Any:
    """One without sockets."""
    return MemoryReactorClock()


class SourcesTests(SynchronousTestCase):
    """Subjects of all kinds."""

    def connector(self, **flags: str) -> Connector:
        return make_connector(reactor(), read({n.replace("_", "-"): v for n, v in flags.items()}, {}))

    def test_queue_groups(self) -> None:
        """Envelopes and subjects that name functions share one queue group; topics have another."""
        connector = self.connector(subject="function.call", function_subject="fn.*,in.*.*", topics="t")
        self.assertEqual(
            [source.description for source in connector.sources],
            [
                "subjects function.call, fn.*, in.*.* in queue group functions",
                "subjects t in queue group openfaas_nats_worker_group",
            ],
        )

    def test_what_no_list_is_needed_for(self) -> None:
        """The list of functions is not asked for where nothing needs it."""
        self.assertIsNone(self.connector(function_subject="fn.*").catalogue)
        self.assertIsNotNone(self.connector(function_subject="fn.*", topics="t").catalogue)

    def test_annotations(self) -> None:
        """A topic of an annotation is neither a subject that names functions, nor one where the replies go."""
        connector = self.connector(
            function_subject="fn.*", topics_from_annotations="on", reply_subject_for="fn.*=answers.$1"
        )  # fmt: skip
        assert connector.catalogue is not None
        topics = {"topic": "mine, fn.figlet, answers.x, answers"}
        connector.catalogue._learn([DeployedFunction("figlet", "", topics)])
        functions, annotated = (cast(CoreSource, source) for source in connector.sources)
        self.assertEqual(annotated._subjects, ("mine", "answers"))
        replies = functions._replies
        self.assertEqual(replies.subject_unasked("fn.figlet"), "answers.figlet")
        for heard in ("fn.figlet", "mine", "answers"):
            self.assertIsNone(replies.reply_subject(heard), heard)
        self.assertEqual(replies.reply_subject("answers.x"), "answers.x")

    def test_order(self) -> None:
        """The setting reaches all who keep the order; on core NATS the start says that one connector can."""

        async def none(*_: object) -> list[str]:
            return []

        self.patch(sources, "streams_beside", none)
        for flags, cautions in (({}, 0), ({"ordered_by": "key"}, 1), ({"ordered_by": "key", "stream": "S"}, 0)):
            connector = self.connector(function_subject="fn.*", dead_letter="none", **flags)
            self.assertEqual(len(self.successResultOf(connector._cautions())), cautions)
            self.assertEqual(connector.dispatcher._order is not None, "ordered_by" in flags)
            for source in connector.sources:
                if isinstance(source, JetStreamSource):
                    self.assertIsNotNone(source._gate)

    def test_annotations_of_a_stream(self) -> None:
        """With a stream the topics of annotations are taken from there, beside a consumer for what else there is."""
        connector = self.connector(stream="S", subject="fn.call", topics_from_annotations="on", topics="mine.*")
        assert connector.catalogue is not None
        topics = {"topic": "mine.x, other, fn.call"}
        connector.catalogue._learn([DeployedFunction("figlet", "", topics)])
        fixed, following = connector.sources
        self.assertEqual(fixed.description, "subjects fn.call, mine.* of stream S, consumer natsconnector")
        assert isinstance(following, FollowingSource)
        self.assertEqual(following._topics, {"mine.x": None, "other": None})
        self.assertIs(fixed._room, following._make_source(Wanted("S", "C", ("other",)))._room)  # type: ignore[attr-defined]
        (alone,) = self.connector(stream="S", topics_from_annotations="on").sources
        self.assertIsInstance(alone, FollowingSource)


class FiguresTests(SynchronousTestCase):
    """Parts that cannot know each other meet in the figures."""

    def test_answers_not_sent(self) -> None:
        """An answer that the server refuses, and one that may not go where a header wants it, are counted."""
        connector = make_connector(reactor(), read({"stream": "CALLS", "dead-letter": "dead"}, {}))
        for subject in ("_INBOX.a", "dead", "$JS.API.INFO"):
            connector.client._session.refused_publishes.tell(PermissionsViolation("no", "publish", subject, None))
        (source,) = connector.sources
        assert isinstance(source, JetStreamSource)
        self.assertIsNone(source._in_hand.replies.subject_of_header("admin.exec"))
        self.assertEqual(connector.journal.counts.replies_lost, {"refused": 1, "not_allowed": 1})

    def test_topics_nobody_wants(self) -> None:
        """The catalogue is told which topics messages are taken of."""
        connector = make_connector(reactor(), read({"topics": "a,b"}, {}))
        assert connector.catalogue is not None
        connector.catalogue._learn([])
        self.assertEqual(connector.catalogue.unwanted_topics, 2)

    def test_consumers_of_topics(self) -> None:
        """Of a stream whose topics follow the functions each consumer has its figures."""
        reactor = cast(Any, MemoryReactorClock())
        flags = {"stream": "S", "topics": "t", "topics-from-annotations": "on"}
        connector = make_connector(reactor, read(flags, {}))
        fixed, following = connector.sources
        assert isinstance(fixed, JetStreamSource)
        assert isinstance(following, FollowingSource)
        insight = Insight(reactor, connector)
        self.assertEqual(insight.facts().consumers, [])
        following._sources["a"] = following._make_source(Wanted("S", "C-a", ("a",)))
        for number, source in enumerate((fixed, following._sources["a"])):
            source.consumer = consumer_facts(f"C{number}", {"config": {}, "num_pending": number})
        self.assertEqual([(each.name, each.pending) for each in insight.facts().consumers], [("C0", 0), ("C1", 1)])


class TracerTests(SynchronousTestCase):
    """What sends traces."""

    skip = SKIP

    def test_subjects(self) -> None:
        """Spans are named by the subjects of every kind that were configured."""
        flags = {"subject": "function.call", "function-subject": "fn.*", "topics": "orders.>"}
        settings = read(flags, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
        tracer = make_tracer(reactor(), settings)
        assert isinstance(tracer, OpenTelemetry)
        for subject, pattern in (
            ("function.call", "function.call"),
            ("fn.figlet", "fn.*"),
            ("orders.new.x", "orders.>"),
        ):
            self.assertEqual([*tracer._subjects.match(subject)], [pattern])
