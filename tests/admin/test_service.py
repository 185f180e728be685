"""The admin site: pages, bounds, and when it opens and closes."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from natsconnector.admin.events import Events
from natsconnector.admin.facts import Consumer, Facts, Nats, Work
from natsconnector.admin.health import Health, Part
from natsconnector.admin.heartbeat import Heartbeat
from natsconnector.admin.history import History
from natsconnector.admin.resources import Page, pages
from natsconnector.admin.service import Admin
from natsconnector.admin.status import Status
from natsconnector.journal.journal import Journal
from natsconnector.model.limits import Limits


class Asked(Service):
    """A service whose end a test decides."""

    def __init__(self) -> None:
        self.stopped: Deferred[None] = Deferred()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self.stopped


class Reactor(MemoryReactorClock):
    """One whose ports may be taken."""

    taken = False

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        return super().listenTCP(port, factory, backlog, interface)


class AdminCase(SynchronousTestCase):
    """A site around a service, in memory."""

    def setUp(self) -> None:
        self.reactor: Any = Reactor()
        self.asked = Asked()
        self.not_ready: str | None = None
        self.gateway: str | None = None
        self.fault: str | None = None
        self.accepted: list[str] = []
        self.running: dict[str, int] = {}
        self.consumers: list[Consumer] = []
        self.health = Health(
            [
                Part(self.reactor, lambda: "source", lambda: self.not_ready),
                Part(self.reactor, lambda: "gateway", lambda: self.gateway, since=lambda: 5.0, is_needed=False),
            ],
            lambda: self.fault,
        )
        self.journal = Journal(self.reactor)
        self.history = History(self.reactor, self.journal, lambda: self.facts().work.pending)
        self.status = Status(self.journal, self.health, self.history, self.facts, Limits(100, 1000, 10_000), "1.2")
        self.events = Events(self.reactor, self.status)

    def facts(self) -> Facts:
        nats = Nats(True, 0.0, 0, 0, 0, 0, 0)
        return Facts(
            self.reactor.seconds(),
            self.health.is_ready,
            Work(3, 7, 700, 2.5, self.running),
            nats,
            True,
            0.0,
            None,
            self.consumers,
        )

    def admin(self, host: str | None = "127.0.0.1", *, is_wanted: bool = False) -> Admin:
        return Admin(
            self.reactor,
            self.asked,
            pages(self.health, self.metrics, self.events),
            Heartbeat(self.reactor),
            self.history,
            self.events,
            endpoint="tcp:8081:interface=127.0.0.1",
            host=host,
            is_wanted=is_wanted,
        )

    def metrics(self, accept: str) -> Page:
        self.accepted.append(accept)
        return Page(b"figures", "text/figures")

    def ask(self, admin: Admin, path: str, method: str = "GET", host: str = "127.0.0.1:8081", **headers: str) -> Any:
        """Status, headers and body of an answer."""
        channel = admin.site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
        channel.dataReceived("\r\n".join([*lines, "", ""]).encode())
        head, _, body = transport.value().partition(b"\r\n\r\n")
        status, *fields = head.split(b"\r\n")
        found = Headers()
        for field in fields:
            name, _, value = field.partition(b": ")
            found.addRawHeader(name, value)
        channel.connectionLost()
        return int(status.split()[1]), found, body


class PagesTests(AdminCase):
    """What is answered."""

    def test_healthz(self) -> None:
        """Well unless it can only be started anew; that the gateway is away, or that it is not ready, is no fault."""
        admin = self.admin()
        self.not_ready = self.gateway = "away"
        self.assertEqual(self.ask(admin, "/healthz")[::2], (200, b"ok\n"))
        self.fault = "closed for good"
        self.assertEqual(self.ask(admin, "/healthz")[::2], (503, b"closed for good\n"))

    def test_readyz(self) -> None:
        """503 while a part that is needed is not ready, with its reason and since when; in JSON."""
        admin = self.admin()
        self.reactor.advance(100)
        status, headers, body = self.ask(admin, "/readyz")
        self.assertEqual(status, 200)
        self.assertEqual(headers.getRawHeaders("Content-Type"), ["application/json"])
        self.not_ready = "not subscribed yet"
        self.health.note()
        self.reactor.advance(2.5)
        status, _, body = self.ask(admin, "/readyz")
        report = json.loads(body)
        self.assertEqual((status, report["ready"]), (503, False))
        source, gateway = report["parts"]
        self.assertEqual((source["name"], source["ready"], source["reason"]), ("source", False, "not subscribed yet"))
        self.assertEqual((source["since"], source["for_s"]), ("1970-01-01T00:01:40.000+00:00", 2.5))
        self.assertEqual((gateway["ready"], gateway["for_s"]), (True, 97.5))
        self.assertNotIn("reason", gateway)
        self.not_ready = None
        source, _ = json.loads(self.ask(admin, "/readyz")[2])["parts"]
        self.assertEqual((source["ready"], source["for_s"]), (True, 0.0))

    def test_gateway_away(self) -> None:
        """It is told, and does not make the connector unready: messages come in, and wait."""
        self.gateway = "connection refused"
        status, _, body = self.ask(self.admin(), "/readyz")
        self.assertEqual(status, 200)
        (_, gateway) = json.loads(body)["parts"]
        self.assertEqual((gateway["needed"], gateway["reason"]), (False, "connection refused"))

    def test_index(self) -> None:
        """The status page needs nothing from elsewhere, and what it names is there."""
        admin = self.admin()
        status, _, body = self.ask(admin, "/")
        paths = set(re.findall(r'(?:href|src)="([^"#]+)"', body.decode()))
        self.assertEqual((status, paths), (200, {"page.css", "page.js", "healthz", "readyz", "metrics"}))
        self.assertEqual({self.ask(admin, f"/{path}")[0] for path in paths}, {200})

    def test_accept(self) -> None:
        """The form of the figures is the asker's choice."""
        status, headers, body = self.ask(self.admin(), "/metrics", Accept="application/openmetrics-text")
        self.assertEqual((status, body, self.accepted), (200, b"figures", ["application/openmetrics-text"]))
        self.assertEqual(headers.getRawHeaders("Content-Type"), ["text/figures"])

    def test_other_paths(self) -> None:
        """Only these paths exist, just as they are written."""
        for path in ("/metrics/", "/metrics/x", "/x", "//", "/healthz%00", "/HEALTHZ"):
            self.assertEqual(self.ask(self.admin(), path)[0], 404, path)
        self.assertEqual(self.ask(self.admin(), "/healthz?verbose")[0], 200)

    def test_methods(self) -> None:
        """It can be read only; HEAD has the head of what GET has."""
        admin = self.admin()
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            status, headers, _ = self.ask(admin, "/metrics", method)
            self.assertEqual((status, headers.getRawHeaders("Allow")), (405, ["GET, HEAD"]), method)
        with capturedLogs() as events:
            status, headers, body = self.ask(admin, "/metrics", "HEAD")
        self.assertEqual(list(events), [])
        self.assertEqual((status, headers.getRawHeaders("Content-Length"), body), (200, ["7"], b""))

    def test_headers(self) -> None:
        """No answer is kept, guessed at, or let into somebody's page; none says what serves it."""
        for path in ("/", "/metrics", "/x"):
            _, headers, _ = self.ask(self.admin(), path)
            self.assertEqual(headers.getRawHeaders("Server"), ["natsconnector"])
            self.assertEqual(headers.getRawHeaders("Cache-Control"), ["no-store"])
            self.assertEqual(headers.getRawHeaders("X-Content-Type-Options"), ["nosniff"])
            self.assertIn("default-src 'none'", (headers.getRawHeaders("Content-Security-Policy") or [""])[0])

    def test_hosts(self) -> None:
        """On the loopback interface no page of another name may ask; where others ask any name may be ours."""
        self.assertEqual(self.ask(self.admin(), "/metrics", host="evil.example")[0], 403)
        self.assertEqual(self.ask(self.admin(None), "/metrics", host="connector.openfaas.svc:8081")[0], 200)

    def test_bounds(self) -> None:
        """A client that says nothing is closed, and so is the one that waits longest when there are too many."""
        admin = self.admin()
        transports = []
        for _ in range(33):
            transports.append(StringTransport())
            admin.site.buildProtocol(None).makeConnection(transports[-1])
        self.assertEqual([transport.disconnected for transport in transports], [True] + [False] * 32)
        self.reactor.advance(11)
        self.assertEqual({transport.disconnected for transport in transports}, {True})


class LifeTests(AdminCase):
    """When it opens and closes."""

    def test_order(self) -> None:
        """It opens before the service starts, and answers until that has stopped."""
        admin = self.admin()
        admin.open()
        self.assertFalse(self.asked.running)
        admin.startService()
        self.assertEqual([server[:1] for server in self.reactor.tcpServers], [(8081,)])
        self.assertTrue(self.asked.running)
        stopped = admin.stopService()
        self.assertNoResult(stopped)
        self.assertEqual(self.ask(admin, "/healthz")[0], 200)
        self.asked.stopped.callback(None)
        self.successResultOf(stopped)
        self.assertIsNone(admin.site.buildProtocol(None))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_port_in_use(self) -> None:
        """Nobody asked for the default's port: a line tells that it is taken, and the connector runs without."""
        self.reactor.taken = True
        admin = self.admin()
        with capturedLogs() as events:
            admin.open()
            admin.startService()
        self.assertTrue(self.asked.running)
        (event,) = events
        self.assertEqual((event["event"], event["log_level"]), ("admin_not_open", LogLevel.warn))
        self.assertIn("Address already in use", event["reason"])
        stopped = admin.stopService()
        self.asked.stopped.callback(None)
        self.successResultOf(stopped)

    def test_wanted_port_in_use(self) -> None:
        """An endpoint that was asked for is had, or nothing starts, and the text says why."""
        self.reactor.taken = True
        error = self.assertRaises(SystemExit, self.admin(is_wanted=True).open)
        self.assertRegex(str(error), "^natsconnector: cannot listen on --admin tcp:8081:.*: .*Address already in use")


class HeartbeatTests(SynchronousTestCase):
    """How late the reactor is."""

    def test_delay(self) -> None:
        """The worst delay of a minute, the one that lasts included."""
        reactor = MemoryReactorClock()
        heartbeat = Heartbeat(reactor)
        self.assertEqual(heartbeat.delay_s, 0.0)
        heartbeat.start()
        reactor.advance(1)
        self.assertEqual(heartbeat.delay_s, 0.0)
        reactor.advance(1.5)
        reactor.pump([1] * 30)
        self.assertEqual(heartbeat.delay_s, 0.5)
        reactor.rightNow += 4
        self.assertEqual(heartbeat.delay_s, 3.0)
        reactor.rightNow -= 4
        reactor.pump([1] * 60)
        self.assertEqual(heartbeat.delay_s, 0.0)
        heartbeat.stop()
        self.assertEqual(reactor.getDelayedCalls(), [])
