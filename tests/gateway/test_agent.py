"""Tests of connections and the requests on them, in memory and by a clock."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IAgent
from zope.interface.verify import verifyObject

from natsconnector.gateway import agent, errors
from natsconnector.gateway.agent import IDLE_CONNECTION_S, GatewayAgent
from natsconnector.gateway.connection import Connection
from natsconnector.gateway.endpoint import TlsFault
from natsconnector.gateway.http1 import Response
from natsconnector.gateway.origin import parse_origin
from natsconnector.gateway.room import ResponseRoom
from tests.gateway.servers import answer
from tests.gateway.wires import Endpoint, Wire

GET = b"GET / HTTP/1.1\r\n\r\n"


def broken(data: bytes) -> int:
    """How a socket writes whose other side is gone."""
    raise BrokenPipeError


class AgentCase(SynchronousTestCase):
    """An agent over connections in memory."""

    def setUp(self) -> None:
        self.clock = cast(Any, Clock())
        self.endpoint = Endpoint()
        self.patch(agent, "gateway_endpoint", lambda *_: self.endpoint)
        self.agent = GatewayAgent(
            self.clock, parse_origin("http://gateway:8080"), timeout_s=60, max_connections=2, max_response_bytes=100
        )

    def exchange(self, timeout_s: float = 10.0) -> Deferred[Response]:
        return self.agent.exchange(GET, timeout_s)

    def one(self) -> tuple[Deferred[Response], Wire]:
        """A request that was sent on a connection of its own."""
        exchange = self.exchange()
        return exchange, self.endpoint.accept()

    def problem(self, exchange: Deferred[Response], kind: type[errors.NoResponse]) -> errors.NoResponse:
        """What it failed with; nothing is left of it."""
        problem = self.failureResultOf(exchange, kind).value
        assert isinstance(problem, errors.NoResponse)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return problem


class RoomTests(AgentCase):
    """Large responses that come at once are read one after the other; nothing is lost."""

    def setUp(self) -> None:
        super().setUp()
        self.agent.max_response_bytes = 1_000_000
        self.agent.room = ResponseRoom(200_000)

    def many(self, number: int) -> list[tuple[Deferred[Response], Wire]]:
        return [self.one() for _ in range(number)]

    def read_by(self, exchanges: list[tuple[Deferred[Response], Wire]]) -> list[bool]:
        """Of which connections more is read."""
        return [wire.producerState == "producing" for _, wire in exchanges]

    def test_waits(self) -> None:
        """What comes first is read to its end, what exceeds the room waits for others to end, small ones for none."""
        first, second, third, small = exchanges = self.many(4)
        whole = answer(b"x" * 150_000)
        for _, wire in (first, second, third):
            wire.receive(whole[:120_000])
        self.assertEqual(self.read_by(exchanges), [True, False, False, True])
        small[1].receive(answer(b"hi")[:-1])
        small[1].receive(b"i")
        self.assertEqual(self.successResultOf(small[0]).body, b"hi")
        first[1].receive(whole[120_000:])
        self.assertEqual(len(self.successResultOf(first[0]).body), 150_000)
        # The second is the first now.
        self.assertEqual(self.read_by(exchanges[1:3]), [True, False])
        second[1].receive(whole[120_000:])
        self.assertEqual(self.read_by(exchanges[2:3]), [True])
        third[1].receive(whole[120_000:])
        for exchange, _ in (second, third):
            self.assertEqual(len(self.successResultOf(exchange).body), 150_000)
        self.assertEqual((self.agent.room._bytes, self.agent.room._held, self.agent.room._paused), (0, {}, {}))

    def test_given_up(self) -> None:
        """One that is cancelled, takes too long or breaks off leaves its room to the others."""
        exchanges = self.many(5)
        for _, wire in exchanges:
            wire.receive(answer(b"x" * 150_000)[:120_000])
        self.assertEqual(self.read_by(exchanges), [True, False, False, False, False])
        exchanges[0][0].cancel()
        exchanges[1][1].end(error.ConnectionLost)
        self.assertEqual(self.read_by(exchanges[2:]), [True, False, False])
        self.clock.advance(10)
        for exchange, _ in exchanges:
            self.failureResultOf(exchange, errors.NoResponse)
        self.assertEqual((self.agent.room._bytes, self.agent.room._held, self.agent.room._paused), (0, {}, {}))

    def test_rest_was_there(self) -> None:
        """One whose rest comes although it is read no more, as TLS may have it, is read on when it rests."""
        (_, first), (exchange, second) = self.many(2)
        whole = answer(b"x" * 150_000)
        first.receive(whole[:-1])
        second.receive(whole[:-1])
        self.assertEqual(second.producerState, "paused")
        second.receive(whole[-1:])
        self.successResultOf(exchange)
        self.assertEqual(second.producerState, "producing")

    def test_nothing_is_kept(self) -> None:
        """A connection that rests keeps nothing of its last response."""
        exchange, wire = self.one()
        wire.receive(answer(b"x" * 150_000))
        self.successResultOf(exchange)
        self.assertEqual(wire.connection._parser.held_bytes, 0)


class ExchangeTests(AgentCase):
    """One request and its response."""

    def test_interface(self) -> None:
        """It is an agent as Twisted knows them."""
        verifyObject(IAgent, self.agent)

    def test_response(self) -> None:
        """The request goes out when the connection stands; the response is whole when it comes."""
        exchange, wire = self.one()
        self.assertEqual(wire.value(), GET)
        wire.receive(answer(b"hi")[:-1])
        self.assertNoResult(exchange)
        wire.receive(b"i")
        self.assertEqual(self.successResultOf(exchange).body, b"hi")

    def test_not_connected(self) -> None:
        """Without a connection nothing was sent, whatever the reason, and whatever a library raises."""
        for reason, text in (
            (error.ConnectionRefusedError(), "Connection was refused by other side"),
            (error.DNSLookupError("no results for hostname lookup: gateway"), "no address is known for its name"),
            (TlsFault("its certificate is for another host"), "its certificate is for another host"),
            (ValueError(), "ValueError"),
        ):
            exchange = self.exchange()
            self.endpoint.refuse(reason)
            problem = self.problem(exchange, errors.NotConnected)
            self.assertEqual((problem.reason, problem.sent, problem.begun), (text, False, False))

        def connect(factory: object) -> None:
            raise UnicodeError("label too long")

        self.patch(self.endpoint, "connect", connect)
        self.assertEqual(self.problem(self.exchange(), errors.NotConnected).reason, "label too long")

    def test_broke_off(self) -> None:
        """A connection that ends before, within, or in a response that has no other end."""
        for sent, reason, kind in (
            (b"", error.ConnectionDone, errors.BrokeOff),
            (b"", error.ConnectionLost, errors.BrokeOff),
            (b"HTTP/1.1 100 Continue\r\n\r\n", error.ConnectionDone, errors.BrokeOff),
            (b"H", error.ConnectionDone, errors.ResponseCut),
            (answer(b"hi")[:-1], error.ConnectionDone, errors.ResponseCut),
            # Without a length only an end in order is an end.
            (b"HTTP/1.1 200 OK\r\n\r\nhi", error.ConnectionLost, errors.ResponseCut),
        ):
            exchange, wire = self.one()
            wire.receive(sent)
            wire.end(reason)
            problem = self.problem(exchange, kind)
            self.assertEqual((problem.sent, problem.begun), (True, kind is errors.ResponseCut))
        exchange, wire = self.one()
        wire.receive(b"HTTP/1.1 200 OK\r\n\r\nhi")
        wire.end()
        self.assertEqual(self.successResultOf(exchange).body, b"hi")

    def test_unreadable_and_too_large(self) -> None:
        """What breaks the rules or a bound ends the connection at once."""
        for sent, kind, text in (
            (b"x", errors.ResponseUnreadable, "it is not HTTP/1.1"),
            (answer(b"x" * 101), errors.ResponseTooLarge, "larger than 100 bytes"),
        ):
            exchange, wire = self.one()
            wire.receive(sent)
            problem = self.problem(exchange, kind)
            self.assertEqual((problem.reason, problem.sent, problem.begun, wire.aborted), (text, True, True, True))
            wire.receive(b"more")
            wire.end()

    def test_deadline(self) -> None:
        """It passes while connecting, before the response, and within it; the time of all of them counts."""
        exchange = self.exchange()
        self.clock.advance(9.9)
        self.assertNoResult(exchange)
        self.clock.advance(0.1)
        problem = self.problem(exchange, errors.TimedOut)
        self.assertEqual((problem.reason, problem.sent, problem.begun), ("no connection within 10 s", False, False))
        self.assertEqual(self.endpoint.cancelled, 1)
        self.endpoint.waiting.clear()
        for sent, begun, text in ((b"", False, "did not answer"), (b"HTTP", True, "did not end its answer")):
            exchange = self.exchange()
            self.clock.advance(5)
            wire = self.endpoint.accept()
            wire.receive(sent)
            self.clock.advance(5)
            problem = self.problem(exchange, errors.TimedOut)
            self.assertEqual((problem.reason, problem.sent, problem.begun), (f"{text} within 10 s", True, begun))
            self.assertTrue(wire.aborted)

    def test_given_up(self) -> None:
        """A caller may give up in each phase; it is a cancellation to those who do not know us."""
        exchange = self.exchange()
        exchange.cancel()
        problem = self.problem(exchange, errors.GivenUp)
        self.assertIsInstance(problem, CancelledError)
        self.assertEqual((problem.sent, problem.begun, self.endpoint.cancelled), (False, False, 1))
        self.endpoint.waiting.clear()
        for sent in (b"", b"HTTP"):
            exchange, wire = self.one()
            wire.receive(sent)
            exchange.cancel()
            problem = self.problem(exchange, errors.GivenUp)
            self.assertEqual((problem.sent, problem.begun, wire.aborted), (True, bool(sent), True))

    def test_connection_that_comes_too_late(self) -> None:
        """A connection that stands just when it is given up is closed, and carries nothing."""
        self.patch(Endpoint, "connect", lambda endpoint, factory: connecting(factory))
        wires: list[Wire] = []

        def connecting(factory: IProtocolFactory) -> Deferred[Any]:
            def connect(connecting: Deferred[Any]) -> None:
                connection: Any = factory.buildProtocol(cast(Any, None))
                wires.append(Wire(connection))
                connection.makeConnection(wires[0])
                connecting.callback(connection)

            return Deferred(connect)

        exchange = self.exchange()
        exchange.cancel()
        self.problem(exchange, errors.GivenUp)
        self.assertEqual([(wire.value(), wire.aborted) for wire in wires], [(b"", True)])

    def test_early_response(self) -> None:
        """A response that comes before the request is all sent counts; the connection carries no other."""
        self.assertNoResult(self.exchange())
        wire = self.accept_slowly()
        self.assertTrue(wire.producer is wire.connection)
        wire.receive(answer(b"no", b"413 Too Large"))
        self.assertTrue(wire.aborted)
        # What is sent in time leaves the connection for the next.
        exchange = self.exchange()
        wire = self.accept_slowly()
        for _ in range(2):
            wire.connection.resumeProducing()
        self.assertIsNone(wire.producer)
        wire.receive(answer(b"hi"))
        self.assertEqual((self.successResultOf(exchange).body, wire.closed, wire.aborted), (b"hi", False, False))

    def accept_slowly(self) -> Wire:
        """A connection that takes three bytes at once."""
        self.patch(Connection, "connectionMade", lambda connection: setattr(connection, "_write_now", lambda data: 3))
        wire = self.endpoint.accept()
        self.assertEqual(wire.value(), GET[3:])
        return wire

    def test_dead_connection(self) -> None:
        """A new connection on which nothing can be written has carried nothing."""
        self.patch(Connection, "connectionMade", lambda connection: setattr(connection, "_write_now", broken))
        exchange, wire = self.one()
        problem = self.problem(exchange, errors.NotConnected)
        self.assertEqual((problem.reason, wire.aborted), ("the connection broke before anything was sent", True))


class KeptConnectionTests(AgentCase):
    """Connections from one request to the next."""

    def answered(self, number: int = 1) -> list[Wire]:
        """As many connections, each having carried a request."""
        exchanges = [self.exchange() for _ in range(number)]
        wires = [self.endpoint.accept() for _ in range(number)]
        for exchange, wire in zip(exchanges, wires, strict=True):
            wire.receive(answer(b"hi"))
            self.successResultOf(exchange)
            wire.clear()
        return wires

    def used(self) -> Wire:
        """That which carries the next request."""
        exchange = self.exchange()
        [wire] = [wire for wire in self.endpoint.wires if wire.value()]
        wire.clear()
        wire.receive(answer(b"hi"))
        self.successResultOf(exchange)
        return wire

    def test_last_first(self) -> None:
        """That which has rested least is used; as many are kept as are wanted."""
        first, second, third = self.answered(3)
        self.assertEqual([wire.closed or wire.aborted for wire in (first, second, third)], [False, False, True])
        self.assertIs(self.used(), second)
        self.assertIs(self.used(), second)
        busy = self.exchange()
        second.clear()
        self.assertIs(self.used(), first)
        second.receive(answer())
        self.successResultOf(busy)
        self.assertIs(self.used(), second)
        self.assertEqual(self.endpoint.waiting, [])

    def test_next_request_from_the_result(self) -> None:
        """Whoever sends another request as the result of one gets its connection."""
        exchange, wire = self.one()
        following = exchange.addCallback(lambda _: self.exchange())
        wire.receive(answer(b"hi"))
        self.assertEqual(wire.value(), GET + GET)
        wire.receive(answer(b"ho"))
        self.assertEqual(self.successResultOf(following).body, b"ho")

    def test_not_kept(self) -> None:
        """A response that says so, or has something behind it, ends its connection."""
        for response in (answer(b"", b"200 OK", b"Connection: close"), answer() + b"x", b"HTTP/1.0" + answer()[8:]):
            exchange, wire = self.one()
            wire.receive(response)
            self.successResultOf(exchange)
            self.assertTrue(wire.closed or wire.aborted, response)

    def test_speaks_while_idle(self) -> None:
        """A connection on which something comes that nobody asked for, or that ends, is not used."""
        [wire] = self.answered()
        wire.receive(answer())
        self.assertTrue(wire.aborted)
        wire.end()
        for wire in self.answered(2):
            wire.end()
        # Nor is it counted as one that is kept.
        self.assertEqual([wire.closed or wire.aborted for wire in self.answered(2)], [False, False])

    def test_nothing_written(self) -> None:
        """Only when no byte of a request left on a kept connection it is sent on another."""
        first, second = self.answered(2)
        second.connection._write_now = broken
        self.assertIs(self.used(), first)
        self.assertTrue(second.aborted)
        first.connection._write_now = broken
        exchange = self.exchange()
        self.assertEqual(self.endpoint.accept().value(), GET)
        self.assertNoResult(exchange)

    def test_idle_time(self) -> None:
        """A connection that rests for half a minute is closed; one that was used meanwhile is not."""
        first, second = self.answered(2)
        self.clock.advance(IDLE_CONNECTION_S - 1)
        self.assertIs(self.used(), second)
        self.clock.advance(1)
        self.assertEqual([wire.closed or wire.aborted for wire in (first, second)], [True, False])
        self.clock.advance(IDLE_CONNECTION_S - 1)
        self.assertTrue(second.closed or second.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        # Nothing is sent on what is being closed.
        self.assertNoResult(self.exchange())
        self.assertEqual(len(self.endpoint.waiting), 1)

    def test_close_without_any(self) -> None:
        """A connection that ended by itself need not end again."""
        self.answered()[0].end()
        self.successResultOf(self.agent.close())

    def test_close(self) -> None:
        """Closing waits for the connections that rest; those in use are closed behind their response."""
        self.answered(2)
        exchange = self.exchange()
        resting, busy = self.endpoint.wires
        closed = self.agent.close()
        self.assertTrue(resting.closed or resting.aborted)
        self.assertNoResult(closed)
        resting.end()
        self.successResultOf(closed)
        self.assertFalse(busy.closed or busy.aborted)
        busy.receive(answer())
        self.successResultOf(exchange)
        self.assertTrue(busy.closed or busy.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(self.agent.close())
