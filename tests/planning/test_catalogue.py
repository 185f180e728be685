"""Tests of the list of functions."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.function import DeployedFunction
from natsconnector.planning.catalogue import Catalogue

FIGLET = DeployedFunction("figlet", "", {"topic": "banner, orders.*"})
CAT = DeployedFunction("cat", "team", {"topic": "orders.new", "natsconnector.timeout": "9s"})


class CatalogueTests(SynchronousTestCase):
    """Refreshing and matching."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.answers: list[Deferred[list[DeployedFunction]]] = []
        self.catalogue = Catalogue(self.clock, lambda: self.answers.pop(0), interval_s=5)
        self.addCleanup(self.catalogue.stop)
        self.changes = 0
        self.catalogue.watch(self.changed)

    def changed(self) -> None:
        self.changes += 1

    def names(self, subject: str) -> list[str]:
        return [name for name, _ in self.catalogue.subscribers(subject)]

    def test_match(self) -> None:
        """Functions by topic, wildcards included, with their options."""
        self.answers = [succeed([FIGLET, CAT])]
        self.catalogue.start()
        self.assertTrue(self.catalogue.is_known)
        self.assertEqual(sorted(self.names("orders.new")), ["cat.team", "figlet"])
        self.assertEqual(self.names("orders.old"), ["figlet"])
        self.assertEqual(self.names("else"), [])
        self.assertEqual(self.catalogue.topics, ("banner", "orders.*", "orders.new"))
        self.assertEqual(self.catalogue.terms("cat.team").timeout_s, 9)
        self.assertIsNone(self.catalogue.terms("unknown").timeout_s)

    def test_unwanted_topics(self) -> None:
        """How many of the topics that are listened on nobody wants: none that a function's topic meets."""
        catalogue = Catalogue(
            self.clock, lambda: succeed([FIGLET]), wanted_topics=("banner", "banners", "*.new", "orders", "a.>")
        )
        self.addCleanup(catalogue.stop)
        self.assertEqual(catalogue.unwanted_topics, 0)
        catalogue.start()
        self.assertEqual(catalogue.unwanted_topics, 3)

    def test_list_before(self) -> None:
        """When the list was asked for that a new one follows, whether that had changed anything or not."""
        slow: Deferred[list[DeployedFunction]] = Deferred()
        self.answers = [succeed([FIGLET]), succeed([FIGLET]), fail(ValueError()), slow, succeed([])]
        self.catalogue.start()
        self.assertIsNone(self.catalogue.before_at)
        self.clock.pump([5, 5, 5, 2])
        slow.callback([FIGLET, CAT])
        self.assertEqual(self.catalogue.before_at, 5.0)
        self.clock.advance(5)
        self.assertEqual(self.catalogue.before_at, 15.0)

    def test_first_list_is_empty(self) -> None:
        """An empty list is a list: whoever waits for the first one is told."""
        told: list[bool] = []
        self.catalogue.watch(lambda: told.append(self.catalogue.is_known))
        self.answers = [succeed([])]
        self.catalogue.start()
        self.assertEqual(told, [True])

    def test_names_without_namespace(self) -> None:
        """A function may be named without its namespace if that is clear."""
        self.answers = [succeed([CAT, DeployedFunction("two", "a"), DeployedFunction("two", "b"), FIGLET])]
        self.catalogue.start()
        self.assertEqual(self.catalogue.terms("cat.team").timeout_s, 9)
        names = [self.catalogue.full_name(name) for name in ("cat", "cat.team", "two", "figlet", "unknown")]
        self.assertEqual(names, ["cat.team", "cat.team", "two", "figlet", "unknown"])

    def test_follows(self) -> None:
        """What is deployed and removed is known after the next refresh; nobody is told of a list that is the same."""
        self.answers = [succeed([FIGLET]), succeed([FIGLET]), succeed([CAT])]
        self.catalogue.start()
        self.assertEqual(self.changes, 1)
        self.clock.advance(5)
        self.assertEqual(self.changes, 1)
        self.clock.advance(5)
        self.assertEqual((self.changes, self.names("orders.new"), self.names("banner")), (2, ["cat.team"], []))

    def test_failing_refresh(self) -> None:
        """It changes nothing, is said once, and once when it is over; and it is tried again for ever."""
        good = [succeed([FIGLET]) for _ in range(3)]
        self.answers = [good[0], *(fail(ValueError("refused")) for _ in range(3)), *good[1:]]
        with capturedLogs() as events:
            self.catalogue.start()
            for _ in range(5):
                self.clock.advance(5)
                self.assertEqual(self.names("banner"), ["figlet"])
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "functions: 1, topics: banner, orders.*",
                "cannot list the functions, the last list is kept: refused",
                "the functions can be listed again",
            ],
        )

    def test_watcher_fails(self) -> None:
        """A defect of who watches ends neither the refreshing nor the others' watching."""

        def fails() -> None:
            raise ZeroDivisionError

        self.catalogue._watchers.insert(0, fails)
        self.answers = [succeed([FIGLET]), succeed([CAT])]
        self.catalogue.start()
        self.clock.advance(5)
        self.assertEqual((self.changes, self.names("orders.new")), (2, ["cat.team"]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_before_the_first_list(self) -> None:
        """Until there is a list it says that it knows nothing, also when the first attempts fail."""
        self.answers = [fail(ValueError("refused")), succeed([FIGLET])]
        with capturedLogs() as events:
            self.catalogue.start()
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["cannot list the functions, messages for topics wait for a first list: refused"],
        )
        self.assertEqual((self.catalogue.is_known, self.changes), (False, 0))
        self.assertEqual((self.names("banner"), self.catalogue.topics), ([], ()))
        self.clock.advance(5)
        self.assertEqual((self.catalogue.is_known, self.changes), (True, 1))

    def test_wrong_annotations(self) -> None:
        """They are told once, not with each refresh."""
        wrong = DeployedFunction("f", "", {"natsconnector.timeout": "soon"})
        self.answers = [succeed([wrong]), succeed([wrong, FIGLET])]
        with capturedLogs() as events:
            self.catalogue.start()
            self.assertEqual(sum("'soon'" in str(formatEvent(event)) for event in events), 1)
            self.clock.advance(5)
        self.assertEqual(sum("'soon'" in str(formatEvent(event)) for event in events), 1)

    def test_topics_besides(self) -> None:
        """All topics, but none on which messages would arrive in two ways."""
        self.answers = [succeed([FIGLET, CAT])]
        self.catalogue.start()
        self.assertEqual(
            self.catalogue.topics_besides(["mine", "banner"], ["function.call"]),
            ["mine", "banner", "orders.*", "orders.new"],
        )
        with capturedLogs() as events:
            for _ in range(2):
                self.assertEqual(self.catalogue.topics_besides([], ["orders.new"]), ["banner"])
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                f"the connector does not subscribe to topic {topic}, which overlaps with orders.new"
                for topic in ("orders.*", "orders.new")
            ],
            "said once",
        )

    def test_topics_of_the_server(self) -> None:
        """A topic with a wildcard under which the server's own messages come is not listened on."""
        self.answers = [succeed([DeployedFunction("f", "", {"topic": ">, *.x, ok"})])]
        self.catalogue.start()
        self.assertEqual(self.catalogue.topics_besides([], []), ["ok"])

    def test_stop(self) -> None:
        """Stopped while it asks or waits, it leaves nothing behind."""
        waiting: Deferred[list[DeployedFunction]] = Deferred()
        for answer in (waiting, succeed([FIGLET])):
            self.answers = [answer]
            self.catalogue.start()
            self.catalogue.stop()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_closes(self) -> None:
        """The end, also of one that never began, is when what asks the gateway is closed."""
        closed: Deferred[None] = Deferred()
        stopped = Catalogue(self.clock, lambda: succeed([]), close=lambda: closed).stop()
        self.assertNoResult(stopped)
        closed.callback(None)
        self.successResultOf(stopped)
