"""Services on ``$SRV``."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import EndpointFacts, MicroService, Msg, ServiceError
from natsconnector.nats.micro_answers import Identification, encoded
from tests.nats import profile  # noqa: F401
from tests.nats.fakes import World

SRV = ["$SRV.%s", "$SRV.%s.Echo", "$SRV.%s.Echo.id1"]


class MicroCase(SynchronousTestCase):
    """A service named Echo, with its server's end."""

    def setUp(self) -> None:
        self.world = World()
        self.peer = self.world.connected()

    def service(self, **options: Any) -> MicroService:
        options = {"description": "an echo", "metadata": {"k": "v"}, "id": "id1", **options}
        return MicroService(self.world.clock, self.world.client, "Echo", "1.2.3", **options)

    def started(self, service: MicroService) -> dict[str, str]:
        """Start it; the sids of its subscriptions, by subject."""
        service.start()
        frames = [frame.split(" ") for frame in self.peer.heard().decode().splitlines()]
        self.groups = {frame[1]: frame[2] for frame in frames if len(frame) == 4}
        return {frame[1]: frame[-1] for frame in frames}

    def ask(self, sid: str, payload: bytes = b"", reply: str = "r.1") -> None:
        """A request comes."""
        self.peer.say(b"MSG s %b %b %d\r\n%b\r\n" % (sid.encode(), reply.encode(), len(payload), payload))

    def said(self) -> dict[str, Any]:
        """The answer that went out, of JSON."""
        head, payload, _ = self.peer.heard().split(b"\r\n")
        self.assertEqual(head, b"PUB r.1 %d" % len(payload))
        found: dict[str, Any] = json.loads(payload)
        return found


class DiscoveryTests(MicroCase):
    """What it says of itself."""

    def test_ping(self) -> None:
        """On the three subjects, without a queue group, as ADR-32 has it."""
        sids = self.started(self.service())
        self.assertEqual(sorted(sids), sorted(subject % verb for subject in SRV for verb in ("PING", "INFO", "STATS")))
        self.assertEqual(self.groups, {})
        for subject in SRV:
            self.ask(sids[subject % "PING"])
            self.assertEqual(
                self.said(),
                {
                    "type": "io.nats.micro.v1.ping_response",
                    "name": "Echo",
                    "id": "id1",
                    "version": "1.2.3",
                    "metadata": {"k": "v"},
                },
            )

    def test_info(self) -> None:
        """Endpoints of its own, and of others."""
        service = self.service(others=lambda: [EndpointFacts("add", "math.add", "adders")])
        service.add_endpoint("echo", lambda msg: msg.payload, subject="svc.echo", metadata={"format": "raw"})
        sids = self.started(service)
        self.assertEqual(self.groups, {"svc.echo": "q"})
        self.assertNotIn("math.add", sids)
        self.ask(sids["$SRV.INFO"])
        self.assertEqual(
            self.said(),
            {
                "type": "io.nats.micro.v1.info_response",
                "name": "Echo",
                "id": "id1",
                "version": "1.2.3",
                "metadata": {"k": "v"},
                "description": "an echo",
                "endpoints": [
                    {"name": "echo", "subject": "svc.echo", "queue_group": "q", "metadata": {"format": "raw"}},
                    {"name": "add", "subject": "math.add", "queue_group": "adders", "metadata": {}},
                ],
            },
        )

    def test_stats(self) -> None:
        """Requests, errors and times in nanoseconds; data only where there is some."""
        others = [EndpointFacts("add", "math.add", "q", {}, 3, 1, "boom", 0.75, {"more": 1}), EndpointFacts("no", "no")]
        self.world.clock.rightNow = 86400.5
        sids = self.started(self.service(others=lambda: others))
        self.ask(sids["$SRV.STATS.Echo.id1"])
        stats = self.said()
        self.assertEqual(
            (stats["type"], stats["started"]), ("io.nats.micro.v1.stats_response", "1970-01-02T00:00:00.500Z")
        )
        self.assertEqual(
            stats["endpoints"],
            [
                {
                    "name": "add",
                    "subject": "math.add",
                    "queue_group": "q",
                    "num_requests": 3,
                    "num_errors": 1,
                    "last_error": "boom",
                    "processing_time": 750_000_000,
                    "average_processing_time": 250_000_000,
                    "data": {"more": 1},
                },
                {
                    "name": "no",
                    "subject": "no",
                    "queue_group": "",
                    "num_requests": 0,
                    "num_errors": 0,
                    "last_error": "",
                    "processing_time": 0,
                    "average_processing_time": 0,
                },
            ],
        )

    def test_put_together_once_a_second(self) -> None:
        """Whoever asks often costs no more than who asks once a second, and gets what is a second old."""
        asked: list[None] = []

        def others() -> list[EndpointFacts]:
            asked.append(None)
            return []

        service = self.service(others=others)
        sids = self.started(service)
        for _ in range(5):
            self.ask(sids["$SRV.STATS"])
            self.ask(sids["$SRV.STATS.Echo"])
        self.assertEqual(len(asked), 1)
        self.world.clock.advance(1)
        self.ask(sids["$SRV.STATS"])
        self.assertEqual(len(asked), 2)

    def test_where_an_answer_goes(self) -> None:
        """Nowhere without a reply subject, nor to the server's own, nor where its user forbids it."""
        sids = self.started(self.service())
        self.peer.say(b"MSG s %b 0\r\n\r\n" % sids["$SRV.PING"].encode())
        self.ask(sids["$SRV.PING"], reply="$JS.API.STREAM.DELETE.X")
        self.assertEqual(self.peer.heard(), b"")
        other = self.started(self.service(may_answer=lambda subject: subject != "mine"))
        self.ask(other["$SRV.PING"], reply="mine")
        self.assertEqual(self.peer.heard(), b"")
        self.ask(other["$SRV.PING"], reply="r.1")
        self.said()

    def test_stop(self) -> None:
        """It is gone, and its endpoints work off what is on its way."""
        service = self.service()
        endpoint = service.add_endpoint("echo", lambda msg: msg.payload)
        sids = self.started(service)
        stopped = service.stop()
        self.assertEqual(self.peer.heard().count(b"UNSUB "), 10)
        self.assertNoResult(stopped)
        self.ask(sids["echo"], b"late")
        self.peer.say(b"PONG\r\n")
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(endpoint.facts.num_requests, 1)
        self.ask(sids["$SRV.PING"])
        self.assertNotIn(b"ping_response", self.peer.heard())


class RefusedTests(MicroCase):
    """A user without the right to subscribe to ``$SRV.>``."""

    def refuse(self) -> None:
        for subject in SRV:
            for verb in ("PING", "INFO", "STATS"):
                text = b"-ERR 'Permissions Violation for Subscription to \"%b\"'\r\n" % (subject % verb).encode()
                self.peer.transport.protocol.dataReceived(text)

    def test_one_line(self) -> None:
        """One line says so, on one connection and the next; nothing is asked again, and the endpoints work."""
        service = self.service()
        service.add_endpoint("echo", lambda msg: msg.payload)
        with capturedLogs() as logs:
            self.peer.transport.confirms = False
            service.start()
            self.peer.flush()
            self.refuse()
            self.peer.heard()
            self.world.clock.pump([10] * 3)
            self.assertEqual(self.peer.heard().count(b"SUB"), 0)
            self.peer.drop()
            self.world.clock.advance(1)
            self.peer = self.world.peer()
            self.peer.transport.confirms = False
            self.peer.log_in()
            self.refuse()
        (line,) = (event for event in logs if event.get("event") == "service_not_shown")
        self.assertEqual(line["service"], "Echo")
        self.assertFalse([event for event in logs if event.get("event") == "subscription_refused"])
        self.assertIn("$SRV.PING", str(service.error))

    def test_granted(self) -> None:
        """With the right, which came meanwhile, it answers on the next connection; taken back, it is told again."""
        service = self.service()
        with capturedLogs() as logs:
            self.peer.transport.confirms = False
            service.start()
            self.peer.flush()
            self.refuse()
            self.peer.drop()
            self.world.clock.advance(1)
            self.peer = self.world.peer()
            self.peer.log_in()
            self.assertIsNone(service.error)
            self.peer.say(b'-ERR \'Permissions Violation for Subscription to "$SRV.PING" (sid "1")\'\r\n')
        self.assertEqual([event.get("event") for event in logs].count("service_not_shown"), 2)


class EndpointTests(MicroCase):
    """Requests, answers and errors."""

    def endpoint(self, callback: Any) -> str:
        """An endpoint of a service that runs; its sid."""
        self.micro = self.service()
        self.facts = self.micro.add_endpoint("echo", callback)
        return self.started(self.micro)["echo"]

    def test_answers(self) -> None:
        """At once, later, by a coroutine, or by itself."""
        later: list[Deferred[bytes]] = [Deferred(), Deferred()]

        async def slowly(msg: Msg) -> bytes:
            return await later[1]

        self.ask(self.endpoint(lambda msg: b"done"), b"?")
        self.assertEqual(self.peer.heard(), b"PUB r.1 4\r\ndone\r\n")
        for callback in (lambda msg: later[0], slowly):
            self.ask(self.endpoint(callback), b"?")
        self.ask(self.endpoint(lambda msg: None))
        self.assertEqual((self.peer.heard(), self.facts.facts.num_requests), (b"", 1))
        for each in later:
            each.callback(b"late")
        self.assertEqual(self.peer.heard(), b"PUB r.1 4\r\nlate\r\n" * 2)

    def test_times(self) -> None:
        """From the request to its answer."""
        later: Deferred[bytes] = Deferred()
        self.world.clock.advance(0.5)
        self.ask(self.endpoint(lambda msg: later), b"?")
        self.world.clock.advance(1.5)
        self.assertEqual(self.facts.facts.num_requests, 0)
        later.callback(b"done")
        self.assertEqual(self.facts.facts, EndpointFacts("echo", "echo", "q", {}, 1, 0, "", 1.5))

    def test_errors(self) -> None:
        """An error of the service is told as it is, in one line; one of the program as that, and is logged."""

        def refuse(msg: Msg) -> bytes:
            raise ServiceError(404, "no such\r\nthing")

        self.ask(self.endpoint(refuse))
        self.assertEqual(
            self.peer.heard().split(b"\r\n", 1)[1],
            b"NATS/1.0\r\nNats-Service-Error-Code: 404\r\nNats-Service-Error: no such thing\r\n\r\n\r\n",
        )
        self.assertEqual(self.facts.facts.last_error, "404:no such\r\nthing")
        for defective in (lambda msg: 1 / 0, lambda msg: fail(ZeroDivisionError("secret")), lambda msg: "text"):
            self.ask(self.endpoint(defective))
            answer = self.peer.heard()
            self.assertIn(b"Nats-Service-Error-Code: 500\r\nNats-Service-Error: internal error\r\n", answer)
            self.assertEqual((self.facts.facts.num_requests, self.facts.facts.num_errors), (1, 1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError, TypeError)), 3)

    def test_answer_too_large(self) -> None:
        """It is an error that says so."""
        self.ask(self.endpoint(lambda msg: bytes((1 << 20) + 1)))
        self.assertIn(b"Nats-Service-Error: a message of 1048577 bytes is over", self.peer.heard())

    def test_added_late(self) -> None:
        """An endpoint that is added to a service that runs takes requests at once; an own queue group, or none."""
        micro = self.service(queue_group="all")
        self.started(micro)
        micro.add_endpoint("a", lambda msg: None)
        micro.add_endpoint("b", lambda msg: None, subject="x.b", queue_group="")
        self.assertEqual(self.peer.heard(), b"SUB a all 10\r\nSUB x.b 11\r\n")
        micro.start()
        self.assertEqual(self.peer.heard(), b"")

    def test_nobody_waits(self) -> None:
        """A message without a reply subject is worked off without an answer."""
        sid = self.endpoint(lambda msg: b"unheard")
        self.peer.say(b"MSG s %b 0\r\n\r\n" % sid.encode())
        self.assertEqual(self.peer.heard(), b"")
        self.assertEqual(self.facts.facts.num_requests, 1)


class FormTests(SynchronousTestCase):
    """Names, versions, sizes."""

    def test_versions(self) -> None:
        """Those of semver.org, and no others."""
        for version in ("0.1.0", "1.2.3", "1.0.0-rc.1", "1.0.0-0a.b-c+build.007", "10.20.30+x"):
            Identification("n", version, "id")
        for version in (
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.2.3-01",
            "1.2.3-",
            "1.2.3 ",
            "v1.2.3",
            "1.0rc1",
            "1.2.٣",
        ):
            self.assertRaises(ValueError, Identification, "n", version, "id")

    def test_names(self) -> None:
        """No character that divides a subject."""
        for name in ("", "a.b", "a b", "a>", "ä", "a" * 129, "a\n"):
            self.assertRaises(ValueError, Identification, name, "1.0.0", "id")
            self.assertRaises(ValueError, MicroService, None, None, "n", "1.0.0", id=name or "*")
        world = World()
        service = MicroService(world.clock, world.client, "a_B-1", "1.0.0")
        self.assertRaises(ValueError, service.add_endpoint, "a.b", print)
        self.assertRegex(service.id, r"\A[0-9a-f]{22}\Z")

    @given(st.integers(0, 40), st.integers(200, 3000))
    def test_fits(self, count: int, limit: int) -> None:
        """An answer never has more bytes than it may, keeps its form, and loses no more than it has to."""
        endpoints = [{"name": f"e{n}", "metadata": {"m": "x" * 20}, "data": "y" * 90} for n in range(count)]
        response = {"type": "t", "endpoints": endpoints}
        payload = encoded(response, limit)
        self.assertLessEqual(len(payload), limit)
        found = json.loads(payload)["endpoints"]
        self.assertEqual([each["name"] for each in found], [f"e{n}" for n in range(len(found))])
        if len(json.dumps(response)) <= limit:
            self.assertEqual(found, endpoints)
