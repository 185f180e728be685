"""Connections to a gateway in memory."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from natsconnector.gateway.connection import Connection


class Wire(StringTransport):
    """The other side of one connection."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.closed = self.aborted = False

    def loseConnection(self) -> None:
        self.closed = True

    def abortConnection(self) -> None:
        self.aborted = True

    def receive(self, data: bytes) -> None:
        self.connection.dataReceived(data)

    def end(self, reason: type[Exception] = error.ConnectionDone) -> None:
        self.connection.connectionLost(Failure(reason()))


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Connects when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = []
        self.wires: list[Wire] = []
        self.cancelled = 0

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        def cancel(_: object) -> None:
            self.cancelled += 1

        connecting: Deferred[IProtocol] = Deferred(cancel)
        self.waiting.append((factory, connecting))
        return connecting

    def accept(self) -> Wire:
        factory, connecting = self.waiting.pop(0)
        connection = cast(Any, factory.buildProtocol(cast(Any, None)))
        wire = Wire(connection)
        self.wires.append(wire)
        connection.makeConnection(wire)
        connecting.callback(connection)
        return wire

    def refuse(self, reason: Exception) -> None:
        self.waiting.pop(0)[1].errback(Failure(reason))
