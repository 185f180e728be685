"""A NATS server in memory, for tests without a socket and without waiting."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from natsconnector.nats.client import NatsClient
from natsconnector.nats.wire.events import Msg

_PORT = 4222
_NO_RESPONDERS = b"NATS/1.0 503\r\n\r\n"


class FakeNats:
    """
    A server of core NATS: subjects with wildcards, queue groups, headers, requests that nobody listens to.

    It has no JetStream, no logins and no permissions. Nothing happens until :meth:`settle`.

    :ivar reactor: for the clients, and for whatever else is tested with them: a clock that only the test moves.
    :ivar published: every message that a client has published, in order.
    :ivar is_away: whether it refuses connections.
    """

    url = f"nats://127.0.0.1:{_PORT}"

    def __init__(self, *, max_payload: int = 1 << 20) -> None:
        self.reactor = _Reactor(self)
        self.published: list[Msg] = []
        self.is_away = False
        self.max_payload = max_payload
        self._connections: list[_Connection] = []
        self._turn = 0

    def client(self, **options: Any) -> NatsClient:
        """A client that is connected. :param options: those of ``NatsClient``."""
        client = NatsClient(self.reactor, [self.url], **options)
        client.start()
        self.settle()
        return client

    def settle(self) -> None:
        """Let everything happen that needs no time to pass: what was sent arrives, and what follows from it."""
        now_s = self.reactor.seconds()
        while any(call.getTime() <= now_s for call in self.reactor.getDelayedCalls()):
            self.reactor.advance(0)

    def drop(self) -> None:
        """Break all connections; the clients come back when the test moves the clock."""
        for connection in list(self._connections):
            connection.loseConnection()
        self.settle()

    # What the connections tell

    def _accept(self, factory: Any, connector: Any) -> None:
        """A client wants to connect."""
        if self.is_away:
            factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))
            return
        connection = _Connection(self, factory.buildProtocol(None))
        self._connections.append(connection)
        connection.protocol.makeConnection(connection)
        info = {"server_id": "FAKE", "version": "2.15.0", "headers": True, "max_payload": self.max_payload, "proto": 1}
        connection.send(b"INFO " + json.dumps(info).encode() + b"\r\n")

    def _gone(self, connection: _Connection) -> None:
        """A connection has ended."""
        if connection in self._connections:
            self._connections.remove(connection)

    def _route(self, subject: bytes, reply: bytes | None, headers: bytes, payload: bytes) -> bool:
        """Send a message to all who listen, of each queue group to one in turn; whether there is anybody."""
        everybody: list[_Subscriber] = []
        groups: dict[bytes, list[_Subscriber]] = {}
        for connection in self._connections:
            for each in list(connection.subscribers.values()):
                if _matches(each.subject, subject):
                    (everybody if each.queue is None else groups.setdefault(each.queue, [])).append(each)
        self._turn += 1
        everybody += [members[self._turn % len(members)] for members in groups.values()]
        for each in everybody:
            each.deliver(subject, reply, headers, payload)
        return bool(everybody)


class _Reactor(MemoryReactorClock):
    def __init__(self, server: FakeNats) -> None:
        super().__init__()
        self._server = server

    def connectTCP(self, host: str, port: int, factory: Any, *args: Any, **options: Any) -> Any:
        connector = super().connectTCP(host, port, factory, *args, **options)
        if port == _PORT:
            self.callLater(0, self._server._accept, factory, connector)
        else:
            refused = Failure(ConnectionRefusedError())
            self.callLater(0, factory.clientConnectionFailed, connector, refused)
        return connector


@dataclass
class _Subscriber:
    connection: _Connection
    subject: bytes
    queue: bytes | None
    sid: bytes
    delivered: int = 0
    most: int | None = None

    def deliver(self, subject: bytes, reply: bytes | None, headers: bytes, payload: bytes) -> None:
        self.delivered += 1
        words = [b"HMSG" if headers else b"MSG", subject, self.sid, *([reply] if reply else [])]
        sizes = [b"%d" % len(headers), b"%d" % (len(headers) + len(payload))][0 if headers else 1 :]
        self.connection.send(b" ".join(words + sizes) + b"\r\n" + headers + payload + b"\r\n")
        self.look()

    def look(self) -> None:
        if self.most is not None and self.delivered >= self.most:
            self.connection.subscribers.pop(self.sid, None)


class _Connection(StringTransport):
    """The server's end of a connection, and the client's transport."""

    def __init__(self, server: FakeNats, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.subscribers: dict[bytes, _Subscriber] = {}
        self._server = server
        self._received = b""
        self._is_over = False

    def send(self, data: bytes) -> None:
        """Send to the client."""
        self._server.reactor.callLater(0, self._arrive, data)

    def _arrive(self, data: bytes) -> None:
        if not self._is_over:
            self.protocol.dataReceived(data)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no delay."""

    def loseConnection(self) -> None:
        self._end(ConnectionDone())

    def abortConnection(self) -> None:
        self._end(ConnectionAborted())

    def _end(self, why: Exception) -> None:
        self._server._gone(self)
        self._server.reactor.callLater(0, self._lose, why)

    def _lose(self, why: Exception) -> None:
        if not self._is_over:
            self._is_over = True
            self.protocol.connectionLost(Failure(why))

    def write(self, data: bytes) -> None:
        """Take what the client sends."""
        self._received += data
        while (rest := self._take(self._received)) is not None:
            self._received = rest

    def _take(self, data: bytes) -> bytes | None:
        """Do what the first frame asks for; what is behind it, None when it is not complete."""
        line, end, rest = data.partition(b"\r\n")
        if not end:
            return None
        verb, *words = line.split()
        if verb in (b"PUB", b"HPUB"):
            size = int(words[-1])
            if len(rest) < size + 2:
                return None
            split = int(words[-2]) if verb == b"HPUB" else 0
            asks = len(words) == (3 if verb == b"PUB" else 4)
            self._published(words[0], words[1] if asks else None, rest[:split], rest[split:size])
            return rest[size + 2 :]
        if verb == b"PING":
            self.send(b"PONG\r\n")
        elif verb == b"SUB":
            queue = words[1] if len(words) == 3 else None
            self.subscribers[words[-1]] = _Subscriber(self, words[0], queue, words[-1])
        elif verb == b"UNSUB" and words[0] in self.subscribers:
            subscriber = self.subscribers[words[0]]
            subscriber.most = int(words[1]) if len(words) == 2 else 0
            subscriber.look()
        return rest

    def _published(self, subject: bytes, reply: bytes | None, headers: bytes, payload: bytes) -> None:
        text = "utf-8", "surrogateescape"
        self._server.published.append(
            Msg(subject.decode(*text), 0, None if reply is None else reply.decode(*text), payload, headers)
        )
        if not self._server._route(subject, reply, headers, payload) and reply is not None:
            self._server._route(reply, None, _NO_RESPONDERS, b"")


def _matches(pattern: bytes, subject: bytes) -> bool:
    wanted, tokens = pattern.split(b"."), subject.split(b".")
    for position, token in enumerate(wanted):
        if token == b">":
            return len(tokens) > position
        if position >= len(tokens) or token not in (b"*", tokens[position]):
            return False
    return len(wanted) == len(tokens)
