"""The status page: its files, its events, and what they tell."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.admin.facts import Consumer
from natsconnector.admin.history import STEPS, History, percentile
from natsconnector.admin.service import Admin
from natsconnector.journal.calls import CALL_BOUNDS_S, Histogram
from natsconnector.journal.failures import MOST_FAILURES, Failures
from natsconnector.journal.journal import Journal
from natsconnector.model.call import FunctionCall
from natsconnector.model.ending import Ending
from natsconnector.model.outcome import Outcome, failed
from natsconnector.testing import FakeDelivery
from tests.admin.test_service import AdminCase


class Browser:
    """One that listens to the events."""

    def __init__(self, admin: Admin, method: str = "GET", version: str = "1.0") -> None:
        self.channel: Any = admin.site.buildProtocol(None)
        self.transport: Any = StringTransport()
        self.channel.makeConnection(self.transport)
        self.channel.dataReceived(f"{method} /events HTTP/{version}\r\nHost: 127.0.0.1\r\n\r\n".encode())

    @property
    def head(self) -> str:
        head: bytes = self.transport.value().partition(b"\r\n\r\n")[0]
        return head.decode()

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    @property
    def raw(self) -> list[bytes]:
        body: bytes = self.transport.value().partition(b"\r\n\r\n")[2]
        return body.split(b"\n\n")[:-1]

    @property
    def events(self) -> list[Any]:
        return [json.loads(each.removeprefix(b"data: ")) for each in self.raw]


class PageTests(AdminCase):
    """The files."""

    def test_size(self) -> None:
        """All of it together is less than 30 kB."""
        bodies = [self.ask(self.admin(), path)[2] for path in ("/", "/page.css", "/page.js")]
        self.assertTrue(all(bodies))
        self.assertLess(sum(map(len, bodies)), 30_000)

    def test_policy(self) -> None:
        """A browser may use what this site has, and nothing else: no line in the page that it would not run."""
        status, headers, body = self.ask(self.admin(), "/")
        (policy,) = headers.getRawHeaders("Content-Security-Policy") or [""]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        self.assertEqual((status, headers.getRawHeaders("Content-Type")), (200, ["text/html; charset=utf-8"]))
        self.assertEqual((rules["default-src"], rules["frame-ancestors"]), ("'none'", "'none'"))
        own = {rules[name] for name in ("script-src", "style-src", "connect-src")}
        self.assertEqual(own, {"'self'"})
        for found in (b"<style", b"style=", b" on", b"http"):
            self.assertNotIn(found, body.replace(b"button", b""))

    def test_no_markup_of_others(self) -> None:
        """Nothing that is shown can become markup, and nothing is loaded from elsewhere."""
        script = self.ask(self.admin(), "/page.js")[2].decode()
        for found in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval", "Function(", "import"):
            self.assertNotIn(found, script)
        self.assertEqual(script.count("://"), 1, "the name of SVG alone")


class EventsTests(AdminCase):
    """Server-sent events."""

    def counted(self, name: str) -> list[bytes]:
        """What a method of the status makes from now on."""
        made: list[bytes] = []
        make = getattr(self.status, name)

        def counted() -> bytes:
            made.append(make())
            return made[-1]

        self.patch(self.status, name, counted)
        return made

    def test_each_second(self) -> None:
        """Each listener has the whole at first, and once a second what is new, made once for all of them."""
        admin = self.admin()
        made = self.counted("news")
        browsers = [Browser(admin) for _ in range(3)]
        self.assertIn("text/event-stream", browsers[0].head)
        self.assertEqual([len(each.events) for each in browsers], [1, 1, 1])
        self.assertTrue(browsers[0].events[0]["whole"])
        self.reactor.pump([0.5] * 4)
        self.assertEqual([len(each.events) for each in browsers], [3, 3, 3])
        self.assertEqual(len(made), 2)
        self.assertEqual({each.raw[2] + b"\n\n" for each in browsers}, {made[1]})
        self.assertNotIn("whole", browsers[0].events[1])

    def test_long(self) -> None:
        """A listener stays, though the site closes who is idle."""
        browser = Browser(self.admin())
        self.reactor.pump([1] * 300)
        self.assertFalse(browser.transport.disconnected)
        self.assertEqual(len(browser.events), 301)

    def test_slow(self) -> None:
        """Who does not read is dropped, and the others go on."""
        admin = self.admin()
        slow, quick = Browser(admin), Browser(admin)
        slow.channel.pauseProducing()
        self.reactor.advance(1)
        self.assertTrue(slow.transport.disconnected)
        self.assertEqual((len(slow.events), len(quick.events), self.events.listeners), (1, 2, 1))

    def test_slow_for_a_moment(self) -> None:
        """Who reads again within the second stays."""
        browser = Browser(self.admin())
        browser.channel.pauseProducing()
        browser.channel.resumeProducing()
        self.reactor.advance(1)
        self.assertEqual((browser.transport.disconnected, len(browser.events)), (False, 2))

    def test_limit(self) -> None:
        """Sixteen listen; one more is told so, until one goes."""
        admin = self.admin()
        browsers = [Browser(admin) for _ in range(17)]
        self.assertEqual([each.status for each in browsers], [200] * 16 + [503])
        browsers[0].channel.connectionLost()
        self.assertEqual(Browser(admin).status, 200)

    def test_places(self) -> None:
        """After a minute the one that has listened longest makes room for the next: it may be asleep."""
        admin = self.admin()
        browsers = [Browser(admin) for _ in range(15)]
        self.reactor.pump([1] * 30)
        browsers.append(Browser(admin))
        self.reactor.pump([1] * 29)
        self.assertEqual(Browser(admin).status, 503)
        self.reactor.advance(1)
        later = [Browser(admin) for _ in range(16)]
        self.assertEqual([each.status for each in later], [200] * 15 + [503])
        self.assertEqual([each.transport.disconnected for each in browsers], [True] * 15 + [False])
        self.assertEqual(self.events.listeners, 16)
        self.reactor.advance(1)
        self.assertEqual([len(each.events) for each in (browsers[0], browsers[15], later[0])], [61, 32, 2])

    def test_hundred(self) -> None:
        """A hundred that come, do not read, or vanish: as many as there are places are told, at one price, and kept."""
        admin = self.admin()
        made = [self.counted("news"), self.counted("whole")]
        reading: list[Browser] = []
        paused: list[Browser] = []
        for second in range(20):
            for number in range(100):
                browser = Browser(admin)
                if browser.status == 503:
                    self.assertTrue(browser.transport.disconnecting)
                    browser.channel.connectionLost()
                elif number % 3 == 0:
                    browser.channel.pauseProducing()
                    paused.append(browser)
                elif number % 3 == 1:
                    browser.channel.connectionLost()
                else:
                    reading.append(browser)
            self.assertLessEqual(self.events.listeners, 16)
            self.assertLessEqual(admin.site.connections, admin.site.bounds.connections)
            self.reactor.advance(1)
            self.assertLessEqual(max(map(len, made)), second + 1)
            for browser in paused:
                self.assertTrue(browser.transport.disconnected)
                browser.channel.connectionLost()
            paused.clear()
        self.assertEqual(len(reading), self.events.listeners, "who does not read is dropped, who reads stays")
        self.assertEqual(max(len(each.events) for each in reading), 21)
        for browser in reading:
            browser.channel.connectionLost()
        self.assertEqual((self.events.listeners, self.reactor.getDelayedCalls()), (0, []))

    def test_gone(self) -> None:
        """When the last one goes nothing is done any more."""
        admin = self.admin()
        browsers = [Browser(admin), Browser(admin)]
        browsers[0].channel.connectionLost()
        self.reactor.advance(1)
        self.assertEqual([len(each.events) for each in browsers], [1, 2])
        browsers[1].channel.connectionLost()
        self.assertEqual((self.events.listeners, self.reactor.getDelayedCalls()), (0, []))

    def test_head(self) -> None:
        """HEAD has the head, and ends."""
        browser = Browser(self.admin(), method="HEAD")
        self.assertIn("text/event-stream", browser.head)
        self.assertEqual((browser.raw, self.events.listeners), ([], 0))
        self.assertTrue(browser.transport.disconnecting)
        self.assertEqual(Browser(self.admin(), method="POST").head.split()[1], "405")

    def test_stop(self) -> None:
        """Listeners see how it stops, and are closed then; nobody comes any more."""
        admin = self.admin()
        admin.open()
        admin.startService()
        browser = Browser(admin, version="1.1")
        stopped = admin.stopService()
        self.reactor.advance(1)
        self.assertEqual((len(browser.raw), browser.transport.disconnecting), (2, False))
        self.asked.stopped.callback(None)
        self.assertTrue(browser.transport.value().endswith(b"\r\n0\r\n\r\n"), "it ends as a whole")
        self.assertTrue(browser.transport.disconnecting)
        browser.channel.connectionLost()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertFalse(self.events.has_room)


class StatusTests(AdminCase):
    """What the events tell."""

    def failing(self, number: int = 1, call: FunctionCall | None = None, outcome: Outcome | None = None) -> None:
        for _ in range(number):
            self.journal.ended(Ending(FakeDelivery(), call, outcome or failed(400, "not JSON: SECRET"), 1, 0.1))

    def test_state(self) -> None:
        """Health with its reasons, work against its limits, sums."""
        self.gateway = "connection refused"
        self.consumers = [Consumer("S", "c", 5, 4, 3, 0.0)]
        self.failing()
        (event,) = Browser(self.admin()).events
        self.assertEqual([part.get("reason") for part in event["health"]["parts"]], [None, "connection refused"])
        self.assertEqual(
            event["work"], {"inflight": 3, "limit": 100, "pending": 7, "pending_limit": 1000, "oldest_s": 2.5}
        )
        self.assertEqual(event["streams"], [{"name": "S / c", "pending": 5, "unacknowledged": 4, "redelivered": 3}])
        self.assertEqual((event["sums"]["failed"], event["sums"]["refused"]), (0, 1))

    def test_functions(self) -> None:
        """The fifty busiest, with percentiles estimated from the histogram; before them those that have just failed."""
        for number in range(60):
            for _ in range(number + 1):
                self.journal.calls.ended(f"f{number}", Outcome(200), 0.3, 1.0, queued=False)
        self.journal.calls.ended("f1", Outcome(500), 0.3, 1.04, queued=False)
        self.journal.calls.ended("nosuch", Outcome(404, not_deployed=True), 0.3, 1.04, queued=False)
        self.running = {"f1": 2, "nosuch": 1}
        (event,) = Browser(self.admin()).events
        self.assertEqual(
            event["functions"][:3],
            [
                ["f1", 3, 1, 0.375, 0.4875, 2, 1.0, "the answer was 500"],
                ["other", 1, 1, 0.375, 0.4875, 1, 1.0, "the gateway has no such function"],
                ["f59", 60, 0, 0.375, 0.4875, 0, None, ""],
            ],
        )
        self.assertEqual((len(event["functions"]), event["functions_left_off"]), (50, 11))
        self.reactor.advance(700)
        (event,) = Browser(self.admin()).events
        self.assertEqual(event["functions"][0][0], "f59", "the failure is long ago")

    def test_same_name(self) -> None:
        """Functions of one name in several namespaces have each the failure that is theirs; none has the gateway's."""
        for name, outcome in (
            ("f", Outcome(200)),
            ("f.one", Outcome(500)),
            ("f.two", failed(504, "no answer within 60 s")),
            ("f.three", Outcome(200)),
            ("f.three", failed(502, "refused", gateway_down=True)),
        ):
            self.journal.calls.ended(name, Outcome(200), 0.3, 1.0, queued=False)
            self.journal.calls.ended(name, outcome, 0.3, 1.0, queued=False)
        (event,) = Browser(self.admin()).events
        self.assertEqual(
            {row[0]: row[7] for row in event["functions"]},
            {"f": "", "f.one": "the answer was 500", "f.two": "no answer within 60 s", "f.three": ""},
        )

    def test_advice(self) -> None:
        """What is to be done comes with the state."""
        admin = self.admin()
        (event,) = Browser(admin).events
        self.assertEqual(event["advice"], [])
        self.failing()
        self.reactor.advance(1)
        (event,) = Browser(admin).events
        ((matter, action),) = event["advice"]
        self.assertEqual(matter, "1 message refused in the last ten minutes.")
        self.assertIn("Publishers", action)

    def test_failures(self) -> None:
        """Each failure once, with its reason in a sentence; at the most ten a second."""
        browser = Browser(self.admin())
        self.failing(2, FunctionCall("f", call_id="c"), Outcome(500, b"SECRET"))
        self.failing(1, FunctionCall("f", call_id="c"), failed(504, "no answer within 60 s"))
        self.reactor.advance(1)
        self.assertEqual(
            [each[2:] for each in browser.events[1]["failures"]],
            [["f", 500, "the answer was 500"]] * 2 + [["f", 504, "no answer within 60 s"]],
        )
        self.failing(50)
        self.reactor.advance(1)
        self.assertEqual([each[0] for each in browser.events[2]["failures"]], list(range(44, 54)))
        self.reactor.advance(1)
        self.assertEqual(browser.events[3]["failures"], [])
        late = Browser(self.admin())
        self.assertEqual([each[0] for each in late.events[0]["failures"]], list(range(1, 54)))

    def test_nothing_is_missed(self) -> None:
        """Who comes within a second after another lacks nothing, nor does who comes after a pause without listeners."""
        admin = self.admin()
        first = Browser(admin)
        self.failing()
        second = Browser(admin)
        self.reactor.advance(1)
        for browser in (first, second):
            numbers = {each[0] for event in browser.events for each in event["failures"]}
            self.assertEqual(numbers, {1})
        for browser in (first, second):
            browser.channel.connectionLost()
        self.failing()
        third = Browser(admin)
        self.assertEqual([each[0] for each in third.events[0]["failures"]], [1, 2])
        self.reactor.advance(1)
        self.assertEqual(third.events[1]["failures"], [], "what was in the whole is no news")
        self.reactor.advance(0.5)
        Browser(admin)
        self.failing()
        self.reactor.advance(0.5)
        self.reactor.advance(0.25)
        last = Browser(admin)
        self.assertEqual([each[0] for each in last.events[0]["failures"]], [1, 2, 3], "told since the last whole")

    def test_no_secrets(self) -> None:
        """Neither payloads, call ids, nor what a publisher has invented: names that no gateway knows, subjects."""
        delivery = FakeDelivery(subject="SECRET.subject", payload=b"SECRET")
        call = FunctionCall("SECRET-name", b"SECRET", call_id="SECRET-id")
        for ending in (
            Ending(delivery, None, failed(400, "not JSON: SECRET"), 0, 0.1),
            Ending(delivery, None, failed(404, "no function for SECRET"), 0, 0.1),
            Ending(delivery, call, Outcome(404, b"SECRET", not_deployed=True), 1, 0.1),
        ):
            self.journal.ended(ending)
            self.journal.lost(ending)
        self.journal.calls.ended("SECRET-name", Outcome(404, not_deployed=True), 0.1, 1.0, queued=False)
        browser = Browser(self.admin())
        self.assertEqual(len(browser.events[0]["failures"]), 6)
        self.assertNotIn(b"SECRET", browser.transport.value())

    def test_size(self) -> None:
        """With as much as there can be an event has less than 20 kB, and the first one less than what is dropped."""
        self.history.start()
        self.reactor.pump([5] * STEPS)
        names = [f"{number:063}.{'n' * 63}" for number in range(500)]
        for name in names:
            self.journal.calls.ended(name, Outcome(200), 0.3, self.reactor.seconds(), queued=False)
            self.journal.calls.ended(name, failed(504, "x" * 1000), 0.312345, self.reactor.seconds(), queued=False)
        self.not_ready = self.gateway = "y" * 1000
        self.running = dict.fromkeys(names, 12)
        self.consumers = [Consumer("S" * 500, "c", 10**9, 1000, 1000, 0.0)] * 50
        browser = Browser(self.admin())
        self.failing(200, FunctionCall(names[0], call_id="c"), failed(504, "x" * 1000))
        self.reactor.advance(1)
        whole, news = map(len, browser.raw)
        self.assertEqual(len(browser.events[1]["functions"]), 50)
        self.assertLess(news, 20_000)
        self.assertLess(whole, 40_000)
        self.assertLess(len(self.status.whole()), 64 << 10, "beyond it a transport tells that too much is unsent")


class HistoryTests(SynchronousTestCase):
    """The last ten minutes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.journal = Journal(self.clock)
        self.calls = self.journal.calls
        self.pending = 0
        self.history = History(self.clock, self.journal, lambda: self.pending)
        self.history.start()

    def ended(self, number: int, status: int = 200, duration_s: float = 0.3) -> None:
        for _ in range(number):
            self.calls.ended("f", Outcome(status), duration_s, self.clock.seconds(), queued=False)

    def test_points(self) -> None:
        """Rates and percentiles of each step alone."""
        self.ended(10)
        self.clock.advance(5)
        self.ended(15, 500, 3.0)
        self.pending = 8
        self.clock.advance(5)
        self.pending = 0
        self.clock.advance(5)
        self.assertEqual(
            [tuple(point) for point in self.history.points],
            [(5.0, 2.0, 0.0, 0.375, 0.4875, 0), (10.0, 3.0, 3.0, 3.75, 4.875, 8), (15.0, 0.0, 0.0, None, None, 0)],
        )

    def test_recent(self) -> None:
        """The last minutes of one function, and what else messages met with: what is older than ten does not count."""
        self.ended(3, 500)
        ((name, found),) = self.calls.by_function()
        self.journal.shed(1, 1, 1.0, None)
        self.assertEqual(self.history.recent(name, found)[:2], (3, 3))
        self.clock.pump([5] * (STEPS - 1))
        self.ended(2, duration_s=3.0)
        self.assertEqual((self.history.recent(name, found)[:2], self.history.mishaps()["shed"]), ((5, 3), 1))
        self.clock.advance(5)
        recent = self.history.recent(name, found)
        self.assertEqual((recent[:2], self.history.mishaps()["shed"]), ((2, 0), 0))
        self.assertEqual(percentile(recent.durations or (), CALL_BOUNDS_S, 0.5), 3.75)
        self.clock.pump([5] * STEPS)
        self.assertEqual(self.history.recent(name, found)[:2], (0, 0))
        self.journal.finish()

    def test_shared_durations(self) -> None:
        """Functions that share their durations are not counted as often as they are many."""
        journal = Journal(self.clock, most_functions=5)  # one of five has its own
        self.calls = journal.calls
        self.history = History(self.clock, journal, lambda: 0)
        self.history.start()
        self.calls.ended("own", Outcome(200), 3.0, 0.0, queued=False)
        for name in "abcd":
            self.calls.ended(name, Outcome(200), 0.3, 0.0, queued=False)
        self.clock.advance(5)
        self.assertEqual(self.history.points[0].p50, percentile([0, 0, 0, 0, 4, 0, 0, 1], CALL_BOUNDS_S, 0.5))

    def test_ring(self) -> None:
        """What is older than ten minutes goes; a late step has its true length; the end is one."""
        self.clock.pump([5] * (STEPS + 10))
        self.assertEqual((len(self.history.points), self.history.points[0].at), (STEPS, 55.0))
        self.ended(20)
        self.clock.advance(10)
        self.assertEqual(self.history.points[-1].calls, 2.0)
        self.history.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clock_set_back(self) -> None:
        """A clock that somebody sets back makes no point, and no fault."""
        self.clock.advance(5)
        self.clock.rightNow -= 100
        self.clock.advance(105)
        self.clock.rightNow -= 100
        self.ended(5)
        before = len(self.history.points)
        self.clock.calls[0].time = self.clock.rightNow
        self.clock.advance(0)
        self.assertEqual(len(self.history.points), before)
        self.clock.advance(5)
        self.assertEqual(self.history.points[-1].calls, 0.0)

    def test_percentile(self) -> None:
        """Estimated within a bucket; without values none; beyond the last bound it is that."""
        histogram = Histogram((1.0, 2.0, 4.0))
        self.assertIsNone(percentile(histogram.counts, histogram.bounds, 0.5))
        for value in (0.5, 1.5, 1.5, 3.0):
            histogram.add(value)
        found = [percentile(histogram.counts, histogram.bounds, share) for share in (0.25, 0.5, 0.75, 1.0)]
        self.assertEqual(found, [1.0, 1.5, 2.0, 4.0])
        for _ in range(10):
            histogram.add(99.0)
        self.assertEqual(percentile(histogram.counts, histogram.bounds, 0.95), 4.0)


class FailuresTests(SynchronousTestCase):
    """The last failures."""

    def test_bounded(self) -> None:
        """A hundred are kept."""
        failures = Failures()
        for _ in range(150):
            failures.add(1.0, "f", Outcome(500))
        self.assertEqual([each.number for each in failures.since(0)], list(range(51, 151)))
        self.assertEqual(len(list(failures.since(0))), MOST_FAILURES)
        self.assertEqual([each.number for each in failures.since(149)], [150])

    def test_cleaned(self) -> None:
        """What a terminal or a browser would act on is escaped, and length bounded."""
        failures = Failures()
        failures.add(1.0, "f", failed(502, "a\x1b[2J\nb\u202e" + "x" * 1000))
        (failure,) = failures.since(0)
        self.assertTrue(failure.reason.startswith("a\\x1b[2J b\\u202exxx"), failure.reason)
        self.assertEqual(len(failure.reason), 160)
        self.assertTrue(failure.reason.endswith("..."))
