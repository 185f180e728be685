"""Where a site listens."""

from __future__ import annotations

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from natsconnector.reactors import Reactor
from natsconnector.web.site import QuietSite


class Listening:
    """
    A site at an endpoint, TCP or a UNIX socket: these listen at once, or never.

    :param endpoint: as Twisted's ``serverFromString`` takes it.
    """

    def __init__(self, reactor: Reactor, endpoint: str, site: QuietSite) -> None:
        self.endpoint = endpoint
        self._endpoint = serverFromString(reactor, endpoint)
        self._site = site
        self._port: IListeningPort | None = None
        self._fault: str | None = None

    def open(self) -> str | None:
        """Listen; returns why the endpoint cannot be had, if so."""
        self._endpoint.listen(self._site).addCallbacks(self._listens, self._does_not_listen)
        return self._fault

    def stop(self) -> Deferred[None]:
        """Take no more connections; those that are open stay. May be called again."""
        port, self._port = self._port, None
        return succeed(None) if port is None else maybeDeferred(port.stopListening).addCallback(lambda _: None)

    def _listens(self, port: IListeningPort) -> None:
        self._port = port

    def _does_not_listen(self, failure: Failure) -> None:
        self._fault = failure.getErrorMessage()
