"""A TCP proxy that damages connections as it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.integration.nats_case import reactor
from tests.integration.support import Waits


@dataclass
class Damage:
    """What happens to a connection; ``down`` is from the server to the client.

    After so many bytes the direction is cut (everything is closed), stalls, or is half-closed.
    """

    cut_down: int | None = None
    cut_up: int | None = None
    stall_down: int | None = None
    half_close_down: int | None = None
    drip: bool = False
    """Every byte goes down alone."""
    delay_s: float = 0.0
    """Everything goes down so much later."""
    reads: bool = True
    """Whether anything is read from the client."""
    edit: Callable[[bytes], bytes] | None = None
    """What becomes of the server's first chunk, which is its INFO."""


class Proxy:
    """Stands before a server; ``damage`` is asked with the number of each connection, from 0.

    ``up`` has what the clients sent, ``down`` how many bytes the server sent, by connection.
    """

    def __init__(self, target: int, damage: Callable[[int], Damage]) -> None:
        self.target = target
        self.damage = damage
        self.up: list[bytearray] = []
        self.down: list[int] = []
        self.links: list[_ClientSide] = []
        factory = Factory.forProtocol(Protocol)
        factory.buildProtocol = lambda addr: _ClientSide(self)  # type: ignore[method-assign]
        factory.noisy = False
        self._waits = Waits()
        self._port = reactor.listenTCP(0, factory, interface="127.0.0.1")

    @property
    def url(self) -> str:
        """For clients."""
        return f"nats://127.0.0.1:{self._port.getHost().port}"

    def when_links(self, number: int) -> Deferred[None]:
        """Fires when there have been so many connections."""
        return self._waits.when(lambda: len(self.links) >= number)

    async def stop(self) -> None:
        """Stop listening, and close what is open."""
        await self._port.stopListening()
        for link in self.links:
            link.close()


class _ClientSide(Protocol):
    transport: Any

    def __init__(self, proxy: Proxy) -> None:
        self.damage = proxy.damage(len(proxy.links))
        self._number = len(proxy.links)
        self._proxy = proxy
        proxy.links.append(self)
        proxy.up.append(bytearray())
        proxy.down.append(0)
        proxy._waits.changed()
        self._server: _ServerSide | None = None
        self._closed = False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.pauseProducing()
        factory = Factory.forProtocol(Protocol)
        factory.buildProtocol = lambda addr: _ServerSide(self)  # type: ignore[method-assign]
        factory.noisy = False
        there = TCP4ClientEndpoint(reactor, "127.0.0.1", self._proxy.target)
        there.connect(factory).addErrback(lambda _: self.close())

    def server_connected(self, server: _ServerSide) -> None:
        """The other half is there."""
        self._server = server
        if self._closed:
            server.transport.abortConnection()
        elif self.damage.reads:
            self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        up = self._proxy.up[self._number]
        room = None if self.damage.cut_up is None else self.damage.cut_up - len(up)
        up += data if room is None else data[:room]
        if self._server is not None:
            self._server.transport.write(data if room is None else data[:room])
        if room is not None and len(data) >= room:
            self.close()

    def from_server(self, data: bytes) -> None:
        """Pass on what the server says, as far as it is to get through."""
        if self.damage.edit is not None and not self._proxy.down[self._number]:
            data = self.damage.edit(data)
        if self.damage.delay_s:
            reactor.callLater(self.damage.delay_s, self._pass_down, data)
        else:
            self._pass_down(data)

    def _pass_down(self, data: bytes) -> None:
        if self._closed:
            return
        damage, gone = self.damage, self._proxy.down[self._number]
        limits = [n for n in (damage.cut_down, damage.stall_down, damage.half_close_down) if n is not None]
        whole = not limits or gone + len(data) < limits[0]
        part = data if not limits else data[: max(0, limits[0] - gone)]
        self._proxy.down[self._number] += len(part)
        for piece in [bytes([byte]) for byte in part] if damage.drip else [part]:
            self.transport.write(piece)
        if whole:
            return
        if damage.cut_down is not None:
            self.close()
        elif damage.half_close_down is not None and gone < damage.half_close_down:
            self.transport.loseWriteConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.close()

    def close(self) -> None:
        """End both halves; what was passed on gets there."""
        self._closed = True
        self.transport.loseConnection()
        if self._server is not None:
            self._server.transport.loseConnection()


class _ServerSide(Protocol):
    transport: Any

    def __init__(self, client: _ClientSide) -> None:
        self._client = client

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._client.server_connected(self)

    def dataReceived(self, data: bytes) -> None:
        self._client.from_server(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._client.close()
