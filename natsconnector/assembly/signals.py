"""What signals mean to the connector: the first one drains it, the next one hurries it."""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from natsconnector.reactors import Reactor

_STOPPING = ("SIGTERM", "SIGINT", "SIGHUP")


class Signals(Service):
    """
    A service that stops when a signal asks for it, with exit status 0.

    Twisted's own handlers make twistd end by the signal, and meet a second one with a traceback. SIGHUP, which a closed
    terminal sends, would end the process at once.

    :param hurry: called when a signal comes while the service stops.
    :param rotate: called at SIGUSR1, which asks for a new log file.
    """

    _log = Logger()

    def __init__(
        self, reactor: Reactor, service: IService, hurry: Callable[[], object], rotate: Callable[[], object]
    ) -> None:
        self._reactor = reactor
        self._service = service
        self._hurry = hurry
        self._rotate = rotate
        self._is_stopping = False

    def startService(self) -> None:
        super().startService()
        # The reactor installs its own handlers when it begins to run.
        self._reactor.callWhenRunning(self._install)
        self._service.startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._is_stopping = True
        stopped = self._service.stopService()
        return stopped if isinstance(stopped, Deferred) else succeed(None)

    def _install(self) -> None:
        for name in _STOPPING:
            signal.signal(getattr(signal, name), self._received)
        signal.signal(signal.SIGUSR1, lambda number, frame: self._reactor.callFromThread(self._rotate))

    def _received(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self.stop_on, signal.Signals(number).name)

    def stop_on(self, name: str) -> None:
        """Do what a signal of this name asks for."""
        if self._is_stopping:
            self._log.warn("{signal} again: calls in progress are given up", signal=name, event="hurried")
            self._hurry()
            return
        self._is_stopping = True
        self._log.info("{signal}: stopping", signal=name, event="signal")
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            self._log.info("{signal}: stopping already", signal=name, event="signal")
