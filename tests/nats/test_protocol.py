"""One connection: login, keep-alive, order, end."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats.auth import Credentials
from natsconnector.nats.errors import (
    AuthorizationError,
    BadCredentials,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    NatsError,
    OutboundBufferFull,
    ServerError,
)
from natsconnector.nats.handshake import Identity, Stage
from natsconnector.nats.outbound import OutboundBuffer
from natsconnector.nats.protocol import CLOSE_TIMEOUT_S, Connection
from natsconnector.nats.servers import Server, parse_server
from natsconnector.nats.status import Statistics
from natsconnector.nats.tls import Tls
from natsconnector.nats.wire.events import Msg
from tests.nats.fakes import FakeTransport, info
from tests.nats.issuing import NKey


class ConnectionTestCase(SynchronousTestCase):
    """A connection whose other end is the test."""

    def make(self, server: Server | None = None, limit: int = 1000, **identity: Any) -> None:
        """Connect."""
        self.clock = MemoryReactorClock()
        self.messages: list[Msg] = []
        self.infos: list[dict[str, Any]] = []
        self.errors: list[ServerError] = []
        self.buffer = OutboundBuffer(limit)
        self.statistics = Statistics()
        server = server or Server("h", 4222)
        self.connection = Connection(
            self.clock,
            server,
            buffer=self.buffer,
            statistics=self.statistics,
            ping_interval_s=10.0,
            max_pings_out=2,
            on_message=self.messages.append,
            on_info=self.infos.append,
            on_error=self.errors.append,
        )
        login = Deferred.fromCoroutine(Identity("me", **identity).login(server))
        self.connection.bring(self.successResultOf(login))
        self.ready = self.connection.when_ready()
        self.lost = self.connection.when_lost()
        self.transport = FakeTransport(self.clock)
        self.transport.protocol = self.connection
        self.connection.makeConnection(self.transport)

    def make_ready(self, limit: int = 1000) -> None:
        """Connect and log in."""
        self.make(limit=limit)
        self.connection.dataReceived(info() + b"PONG\r\n")
        self.successResultOf(self.ready)
        self.heard()

    def heard(self) -> bytes:
        """What was sent since the last time."""
        self.connection.out.flush()
        data: bytes = self.transport.value()
        self.transport.clear()
        return data


class LoginTests(ConnectionTestCase):
    """From the socket to ready."""

    def test_connect(self) -> None:
        """S1: INFO is answered by exactly one CONNECT and one PING, with no field that is null."""
        self.make()
        self.assertTrue(self.transport.no_delay)
        self.assertEqual(self.heard(), b"")
        self.connection.dataReceived(info())
        connect, ping, rest = self.heard().split(b"\r\n")
        self.assertEqual((ping, rest), (b"PING", b""))
        fields = json.loads(connect.removeprefix(b"CONNECT "))
        self.assertEqual(
            fields,
            {
                "verbose": False,
                "pedantic": False,
                "tls_required": False,
                "name": "me",
                "lang": "python-twisted",
                "version": fields["version"],
                "protocol": 1,
                "headers": True,
                "no_responders": True,
                "echo": True,
            },
        )

    def test_no_headers(self) -> None:
        """No-responders answers are asked for only where there are headers; the server would refuse it."""
        self.make()
        self.connection.dataReceived(b"INFO {}\r\n")
        fields = json.loads(self.heard().split(b"\r\n")[0].removeprefix(b"CONNECT "))
        self.assertEqual((fields["headers"], fields["no_responders"]), (False, False))

    def test_credentials(self) -> None:
        """Credentials of the URL are sent whether the server asks for them or not."""
        for url, expected in (
            ("nats://me:p%40ss@h", {"user": "me", "pass": "p@ss"}),
            ("nats://t0ken@h", {"auth_token": "t0ken"}),
        ):
            self.make(parse_server(url))
            self.connection.dataReceived(info())
            fields = json.loads(self.heard().split(b"\r\n")[0].removeprefix(b"CONNECT "))
            self.assertEqual({k: fields[k] for k in ("user", "pass", "auth_token") if k in fields}, expected)

    def test_ready(self) -> None:
        """S2: ready at the PONG, not before, with or without +OK."""
        for ok in (b"", b"+OK\r\n"):
            self.make()
            self.connection.dataReceived(info())
            self.connection.dataReceived(ok + b"PONG\r")
            self.assertNoResult(self.ready)
            self.connection.dataReceived(b"\n")
            self.successResultOf(self.ready)

    def test_pong_before_info(self) -> None:
        """A PONG nobody asked for is no login."""
        self.make()
        self.connection.dataReceived(b"PONG\r\n")
        self.assertNoResult(self.ready)

    def test_second_info(self) -> None:
        """S3: a second INFO before the PONG is not answered by a second CONNECT, and replaces the first."""
        self.make()
        self.connection.dataReceived(info() + info(max_payload=10))
        self.assertEqual(self.heard().count(b"CONNECT"), 1)
        self.connection.dataReceived(b"PONG\r\n")
        self.assertEqual(self.connection.info["max_payload"], 10)

    def test_info_after_pong(self) -> None:
        """The INFO in the same segment after the PONG counts already when ready is told."""
        self.make()
        limits: list[int] = []
        self.ready.addCallback(lambda _: limits.append(self.connection.info["max_payload"]))
        self.connection.dataReceived(info())
        self.connection.dataReceived(b"PONG\r\n" + info(max_payload=10))
        self.assertEqual(limits, [10])
        self.assertEqual(self.infos, [])

    def test_refused(self) -> None:
        """S4: an -ERR before the PONG fails the login with its class, before CONNECT too, and closes at once."""
        for before in (b"", info()):
            self.make()
            self.connection.dataReceived(before + b"-ERR 'Authorization Violation'\r\n")
            self.assertTrue(self.transport.aborted)
            self.clock.advance(0)
            error = self.failureResultOf(self.ready, AuthorizationError).value
            self.assertEqual(error.message, "Authorization Violation")
            self.assertIn("Authorization Violation", self.successResultOf(self.lost).reason)

    def test_info_and_err_in_one_segment(self) -> None:
        """-ERR and the end right behind INFO: the reason is the -ERR's text."""
        self.make()
        self.connection.dataReceived(info() + b"-ERR 'maximum connections exceeded'\r\n")
        self.clock.advance(0)
        self.assertEqual(self.failureResultOf(self.ready, ServerError).value.message, "maximum connections exceeded")

    def test_harmless_err_before_pong(self) -> None:
        """An -ERR that refuses one operation does not fail the login."""
        self.make()
        self.connection.dataReceived(info() + b"-ERR 'maximum subscriptions exceeded'\r\nPONG\r\n")
        self.successResultOf(self.ready)

    def test_closed_before_info(self) -> None:
        """The end before INFO says so."""
        self.make()
        self.connection.connectionLost()
        error = self.failureResultOf(self.ready, ConnectFailed).value
        self.assertEqual(str(error), "cannot connect to NATS h:4222: closed by the server while waiting for INFO")

    def test_no_nats_there(self) -> None:
        """Something that is no NATS server is named by what it said."""
        self.make()
        self.connection.dataReceived(b"HTTP/1.1 400 Bad Request\r\n")
        self.assertTrue(self.transport.aborted)
        self.clock.advance(0)
        self.assertIn("HTTP/1.1 400 Bad Request", str(self.failureResultOf(self.ready, ConnectFailed).value))

    def test_ping_before_ready(self) -> None:
        """A PING is answered during the login too."""
        self.make()
        self.connection.dataReceived(b"PING\r\n")
        self.assertEqual(self.heard(), b"PONG\r\n")


class TlsLoginTests(ConnectionTestCase):
    """What goes out before TLS is up: nothing."""

    def test_asked_for_and_not_offered(self) -> None:
        """S23: a server without TLS is told nothing, whatever it says, credentials above all."""
        for url, tls in (("tls://me:pw@h", None), ("nats://me:pw@h", Tls())):
            self.make(parse_server(url), tls=tls)
            self.connection.dataReceived(b"PING\r\n")
            self.connection.dataReceived(info())
            self.connection.dataReceived(b"PONG\r\n" + info())
            self.assertEqual(self.heard(), b"")
            self.assertEqual(self.transport.tls, [])
            self.clock.advance(0)
            self.assertIn("offers no TLS", str(self.failureResultOf(self.ready, ConnectFailed).value))

    def test_upgrade(self) -> None:
        """Where either side wants it TLS comes after INFO, and CONNECT when it is up, once."""
        for url, fields in (
            ("nats://me:pw@h", {"tls_required": True}),
            ("tls://me:pw@h", {"tls_required": True}),
            ("tls://me:pw@h", {"tls_available": True}),
        ):
            self.make(parse_server(url))
            self.assertEqual(self.transport.tls, [])
            self.connection.dataReceived(info(**fields))
            self.assertEqual(len(self.transport.tls), 1)
            self.assertEqual(self.heard(), b"")
            self.connection.handshakeCompleted()
            connect = self.heard()
            self.assertIn(b'"tls_required":true', connect)
            self.assertEqual(connect.count(b"CONNECT"), 1)
            self.connection.dataReceived(info(**fields) + b"PONG\r\n")
            self.successResultOf(self.ready)
            self.assertEqual((self.heard(), len(self.transport.tls)), (b"", 1))

    def test_offered_only(self) -> None:
        """Where the server leaves the choice and nobody has asked, there is no TLS."""
        self.make()
        self.connection.dataReceived(info(tls_available=True))
        self.assertIn(b'"tls_required":false', self.heard())
        self.assertEqual(self.transport.tls, [])

    def test_first(self) -> None:
        """TLS before INFO: CONNECT comes after the INFO inside, which asks for no second TLS."""
        self.make(tls=Tls(first=True))
        self.assertEqual(len(self.transport.tls), 1)
        self.connection.handshakeCompleted()
        self.assertEqual(self.heard(), b"")
        self.connection.dataReceived(info(tls_required=True))
        self.assertEqual(self.heard().count(b"CONNECT"), 1)
        self.assertEqual(len(self.transport.tls), 1)

    def test_more_in_clear(self) -> None:
        """S24: anything that comes in clear behind INFO may be somebody else's, and ends it; whole frames or not."""
        for more in (b"PONG\r\n", b"+OK\r\n", b"P", b"nonsense\r\n", b"MSG a 1 1\r\nx\r\n", info()):
            self.make(parse_server("tls://me:pw@h"))
            self.connection.dataReceived(info(tls_required=True) + more)
            self.assertEqual((self.heard(), self.transport.tls), (b"", []))
            self.assertTrue(self.transport.aborted)
            self.clock.advance(0)
            self.assertIn("in clear", str(self.failureResultOf(self.ready, ConnectFailed).value))

    def test_refusal_in_clear(self) -> None:
        """A server that refuses everybody says so in clear, with its INFO: that is the reason."""
        self.make(parse_server("tls://h"))
        self.connection.dataReceived(info(tls_required=True) + b"-ERR 'maximum connections exceeded'\r\n")
        self.clock.advance(0)
        self.assertEqual(self.failureResultOf(self.ready, ServerError).value.message, "maximum connections exceeded")

    def test_given_up_in_the_handshake(self) -> None:
        """What completes after its end was asked for sends nothing."""
        self.make(parse_server("tls://h"))
        self.connection.dataReceived(info(tls_required=True))
        self.assertEqual(self.connection.stage, Stage.TLS)
        self.connection.abort("enough")
        self.connection.handshakeCompleted()
        self.assertEqual(self.heard(), b"")

    def test_no_nonce(self) -> None:
        """An NKey that cannot be used is the reason, and nothing is sent."""
        self.make(credentials=Credentials(seed=NKey().seed))
        self.connection.dataReceived(info())
        self.assertEqual(self.heard(), b"")
        self.clock.advance(0)
        self.failureResultOf(self.ready, BadCredentials)

    def test_nonce(self) -> None:
        """The nonce of the INFO is signed."""
        key = NKey()
        self.make(credentials=Credentials(seed=key.seed))
        self.connection.dataReceived(info(nonce="PXoWU7zWAMt75FY"))
        fields = json.loads(self.heard().split(b"\r\n")[0].removeprefix(b"CONNECT "))
        self.assertEqual(fields["nkey"], key.public)
        self.assertEqual(len(fields["sig"]), 86)

    def test_hint_of_handshake_first(self) -> None:
        """A server that wants TLS first closes without a word: the reason has a hint."""
        self.make(parse_server("tls://h"))
        self.connection.connectionLost()
        self.assertIn("handshake_first", str(self.failureResultOf(self.ready, ConnectFailed).value))


class ReadyTests(ConnectionTestCase):
    """What comes and goes on a connection that is ready."""

    def test_split_ping(self) -> None:
        """S6: a PING in two pieces is answered once."""
        self.make_ready()
        self.connection.dataReceived(b"PI")
        self.connection.dataReceived(b"NG\r")
        self.assertEqual(self.heard(), b"")
        self.connection.dataReceived(b"\n")
        self.assertEqual(self.heard(), b"PONG\r\n")

    def test_pings_are_answered_in_order(self) -> None:
        """S7: a ping comes after what was published, and each PONG answers the oldest."""
        self.make_ready()
        self.connection.out.publish(b"PUB a 0\r\n\r\n", 0)
        first, second = self.connection.ping(), self.connection.ping()
        self.assertEqual(self.heard(), b"PUB a 0\r\n\r\nPING\r\nPING\r\n")
        self.connection.dataReceived(b"PONG\r\n")
        self.successResultOf(first)
        self.assertNoResult(second)
        self.connection.dataReceived(b"PONG\r\nPONG\r\n")
        self.successResultOf(second)

    def test_cancelled_ping_keeps_its_place(self) -> None:
        """A ping that is cancelled does not let the next one have its PONG."""
        self.make_ready()
        first, second = self.connection.ping(), self.connection.ping()
        first.addErrback(lambda _: None)
        first.cancel()
        self.connection.dataReceived(b"PONG\r\n")
        self.assertNoResult(second)
        self.connection.dataReceived(b"PONG\r\n")
        self.successResultOf(second)

    def test_keep_alive(self) -> None:
        """S17: silence is answered by a PING after each interval, and by the end after the third."""
        self.make_ready()
        for _ in range(2):
            self.clock.advance(9.9)
            self.assertEqual(self.heard(), b"")
            self.clock.advance(0.1)
            self.assertEqual(self.heard(), b"PING\r\n")
        self.clock.advance(9.9)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(0.1)
        self.assertTrue(self.transport.aborted)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(self.lost).reason, "stale connection: 2 PINGs without an answer")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answers_keep_it_alive(self) -> None:
        """With its PONGs a connection lives; more PONGs than PINGs buy it no longer life."""
        self.make_ready()
        for _ in range(10):
            self.clock.advance(10)
            self.connection.dataReceived(b"PONG\r\nPONG\r\nPONG\r\n")
        self.assertFalse(self.transport.aborted)
        self.clock.pump([10, 10, 10])
        self.assertTrue(self.transport.aborted)

    def test_info(self) -> None:
        """Every later INFO is told and replaces the one before."""
        self.make_ready()
        self.connection.dataReceived(info(max_payload=7))
        self.assertEqual([fields["max_payload"] for fields in self.infos], [7])
        self.assertEqual(self.connection.info["max_payload"], 7)
        self.assertEqual(self.heard(), b"")

    def test_unknown_err(self) -> None:
        """S30: an -ERR nobody knows is told, and the connection lives on; if it ends then, that was the reason."""
        self.make_ready()
        self.connection.dataReceived(b"-ERR 'Something New'\r\n")
        self.assertEqual([error.message for error in self.errors], ["Something New"])
        self.assertFalse(self.transport.disconnecting or self.transport.aborted)
        self.connection.connectionLost()
        self.assertEqual(self.successResultOf(self.lost).reason, "NATS server: Something New")

    def test_permissions_are_no_reason(self) -> None:
        """A permissions violation is not the reason of an end that comes much later."""
        self.make_ready()
        self.connection.dataReceived(b"-ERR 'Permissions Violation for Publish to \"x\"'\r\n")
        self.connection.connectionLost()
        self.assertEqual(self.successResultOf(self.lost).reason, "closed by the server")

    def test_violation(self) -> None:
        """What came before a violation is taken, then the connection is given up."""
        self.make_ready()
        self.connection.dataReceived(b"MSG a 1 1\r\nx\r\nnonsense\r\nMSG a 1 1\r\ny\r\n")
        self.assertEqual([msg.payload for msg in self.messages], [b"x"])
        self.assertTrue(self.transport.aborted)
        self.clock.advance(0)
        self.assertIn("nonsense", self.successResultOf(self.lost).reason)

    def test_nothing_after_the_end(self) -> None:
        """S27: once its end is asked for, a connection says nothing more and sends nothing more."""
        self.make_ready()
        self.connection.abort("enough")
        self.connection.dataReceived(b"MSG a 1 1\r\nx\r\nPING\r\n" + info())
        self.connection.out.send(b"SUB a 1\r\n")
        self.connection.out.publish(b"PUB a 0\r\n\r\n", 0)
        self.transport.producer.resumeProducing()
        self.assertEqual((self.messages, self.infos, self.heard()), ([], [], b""))
        self.assertEqual(self.buffer.take_messages(), [(0, b"PUB a 0\r\n\r\n")])

    def test_lost(self) -> None:
        """The end fails every open ping, and every later one."""
        self.make_ready()
        pings = [self.connection.ping(), self.connection.ping()]
        self.connection.connectionLost()
        for ping in [*pings, self.connection.ping()]:
            self.failureResultOf(ping, ConnectionLost)
        self.successResultOf(self.connection.when_lost())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_statistics(self) -> None:
        """All bytes are counted, in both directions."""
        self.make()
        data = info() + b"PONG\r\n"
        self.connection.dataReceived(data)
        self.connection.out.publish(b"PUB a 0\r\n\r\n", 0)
        self.assertEqual(self.statistics.in_bytes, len(data))
        self.assertEqual(self.statistics.out_bytes, len(self.transport.value()))


class BackPressureTests(ConnectionTestCase):
    """A peer that does not read."""

    def test_producer(self) -> None:
        """The transport can pause us."""
        self.make()
        self.assertIs(self.transport.producer, self.connection.out)
        self.assertTrue(self.transport.streaming)

    def test_order(self) -> None:
        """What waits goes out in order, PONG and PING included, before anything newer."""
        self.make_ready()
        self.transport.producer.pauseProducing()
        self.connection.out.publish(b"PUB a 0\r\n\r\n", 0)
        self.connection.dataReceived(b"PING\r\n")
        self.connection.out.send(b"SUB b 1\r\n")
        flushed = self.connection.ping()
        self.connection.out.publish(b"PUB c 0\r\n\r\n", 0)
        self.assertEqual(self.heard(), b"")
        self.transport.producer.resumeProducing()
        self.connection.out.publish(b"PUB d 0\r\n\r\n", 0)
        self.assertEqual(self.heard(), b"PUB a 0\r\n\r\nPONG\r\nSUB b 1\r\nPING\r\nPUB c 0\r\n\r\nPUB d 0\r\n\r\n")
        self.assertNoResult(flushed)

    def test_one_pong_is_enough(self) -> None:
        """PINGs of a peer that does not read fill no memory; each time it reads it gets an answer."""
        self.make_ready()
        for _ in range(2):
            self.transport.producer.pauseProducing()
            self.connection.dataReceived(b"PING\r\n" * 1000)
            self.transport.producer.resumeProducing()
            self.assertEqual(self.heard(), b"PONG\r\n")
            self.connection.dataReceived(b"PING\r\n" * 2)
            self.assertEqual(self.heard(), b"PONG\r\n" * 2)

    def test_pause_in_the_middle(self) -> None:
        """A transport that pauses us again while we send what waits gets some whole frames, and no more."""
        self.make_ready(limit=1 << 20)
        self.transport.producer.pauseProducing()
        frames = [b"PUB %b 40000\r\n%b\r\n" % (name, bytes(40_000)) for name in (b"a", b"b", b"c", b"d", b"e")]
        for frame in frames:
            self.connection.out.publish(frame, 40_000)
        write = self.transport.write

        def write_and_pause(data: bytes) -> None:
            write(data)
            self.transport.producer.pauseProducing()

        self.patch(self.transport, "write", write_and_pause)
        for expected in (frames[:2], frames[2:4], frames[4:]):
            self.transport.producer.resumeProducing()
            self.assertEqual(self.heard(), b"".join(expected))

    def test_one_write_a_turn(self) -> None:
        """What is sent in one turn is one write, at its end; what is much is written at once."""
        self.make_ready()
        writes: list[int] = []
        self.patch(self.transport, "write", lambda data: writes.append(len(data)))
        frame = b"PUB a 100\r\n%b\r\n" % bytes(100)
        for _ in range(10):
            self.connection.out.publish(frame, 100)
        self.assertEqual(writes, [])
        self.clock.advance(0)
        self.assertEqual(writes, [10 * len(frame)])
        for _ in range(1000):
            self.connection.out.publish(frame, 100)
        self.assertEqual(len(writes), 2)
        self.assertTrue(65536 <= writes[1] < 65536 + len(frame))
        self.connection.close(ClientClosed(), "closed")
        self.assertEqual(sum(writes), 1010 * len(frame))

    def test_limit(self) -> None:
        """Messages are refused at the limit, control frames are not; after sending there is room again."""
        frame = b"PUB a 4\r\nabcd\r\n"
        self.make_ready(limit=2 * len(frame))
        self.transport.producer.pauseProducing()
        self.connection.out.publish(frame, 4)
        self.connection.out.publish(frame, 4)
        error = self.assertRaises(OutboundBufferFull, self.connection.out.publish, frame, 4)
        self.assertEqual(error.limit, 2 * len(frame))
        self.connection.out.send(b"SUB b 1\r\n")
        self.transport.producer.resumeProducing()
        self.assertEqual(self.heard(), frame * 2 + b"SUB b 1\r\n")
        self.transport.producer.pauseProducing()
        self.connection.out.publish(frame, 4)
        self.assertEqual(self.buffer.size, len(frame))


class CloseTests(ConnectionTestCase):
    """The end we want."""

    def test_close(self) -> None:
        """What waits is sent, then the socket is closed; open pings get the error."""
        self.make_ready()
        self.transport.producer.pauseProducing()
        self.connection.out.publish(b"PUB a 0\r\n\r\n", 0)
        ping = self.connection.ping()
        self.connection.close(ClientClosed(), "closed by its user")
        self.failureResultOf(ping, ClientClosed)
        self.assertEqual(self.heard(), b"PUB a 0\r\n\r\nPING\r\n")
        self.assertTrue(self.transport.disconnecting)
        self.assertIsNone(self.transport.producer)
        self.assertNoResult(self.lost)
        self.connection.connectionLost()
        self.successResultOf(self.lost)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bounded(self) -> None:
        """A peer that does not read cannot hold up the close."""
        self.make_ready()
        self.connection.close(ClientClosed(), "closed by its user")
        self.connection.close(ClientClosed(), "closed by its user")
        self.clock.advance(CLOSE_TIMEOUT_S - 0.1)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(0.1)
        self.clock.advance(0)
        self.successResultOf(self.lost)

    def test_close_in_the_middle_of_a_chunk(self) -> None:
        """A message's callback may close; the rest of the chunk is dropped."""
        self.make_ready()

        def close(msg: Msg) -> None:
            self.messages.append(msg)
            self.connection.close(ClientClosed(), "closed by its user")

        self.connection._on_message = close
        self.connection.dataReceived(b"MSG a 1 1\r\nx\r\nMSG a 1 1\r\ny\r\nPING\r\n")
        self.assertEqual([msg.payload for msg in self.messages], [b"x"])
        self.assertEqual(self.heard(), b"")

    def test_errors_are_nats_errors(self) -> None:
        """Why a login has failed can be asked for later too."""
        self.make()
        self.connection.abort("enough")
        self.clock.advance(0)
        self.failureResultOf(self.ready, NatsError)
        self.failureResultOf(self.connection.when_ready(), ConnectFailed)
