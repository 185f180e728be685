"""The server's end of connections, in memory, on a clock that only tests move."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from natsconnector.nats import NatsClient

CONFIRMED = re.compile(rb"(?<!UN)(SUB [^\r\n]+\r\n(?:UNSUB \d+ \d+\r\n)?)PING\r\n")

INFO_FIELDS: dict[str, Any] = {
    "server_id": "S",
    "version": "2.15.1",
    "headers": True,
    "max_payload": 1048576,
    "client_id": 5,
    "proto": 1,
}


def info(**fields: Any) -> bytes:
    """An INFO frame with these fields beside the usual ones."""
    return b"INFO " + json.dumps({**INFO_FIELDS, **fields}).encode() + b" \r\n"


class FakeTransport(StringTransport):
    """
    Notes what is written; an abort is followed by connectionLost one turn later, as on a real socket.

    :ivar confirms: whether the PINGs behind SUBs are left out of what is noted, and answered when the test goes on.
    """

    def __init__(self, clock: MemoryReactorClock) -> None:
        super().__init__()
        self.confirms = False
        self.unanswered = 0
        self.clock = clock
        self.aborted = False
        self.protocol: Any = None
        self.producer: Any = None
        self.lost = False
        self.no_delay = False
        self.tls: list[Any] = []

    def write(self, data: bytes) -> None:
        """Note what the client sends."""
        if self.confirms:
            data, found = CONFIRMED.subn(rb"\1", data)
            self.unanswered += found
        super().write(data)

    def startTLS(self, options: Any) -> None:
        """Note that TLS is wanted; tests say when it is up."""
        self.tls.append(options)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Note that small writes shall not wait."""
        self.no_delay = enabled

    def abortConnection(self) -> None:
        """Close at once."""
        if not self.aborted:
            self.aborted = True
            self.clock.callLater(0, self.lose, ConnectionAborted())

    def lose(self, reason: Exception) -> None:
        """Tell the protocol, once, that the connection is gone."""
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(reason))


class Peer:
    """
    A server's end of one attempt to connect.

    It takes every subscription by itself: tests neither see the PING behind a SUB nor answer it, but for those that
    have ``transport.confirms`` off.
    """

    def __init__(self, clock: MemoryReactorClock, number: int) -> None:
        self.clock = clock
        self.host, self.port, self.factory = clock.tcpClients[number][:3]
        self.connector = clock.connectors[number]
        self.transport = FakeTransport(clock)
        self.transport.confirms = True

    def refuse(self) -> None:
        """Nobody listens there."""
        self.factory.clientConnectionFailed(self.connector, Failure(ConnectionRefusedError()))

    def accept(self) -> None:
        """Take the connection and say nothing."""
        protocol: Any = self.factory.buildProtocol(None)
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)

    def say(self, data: bytes) -> None:
        """Send bytes to the client."""
        self.flush()
        self.transport.protocol.dataReceived(data)

    def heard(self) -> bytes:
        """What the client has sent since the last time."""
        self.flush()
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def flush(self) -> None:
        """End the reactor's turn for what the client has sent, and take its subscriptions, until nothing follows."""
        while True:
            if self.transport.producer is not None:
                self.transport.producer.flush()
            answers, self.transport.unanswered = b"PONG\r\n" * self.transport.unanswered, 0
            if not answers or self.transport.lost:
                return
            self.transport.protocol.dataReceived(answers)

    def log_in(self, **fields: Any) -> bytes:
        """Accept and let the client in; what it sent besides its login."""
        self.accept()
        self.say(info(**fields))
        self.say(b"PONG\r\n" + info(connect_info=True, **fields))
        connect, _, rest = self.heard().partition(b"\r\nPING\r\n")
        assert connect.startswith(b"CONNECT {"), connect
        return rest

    def drop(self) -> None:
        """Close the connection."""
        self.transport.lose(ConnectionDone())


class World:
    """A client in memory with the peers it has tried."""

    def __init__(self, *urls: str, **options: Any) -> None:
        self.clock = MemoryReactorClock()
        self.statuses: list[tuple[str, str]] = []
        self.errors: list[Exception] = []
        options.setdefault("randomize", False)
        self.client = NatsClient(
            self.clock,
            urls or ["nats://10.0.0.1"],
            random=Random(7),
            on_error=self.errors.append,
            **options,
        )
        self.client.watch_status(lambda old, new, reason: self.statuses.append((new.value, reason)))

    @property
    def attempts(self) -> int:
        """How often the client has tried to connect."""
        return len(self.clock.tcpClients)

    def peer(self, number: int = -1) -> Peer:
        """The server's end of the newest attempt."""
        return Peer(self.clock, number)

    def connected(self, **fields: Any) -> Peer:
        """Start, log in, and forget what was sent until then."""
        self.client.start()
        peer = self.peer()
        peer.log_in(**fields)
        peer.say(b"PONG\r\n")
        return peer
