"""The service: starts in order, and stops in order and in bounded time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger

from natsconnector import __version__
from natsconnector.dispatch.dispatcher import Dispatcher
from natsconnector.journal.journal import Journal
from natsconnector.model.seams import IGateway, ISource
from natsconnector.nats import ClientClosed, NatsClient, NatsError
from natsconnector.planning.catalogue import Catalogue

# For the answers of the last moment, beyond the shutdown time.
_LAST_FLUSH_S = 2.0


class Connector(Service):
    """
    Takes messages from its sources, and has them dispatched, for as long as it runs.

    :param given: what the user configured; :param warnings: what to tell the user about the configuration.
    :param shutdown_timeout_s: how long work in progress may take when it stops; what is left then is answered 503.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Any,
        client: NatsClient,
        sources: Sequence[ISource],
        dispatcher: Dispatcher,
        gateway: IGateway,
        journal: Journal,
        *,
        gateway_name: str,
        catalogue: Catalogue | None = None,
        given: Sequence[str] = (),
        warnings: Sequence[str] = (),
        shutdown_timeout_s: float,
    ) -> None:
        self._clock = clock
        self._client = client
        self._sources = tuple(sources)
        self._dispatcher = dispatcher
        self._gateway = gateway
        self._journal = journal
        self._gateway_name = gateway_name
        self._catalogue = catalogue
        self._given = given
        self._warnings = warnings
        self._shutdown_timeout_s = shutdown_timeout_s
        self._starting: Deferred[None] | None = None
        self._working_off: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin; a line ``natsconnector ready`` follows when messages can come in."""
        super().startService()
        self._log.info(
            "natsconnector {version}, {given}", version=__version__, given=", ".join(self._given) or "defaults"
        )
        for warning in self._warnings:
            self._log.warn("{text}", text=warning)
        self._dispatcher.on_hold(self._hold)
        for source in self._sources:
            source.start(self._dispatcher.dispatch)
        self._client.start()
        if self._catalogue is not None:
            self._catalogue.start()
        else:
            self._log.debug("function annotations are ignored: set --gateway-credentials so that they can be read")
        self._starting = Deferred.fromCoroutine(self._tell_when_ready())
        self._starting.addErrback(lambda f: f.trap(CancelledError, ClientClosed) and None)
        self._starting.addErrback(lambda f: self._log.failure("could not tell whether the connector is ready", f))

    def _hold(self, held: bool) -> None:
        for source in self._sources:
            source.hold(held)

    async def _tell_when_ready(self) -> None:
        for source in self._sources:
            await source.when_ready()
        self._log.info(
            "natsconnector ready: NATS {server}, gateway {gateway}, {source}",
            server=self._client.server,
            gateway=self._gateway_name,
            source=", ".join(source.description for source in self._sources),
        )

    def stopService(self) -> Deferred[None]:
        """Take no more, work off what there is within the shutdown time, answer the rest, close."""
        super().stopService()
        if self._starting is not None:
            self._starting.cancel()
        return Deferred.fromCoroutine(self._stop())

    def hurry(self) -> None:
        """Give up what is still being worked off."""
        if self._working_off is not None and not self._working_off.called:
            self._working_off.cancel()

    async def _stop(self) -> None:
        self._log.info(
            "stopping: {inflight} calls in flight, {pending} messages wait",
            inflight=self._dispatcher.inflight,
            pending=self._dispatcher.pending,
        )
        try:
            self._working_off = Deferred.fromCoroutine(self._work_off())
            await self._working_off.addTimeout(self._shutdown_timeout_s, self._clock)
        except (CancelledError, TimeoutError) as e:
            self._log.warn(
                "{why}: {left} calls are given up, answered 503 or left to a later delivery",
                why="the shutdown time is over" if isinstance(e, TimeoutError) else "hurried",
                left=self._dispatcher.inflight + self._dispatcher.pending,
                event="given_up",
            )
        self._dispatcher.give_up()
        if self._client.ready:
            try:
                await self._client.flush(_LAST_FLUSH_S)
            except NatsError as e:
                self._log.warn("the last answers may not have been sent: {reason}", reason=e)
        await self._client.close()
        if self._catalogue is not None:
            await self._catalogue.stop()
        await self._gateway.close()
        self._journal.finish()

    async def _work_off(self) -> None:
        for stopped in [source.stop() for source in self._sources]:
            await stopped
        await self._dispatcher.when_idle()
