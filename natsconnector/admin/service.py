"""The admin site as a service around the connector's: it opens first and closes last."""

from __future__ import annotations

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from natsconnector.admin.events import Events
from natsconnector.admin.heartbeat import Heartbeat
from natsconnector.admin.history import History
from natsconnector.admin.resources import Pages
from natsconnector.reactors import Reactor
from natsconnector.web.hosts import HostRule
from natsconnector.web.listening import Listening
from natsconnector.web.site import Bounds, QuietSite

# Few ask: Prometheus, a kubelet, a person; and all can only be read.
BOUNDS = Bounds(connections=32, head_bytes=8 * 1024, header_lines=50, body_bytes=0, idle_s=120.0)
_CLOSE_S = 0.5


class Admin(Service):
    """
    A service that can be asked how it is, from :meth:`open` until after it has stopped.

    :param service: the one that is asked about.
    :param endpoint: where to listen, as Twisted's ``serverFromString`` takes it.
    :param host: the name under which alone requests may come, of a browser for one; None: any.
    :param is_wanted: whether a user chose the endpoint. If so nothing starts when it cannot be had.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        service: IService,
        pages: Pages,
        heartbeat: Heartbeat,
        history: History,
        events: Events,
        *,
        endpoint: str,
        host: str | None,
        is_wanted: bool,
    ) -> None:
        self._service = service
        self._heartbeat = heartbeat
        self._history = history
        self._events = events
        self._is_wanted = is_wanted
        self._fault: str | None = None
        self.site = QuietSite(pages, reactor, bounds=BOUNDS, rule=None if host is None else HostRule(host))
        self._listening = Listening(reactor, endpoint, self.site)

    def open(self) -> None:
        """
        Listen. This comes before twistd makes a daemon of the process, so that who starts it is told what is wrong.

        :raises SystemExit: the endpoint that the user chose cannot be had; the text says why.
        """
        self._fault = self._listening.open()
        if self._fault is not None and self._is_wanted:
            raise SystemExit(f"natsconnector: cannot listen on --admin {self._listening.endpoint}: {self._fault}")

    def startService(self) -> None:
        """Tell where it listens, and start what is asked about."""
        super().startService()
        if self._fault is None:
            self._log.info("health and metrics on {endpoint}", endpoint=self._listening.endpoint, event="admin_open")
        else:
            self._log.warn(
                "the connector runs without health and metrics: it cannot listen on {endpoint}: {reason}; set --admin"
                " to another endpoint, or to none",
                endpoint=self._listening.endpoint, reason=self._fault, event="admin_not_open",
            )  # fmt: skip
        self._heartbeat.start()
        self._history.start()
        self._service.startService()

    def stopService(self) -> Deferred[None]:
        """Stop what is asked about, then listen no more."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            await maybeDeferred(self._service.stopService)
        finally:
            self._heartbeat.stop()
            self._history.stop()
            # The site stays open until now, so that a browser sees the connector stop.
            self._events.stop()
            await self._listening.stop()
            await self.site.close(_CLOSE_S)
