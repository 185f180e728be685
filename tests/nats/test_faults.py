"""Faults, of others and of our own, in the worst moments."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import (
    BadCredentials,
    BadSubject,
    ClientClosed,
    ConnectionLost,
    Credentials,
    NatsClient,
    NatsError,
    Status,
    Tls,
)
from natsconnector.nats.handshake import Connect, Handshake, Identity, Upgrade
from natsconnector.nats.servers import parse_server
from tests.nats import profile  # noqa: F401
from tests.nats.fakes import Peer, World, info
from tests.nats.issuing import NKey


class FaultTests(SynchronousTestCase):
    """Faults of our own, which must not end the client."""

    def test_in_the_session(self) -> None:
        """A defect while a session begins costs that connection; the next one is tried after a pause."""
        world = World()
        broken = mock.Mock(side_effect=ZeroDivisionError)
        with mock.patch.object(world.client._session.subscriptions, "began", broken):
            world.client.start()
            peer = world.peer()
            peer.accept()
            peer.say(info() + b"PONG\r\n")
            self.assertTrue(peer.transport.aborted)
            world.clock.advance(0)
            self.assertEqual(world.attempts, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        world.clock.advance(0.1)
        world.peer().log_in()
        self.assertTrue(world.client.ready)

    def test_in_the_loop(self) -> None:
        """A defect in the loop itself is logged, and the loop goes on after a pause."""
        world = World()
        broken = mock.Mock(side_effect=ZeroDivisionError)
        with mock.patch.object(world.client._pool, "next", broken):
            world.client.start()
            for _ in range(20):
                world.clock.advance(10)
        self.assertGreater(len(self.flushLoggedErrors(ZeroDivisionError)), 15)
        world.clock.advance(5)
        world.peer().log_in()
        self.assertTrue(world.client.ready)

    def test_flushing_again_and_again(self) -> None:
        """Who flushes or asks again as soon as that fails waits for the next connection, and does not spin."""
        world = World()
        peer = world.connected()
        flushed: list[str] = []

        async def persist(what: str) -> None:
            while True:
                try:
                    await world.client.when_ready()
                    await (world.client.flush() if what == "flush" else world.client.request("svc"))
                except ConnectionLost:
                    flushed.append(what)
                    await world.client.flush()

        going = [Deferred.fromCoroutine(persist(what)) for what in ("flush", "request")]
        peer.drop()
        self.assertEqual(sorted(flushed), ["flush", "request"])
        closed = world.client.close()
        for each in going:
            self.failureResultOf(each, ClientClosed)
        self.successResultOf(closed)

    def test_at_the_end_of_a_session(self) -> None:
        """A defect while a session ends is logged, and the next connection comes."""
        world = World()
        peer = world.connected()
        broken = mock.Mock(side_effect=ZeroDivisionError)
        with mock.patch.object(world.client._session.requests, "fail_all", broken):
            peer.drop()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        world.clock.advance(0.1)
        world.peer().log_in()
        self.assertTrue(world.client.ready)


class ReentrancyTests(SynchronousTestCase):
    """Whatever a callback calls, from wherever it is called, twice: the client ends or goes on, nothing else."""

    ACTIONS: dict[str, Callable[[NatsClient], Any]] = {
        "close": lambda client: client.close(),
        "drain": lambda client: client.drain().addErrback(lambda _: None),
        "force_reconnect": lambda client: client.force_reconnect(),
        "publish": lambda client: client.publish("p"),
        "subscribe": lambda client: client.subscribe("s", lambda msg: None),
        "request": lambda client: client.request("r").addErrback(lambda _: None),
        "flush": lambda client: client.flush().addErrback(lambda _: None),
    }

    def places(self, world: World, act: Callable[..., None]) -> dict[str, Callable[[], None]]:
        """Each place a callback is called from: what has to be arranged for it."""
        client = world.client

        def status() -> None:
            client.watch_status(act)

        def message() -> None:
            client.subscribe("a", act)

        def when_ready() -> None:
            client.when_ready().addBoth(act)

        def flush() -> None:
            client.flush().addBoth(act)

        def request() -> None:
            client.request("svc").addBoth(act)

        def drained() -> None:
            def drain(_: None) -> None:
                client.subscribe("b", lambda msg: None).drain().addBoth(act)

            client.when_ready().addCallback(drain)

        return {
            "watch_status": status,
            "message": message,
            "when_ready": when_ready,
            "flush": flush,
            "request": request,
            "drained": drained,
            "on_error": lambda: setattr(client._session, "_on_error", act),
        }

    def test_all(self) -> None:
        """Every action in every place."""
        for place in self.places(World(), lambda *_: None):
            for action in self.ACTIONS:
                with self.subTest(place=place, action=action):
                    self.check(place, action)

    def check(self, place: str, action: str) -> None:
        """One action in one place, through a session that has everything in it."""
        world = World("10.0.0.1", "10.0.0.2")
        acted: list[object] = []

        def act(*_: object) -> None:
            acted.append(None)
            for _again in range(2):
                with contextlib.suppress(ClientClosed):
                    self.ACTIONS[action](world.client)

        self.places(world, act)[place]()
        world.client.start()
        said = [b"MSG a 1 1\r\nx\r\nMSG a 1 1\r\ny\r\n", b"PONG\r\n" * 9, b"-ERR 'x'\r\n", info(ldm=True)]
        used = 0
        while world.attempts > used < 3:
            used = world.attempts
            peer = world.peer()
            peer.log_in()
            for data in said:
                if not peer.transport.disconnecting and not peer.transport.aborted:
                    peer.say(data)
            peer.drop()
            world.clock.advance(4)
        self.assertTrue(acted)
        if world.attempts > used:
            world.peer().refuse()
        closed = world.client.close()
        self.successResultOf(closed)
        self.assertEqual(world.client.status, Status.CLOSED)
        self.assertEqual(world.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class LoginFaultTests(SynchronousTestCase):
    """What goes wrong before we are in."""

    LOGIN = info() + b"PONG\r\n" + info(connect_info=True)

    def test_cut_at_every_byte(self) -> None:
        """Wherever the server's side of the login ends: another one has us at once, in one piece."""
        for cut in range(len(self.LOGIN)):
            world = World("10.0.0.1", "10.0.0.2")
            world.client.publish("a")
            world.client.start()
            peer = world.peer()
            peer.accept()
            if cut:
                peer.say(self.LOGIN[:cut])
            was_ready = world.client.ready
            peer.drop()
            self.assertFalse(world.client.ready)
            self.assertEqual(world.attempts, 2, cut)
            sent = world.peer().log_in()
            # What a connection was given is lost with it; what none was given goes to the next.
            self.assertEqual(sent, b"PING\r\n" if was_ready else b"PUB a 0\r\n\r\nPING\r\n", cut)
            self.assertTrue(world.client.ready)

    def test_credentials_that_cannot_be_read(self) -> None:
        """It is the reason that is told, nothing is connected, and it is tried again for ever."""
        asked: list[object] = []

        def source() -> Credentials:
            asked.append(None)
            raise BadCredentials("/run/creds", "cannot be read: No such file or directory")

        world = World(credentials=source)
        with capturedLogs() as logs:
            world.client.start()
            for _ in range(50):
                world.clock.advance(5)
        self.assertEqual(world.attempts, 0)
        self.assertGreater(len(asked), 40)
        self.assertIsInstance(world.client.last_error, BadCredentials)
        warnings = [event["reason"] for event in logs if event["log_level"] is LogLevel.warn]
        self.assertEqual(set(warnings), {"10.0.0.1:4222: /run/creds cannot be read: No such file or directory"})

    def test_credentials_that_do_not_come(self) -> None:
        """A callable whose Deferred does not fire has the same time as everything else."""
        given: list[Deferred[Credentials]] = []

        def source() -> Deferred[Credentials]:
            given.append(Deferred())
            return given[-1]

        world = World(credentials=source)
        world.client.start()
        world.clock.advance(5)
        self.assertIn("while waiting for credentials", str(world.client.last_error))
        world.clock.advance(0.1)
        self.assertEqual(len(given), 2)
        given[1].callback(Credentials(token="t"))
        peer = world.peer()
        peer.accept()
        peer.say(info())
        self.assertIn(b'"auth_token":"t"', peer.heard())

    def test_closing_while_credentials_are_awaited(self) -> None:
        """S21: the wait is cancelled, and nothing is connected."""
        cancelled: list[object] = []
        world = World(credentials=lambda: Deferred(cancelled.append))
        world.client.start()
        self.successResultOf(world.client.close())
        self.assertEqual((len(cancelled), world.attempts), (1, 0))
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_closing_in_the_tls_handshake(self) -> None:
        """S21: the socket is closed, before INFO and after it."""
        for tls in (Tls(first=True), Tls()):
            world = World(tls=tls)
            world.client.start()
            peer = world.peer()
            peer.accept()
            if not tls.first:
                peer.say(info(tls_required=True))
            self.assertEqual(len(peer.transport.tls), 1)
            closed = world.client.close()
            self.assertTrue(peer.transport.aborted)
            self.assertNoResult(closed)
            world.clock.advance(0)
            self.successResultOf(closed)
            self.assertEqual(world.clock.getDelayedCalls(), [])
            self.assertEqual(peer.heard(), b"")

    def test_tls_files_that_cannot_be_read(self) -> None:
        """Certificates that are gone are the reason of that attempt, no more."""
        world = World(tls=Tls(ca="/no/such/file"))
        world.client.start()
        world.clock.advance(10)
        self.assertEqual(world.attempts, 0)
        self.assertEqual(str(world.client.last_error), "/no/such/file cannot be read: No such file or directory")

    def test_learned_over_tls(self) -> None:
        """A server that is learned over TLS gets the login over TLS or not at all."""
        world = World("nats://me:pw@10.0.0.1")
        world.client.start()
        peer = world.peer()
        peer.accept()
        peer.say(info(tls_required=True))
        peer.transport.protocol.handshakeCompleted()
        peer.say(b"PONG\r\n" + info(connect_urls=["10.0.0.2:4222"]))
        world.clock.advance(2)
        peer.drop()
        peer = world.peer()
        self.assertEqual(peer.host, "10.0.0.2")
        peer.accept()
        peer.say(info())
        self.assertEqual(peer.heard(), b"")
        self.assertTrue(peer.transport.aborted)

    def test_man_in_the_middle(self) -> None:
        """What somebody in between adds to the INFO in clear does not count over TLS: we go nowhere else."""
        world = World("tls://me:pw@10.0.0.1")
        world.client.start()
        peer = world.peer()
        peer.accept()
        peer.say(info(tls_required=True, connect_urls=["evil:4222"], ldm=True, cluster="evil", max_payload=5000))
        peer.transport.protocol.handshakeCompleted()
        peer.say(b"PONG\r\n")
        self.assertTrue(world.client.ready)
        self.assertEqual(world.client.servers, ["10.0.0.1:4222"])
        self.assertNotIn("connect_urls", world.client.server_info)
        self.assertNotIn("ldm", world.client.server_info)
        # Servers before 2.11 say their limits only there.
        self.assertEqual((world.client.server_info["version"], world.client.max_payload), ("2.15.1", 5000))
        world.clock.advance(2)
        peer.drop()
        self.assertEqual((world.peer().host, world.attempts), ("10.0.0.1", 2))

    def test_wrong_types_in_info(self) -> None:
        """Fields of INFO that are not what they should be are as good as missing."""
        wrong: tuple[Any, ...] = (None, 5, -1, "x", "", 1e300, float("inf"), [], [5], {}, True, "x" * 5000)
        for value in wrong:
            world = World()
            fields = dict.fromkeys(
                ("version", "max_payload", "headers", "connect_urls", "nonce", "ldm", "client_id", "domain", "proto"),
                value,
            )
            world.connected(**fields, auth_required=value, jetstream=value)
            world.client.publish("a", b"x")
            self.assertTrue(0 < world.client.max_payload <= 64 << 20)
            self.assertIsInstance(world.client.server_info.get("version", ""), str)
            self.assertIs(type(world.client.server_info.get("client_id", 0)), int)

    def test_name_that_cannot_be_in_a_certificate(self) -> None:
        """It does no harm without TLS; with TLS it is the reason, whoever asks for it."""
        rows: tuple[tuple[str, dict[str, Any], str | None], ...] = (
            ("nats://func_nats", {}, None),
            ("tls://func_nats", {}, "TLS cannot be set up"),
            ("nats://func_nats", {"tls_required": True}, "TLS cannot be set up"),
        )
        for url, fields, says in rows:
            login = Deferred.fromCoroutine(Identity("me").login(parse_server(url)))
            if url.startswith("tls"):
                self.assertIn(str(says), str(self.failureResultOf(login, BadCredentials).value))
                continue
            brought = self.successResultOf(login)
            step = Handshake(brought).info(fields)
            if says is None:
                self.assertIsInstance(step, Connect)
            else:
                self.assertIsInstance(step, Upgrade)
                error = self.assertRaises(BadCredentials, brought.tls_options)
                self.assertIn(says, str(error))

    def test_refused_after_reconnect(self) -> None:
        """A reconnect is one only when the server has let us in."""
        world = World()
        peer = world.connected()
        world.clock.advance(2)
        peer.drop()
        for _ in range(3):
            peer = world.peer()
            peer.accept()
            peer.say(info() + b"-ERR 'Authorization Violation'\r\n")
            world.clock.advance(0)
            world.clock.advance(5)
        self.assertEqual([status for status, _ in world.statuses], ["connected", "disconnected"])
        self.assertEqual(world.client.statistics.reconnects, 0)

    def test_expired_while_connected(self) -> None:
        """Expired credentials are the reason of the disconnect, and are asked for anew."""
        tokens = iter(["old", "new"])
        world = World("10.0.0.1", "10.0.0.2", credentials=lambda: Credentials(token=next(tokens)))
        peer = world.connected()
        peer.say(b"-ERR 'User Authentication Expired'\r\n")
        self.assertTrue(world.client.ready)
        peer.drop()
        self.assertIn("NATS server: User Authentication Expired", world.statuses[-1][1])
        peer = world.peer()
        peer.accept()
        peer.say(info())
        self.assertIn(b'"auth_token":"new"', peer.heard())

    def test_no_secret_is_shown(self) -> None:
        """Nothing that is logged or raised, at any level, holds a secret, whatever goes wrong."""
        key = NKey()
        secrets = ("us3r", "pa55", "t0ken", "j.w.t", key.seed)
        credentials = Credentials("us3r", "pa55", "t0ken", "j.w.t", key.seed)
        shown = []
        with capturedLogs() as logs:
            for data in (
                info(nonce="n") + b"-ERR 'Authorization Violation'\r\n",
                info(),
                info(nonce="n") + b"nonsense\r\n",
                info(nonce="n") + b"PONG\r\n-ERR 'Stale Connection'\r\n",
            ):
                world = World("nats://us3r:pa55@10.0.0.1", "10.0.0.2", credentials=credentials)
                world.client.start()
                world.peer().refuse()
                peer = world.peer()
                peer.accept()
                peer.say(data)
                if not peer.transport.aborted:
                    peer.drop()
                world.clock.advance(0)
                shown += [
                    repr(world.client.last_error),
                    repr(world.statuses),
                    repr(world.client._dialer._identity),
                ]
        text = repr((logs, shown))
        self.assertIn("Authorization Violation", text)
        for secret in secrets:
            self.assertNotIn(secret, text)


class ArgumentTests(SynchronousTestCase):
    """S10: any text in any public argument is refused, or is one well-formed frame."""

    def login(self, world: World) -> Peer:
        """Say INFO, so that CONNECT comes."""
        world.client.start()
        peer = world.peer()
        peer.accept()
        peer.say(info(nonce="n"))
        return peer

    @given(st.text(), st.text(), st.text(), st.text(), st.text())
    def test_credentials(self, name: str, user: str, password: str, token: str, jwt: str) -> None:
        """Whatever is in a login arrives as it was, in one CONNECT."""
        world = World(name=name, credentials=Credentials(user, password, token, jwt))
        connect, ping, rest = self.login(world).heard().split(b"\r\n")
        self.assertEqual((ping, rest), (b"PING", b""))
        fields = json.loads(connect.removeprefix(b"CONNECT "))
        told = [fields[key] for key in ("name", "user", "pass", "auth_token", "jwt")]
        self.assertEqual(told, [name, user, password, token, jwt])

    @given(st.text(), st.none() | st.text())
    def test_subscribe(self, subject: str, queue: str | None) -> None:
        """A subscription is one SUB, now and on every later connection."""
        world = World()
        peer = world.connected()
        peer.heard()
        try:
            world.client.subscribe(subject, print, queue=queue)
        except BadSubject:
            self.assertEqual(peer.heard(), b"")
            return
        frame = peer.heard()
        self.assertEqual(len(frame.split(b" ")), 3 + (queue is not None))
        self.assertEqual(frame.count(b"\r\n"), 1)
        peer.drop()
        world.clock.advance(1)
        self.assertEqual(world.peer().log_in(), frame + b"PING\r\n")

    @given(st.text())
    def test_inbox_prefix(self, prefix: str) -> None:
        """A prefix is refused, or begins the one inbox."""
        try:
            world = World(inbox_prefix=prefix)
        except BadSubject:
            return
        peer = world.connected()
        peer.heard()
        world.client.request("svc").addErrback(lambda f: f.trap(NatsError))
        sub, pub = peer.heard().split(b"\r\n")[:2]
        self.assertTrue(sub.startswith(b"SUB %b." % prefix.encode("utf-8", "surrogateescape")))
        self.assertEqual((len(sub.split(b" ")), len(pub.split(b" "))), (3, 4))
