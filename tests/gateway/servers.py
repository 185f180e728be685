"""Gateways that answer whatever a test wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer


def answer(body: bytes = b"", status: bytes = b"200 OK", *headers: bytes) -> bytes:
    """A whole HTTP answer."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class RawServer(Factory):
    """Answers requests with whatever bytes a test wants, and remembers them and the connections."""

    noisy = False

    def __init__(self, respond: Callable[[RawConnection], None]) -> None:
        self.respond = respond
        self.requests: list[bytes] = []
        self.connections: list[RawConnection] = []
        self.when_lost: Deferred[None] = Deferred()
        self.port = 0

    def buildProtocol(self, addr: Any) -> Protocol:
        connection = RawConnection(self)
        self.connections.append(connection)
        return connection


class RawConnection(Protocol):
    """One connection of a :class:`RawServer`; takes requests of known length, and those without a body."""

    def __init__(self, server: RawServer) -> None:
        self.server = server
        self.buffer = b""

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        length = [
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        ]
        if end and len(body) >= sum(length):
            self.server.requests.append(self.buffer)
            self.buffer = b""
            self.server.respond(self)

    @property
    def path(self) -> str:
        """Of the request that came last."""
        return self.server.requests[-1].split(b" ")[1].decode()

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def lose(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.server.when_lost.called:
            self.server.when_lost.callback(None)


@implementer(IHostnameResolver)
class EverywhereHere:
    """Every name is this machine's."""

    def __init__(self) -> None:
        self.names: list[object] = []

    def resolveHostName(
        self, resolutionReceiver: Any, hostName: str, portNumber: int = 0, *args: Any, **more: Any
    ) -> Any:
        self.names.append(hostName)
        resolutionReceiver.resolutionBegan(self)
        resolutionReceiver.addressResolved(IPv4Address("TCP", "127.0.0.1", portNumber))
        resolutionReceiver.resolutionComplete()


class RawServerCase(TestCase):
    """Tests that start a :class:`RawServer`, or several."""

    timeout = 30

    def serve(self, respond: Callable[[RawConnection], None], tls: CertificateOptions | None = None) -> RawServer:
        server = RawServer(respond)
        listen = cast(Any, reactor).listenTCP if tls is None else self._listen_tls(tls)
        port: IListeningPort = listen(0, server, interface="127.0.0.1")
        server.port = cast(Any, port.getHost()).port
        self.addCleanup(self._close, server, port)
        return server

    def resolve_here(self) -> list[object]:
        """From now on every name is this machine's; the names that are asked for."""
        resolver = EverywhereHere()
        previous = cast(Any, reactor).installNameResolver(resolver)
        self.addCleanup(cast(Any, reactor).installNameResolver, previous)
        return resolver.names

    def _listen_tls(self, tls: CertificateOptions) -> Callable[..., IListeningPort]:
        return lambda port, server, interface: cast(Any, reactor).listenSSL(port, server, tls, interface=interface)

    async def _close(self, server: RawServer, port: IListeningPort) -> None:
        for connection in server.connections:
            connection.lose()
        await port.stopListening()  # type: ignore[misc]
