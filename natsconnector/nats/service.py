"""The client as a service of Twisted's applications."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from natsconnector.nats.client import NatsClient
from natsconnector.nats.errors import NatsError


class NatsService(Service):
    """
    Starts a client with the application, and drains it at the end. It serves once: a client that was closed is.

    For services that NATS's own tools show, see ``MicroService``.

    :ivar client: the client; what is done with it before the start is done when there is a connection.
    :param drain_timeout_s: how long the end may take.
    """

    _log = Logger()

    def __init__(self, client: NatsClient, *, drain_timeout_s: float = 20.0) -> None:
        self.client = client
        self._drain_timeout_s = drain_timeout_s

    def startService(self) -> None:
        """Begin to connect."""
        super().startService()
        self.client.start()

    def stopService(self) -> Deferred[None]:
        """Work off what is under way, and close; fires when the socket is closed. It never fails."""
        super().stopService()
        return self.client.drain(self._drain_timeout_s).addErrback(self._not_drained)

    def _not_drained(self, failure: Failure) -> None:
        failure.trap(NatsError)
        self._log.warn("{reason}", reason=failure.value, event="drain_failed")
