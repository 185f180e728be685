"""A gateway for trying things out: OpenFaaS's paths on a local port, functions as local processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from natsconnector.local.invocations import Invocations
from natsconnector.local.processes import Function
from natsconnector.local.resources import GatewayResource
from natsconnector.reactors import Reactor
from natsconnector.web.hosts import HostRule
from natsconnector.web.site import Bounds, QuietSite

STOP_GRACE_S = 1.0
# A connector with many calls in flight has a connection for each.
BOUNDS = Bounds(connections=1000, head_bytes=64 * 1024, header_lines=500, body_bytes=16 * 1024 * 1024)


class LocalGateway:
    """
    Serves ``functions`` as an OpenFaaS gateway would. For development: whoever reaches the port runs the functions,
    but for web pages, which cannot.

    :param functions: by ``name``, or by ``name.namespace``, which tells those of one name in several namespaces apart.
    :param host: the address to listen on; see ``HostRule`` for the names under which requests may come.
    :param names: further ones.
    :param port: 0 takes a free one.
    :param credentials: user and password that ``/system/`` asks for; None leaves it open.
    :param function_timeout_s: a call that takes longer is killed and answered with 502.
    :param queue_retries: how often the queue tries again what fails, calls and callbacks, as that of the commercial
        edition does. That of the community edition tries nothing again, and ignores what is answered to callbacks.
    :ivar functions: those that are deployed; may be changed while it runs.
    :ivar resource: the root of its paths, for a Site of one's own or for tests without a network.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        functions: dict[str, Function],
        *,
        host: str = "127.0.0.1",
        names: Iterable[str] = (),
        port: int = 0,
        credentials: tuple[str, str] | None = None,
        function_timeout_s: float = 60.0,
        queue_retries: int = 0,
    ) -> None:
        self.functions = functions
        self._invocations = Invocations(reactor, functions, function_timeout_s, queue_retries)
        self.resource = GatewayResource(self._invocations, credentials)
        self._reactor = reactor
        self._host = host
        self._endpoint = TCP4ServerEndpoint(reactor, port, interface=host)
        self._port: IListeningPort | None = None
        self._site = QuietSite(self.resource, reactor, bounds=BOUNDS, rule=HostRule(host, names))

    @property
    def url(self) -> str:
        """
        Where it listens.

        :raises RuntimeError: it does not.
        """
        if self._port is None:
            raise RuntimeError("the gateway does not listen")
        address = cast(IPv4Address, self._port.getHost())
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{address.port}"

    def start(self) -> Deferred[None]:
        """Fires when it listens; fails with CannotListenError if it cannot."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self._port = await self._endpoint.listen(self._site)
        self._log.info(
            "local gateway on {url}: {functions}",
            url=self.url, functions=", ".join(self.functions) or "no functions", event="local_gateway_open",
        )  # fmt: skip

    def stop(self) -> Deferred[None]:
        """Listen no more, give calls a short grace, kill what still runs. Fires when nothing of it is left."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        await self._invocations.finish(STOP_GRACE_S)
        await self._site.close()
        # Clients could still send calls until their connections were closed.
        await self._invocations.finish(0)
        await self._invocations.when_idle()
        self._invocations.kill_left()
