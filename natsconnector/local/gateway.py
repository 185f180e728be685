"""A gateway for trying things out: OpenFaaS's paths on a local port, functions as local processes."""

from __future__ import annotations

from typing import cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web import http
from twisted.web.server import Site

from natsconnector.local.processes import Function, Reactor

from .invocations import Invocations
from .resources import BoundedRequest, GatewayResource

STOP_GRACE_S = 1.0


class LocalGateway:
    """Serves `functions` as an OpenFaaS gateway would. For development: whoever reaches the port runs the functions.

    :param functions: by `name`, or by `name.namespace`, which tells those of one name in several namespaces apart.
    :param port: 0 takes a free one.
    :param credentials: user and password that `/system/` asks for; None leaves it open.
    :param function_timeout_s: a call that takes longer is killed and answered with 502.
    :ivar functions: those that are deployed; may be changed while it runs.
    :ivar resource: the root of its paths, for a Site of one's own or for tests without a network.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        functions: dict[str, Function],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        credentials: tuple[str, str] | None = None,
        function_timeout_s: float = 60.0,
    ) -> None:
        self.functions = functions
        self._invocations = Invocations(reactor, functions, function_timeout_s)
        self.resource = GatewayResource(self._invocations, credentials)
        self._reactor = reactor
        self._host = host
        self._endpoint = TCP4ServerEndpoint(reactor, port, interface=host)
        self._port: IListeningPort | None = None
        site = _Site(self.resource, BoundedRequest, reactor=reactor, parsePOSTFormSubmission=False)
        self._connections = _Connections(site)

    @property
    def url(self) -> str:
        """Where it listens. Known once it has started."""
        if self._port is None:
            raise RuntimeError("the gateway does not listen")
        address = cast(IPv4Address, self._port.getHost())
        return f"http://{self._host}:{address.port}"

    def start(self) -> Deferred[None]:
        """Fires when it listens; fails with CannotListenError if it cannot."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self._port = await self._endpoint.listen(self._connections)
        self.log.info(
            "local gateway on {url}: {functions}", url=self.url, functions=", ".join(self.functions) or "no functions"
        )

    def stop(self) -> Deferred[None]:
        """Listen no more, give calls a short grace, kill what still runs. Fires when nothing of it is left."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        await self._invocations.finish(STOP_GRACE_S)
        await self._connections.close(self._reactor)
        # Until their connections were closed, clients could still send calls.
        await self._invocations.finish(0)
        await self._invocations.when_idle()


class _Site(Site):
    """Without Twisted's access log and start and stop messages: calls are logged where they are made."""

    noisy = False

    def log(self, request: http.Request) -> None:
        pass


class _Connections(WrappingFactory):
    """Knows the open connections, which a listening port does not, so that they can be closed."""

    noisy = False

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._idle: Deferred[None] | None = None

    def close(self, reactor: Reactor) -> Deferred[None]:
        """Close each when it has sent what it was given, and after a second in any case."""
        if not self.protocols:
            return succeed(None)
        idle = self._idle = Deferred()
        abort = reactor.callLater(1, self._abort)
        for connection in list(self.protocols):
            connection.loseConnection()
        return idle.addCallback(lambda _: abort.cancel() if abort.active() else None)

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        super().unregisterProtocol(p)
        if self._idle is not None and not self.protocols:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _abort(self) -> None:
        for connection in list(self.protocols):
            connection.abortConnection()
