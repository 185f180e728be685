"""How the parts are put together."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.assembly import make_connector
from natsconnector.config.reading import read
from natsconnector.messages.stream import JetStreamSource
from natsconnector.nats import PermissionsViolation


class FiguresTests(SynchronousTestCase):
    """Parts that cannot know each other meet in the figures."""

    def test_answers_not_sent(self) -> None:
        """An answer that the server refuses, and one that may not go where a header wants it, are counted."""
        connector = make_connector(MemoryReactorClock(), read({"stream": "CALLS", "dead-letter": "dead"}, {}))
        for subject in ("_INBOX.a", "dead", "$JS.API.INFO"):
            connector.client._session.refused_publishes.tell(PermissionsViolation("no", "publish", subject, None))
        (source,) = connector.sources
        assert isinstance(source, JetStreamSource)
        self.assertIsNone(source._in_hand.replies.subject_of_header("admin.exec"))
        self.assertEqual(connector.journal.counts.replies_lost, {"refused": 1, "not_allowed": 1})

    def test_topics_nobody_wants(self) -> None:
        """The catalogue is told which topics messages are taken of."""
        connector = make_connector(MemoryReactorClock(), read({"topics": "a,b"}, {}))
        assert connector.catalogue is not None
        connector.catalogue._learn([])
        self.assertEqual(connector.catalogue.unwanted_topics, 2)
