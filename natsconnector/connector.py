"""The service: starts in order, and stops in order and in bounded time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from natsconnector import __version__
from natsconnector.dispatch.dispatcher import Dispatcher
from natsconnector.journal.journal import Journal
from natsconnector.model.seams import ICallbacks, IDelivery, IGateway, ISource, ITracer
from natsconnector.nats import MicroService, NatsClient, NatsError
from natsconnector.planning.catalogue import Catalogue

# For the answers of the last moment, beyond the shutdown time.
_LAST_FLUSH_S = 2.0
# A reconnect that takes longer is followed by another ready line.
_MOMENT_S = 1.0


class Connector(Service):
    """
    Takes messages from its sources, and has them dispatched, for as long as it runs.

    :param given: what the user configured; :param warnings: what to tell the user about the configuration.
    :param cautions: looks around once messages come in, and gives what to tell the user about that, a text each.
    :param tracer: is told of every message, where traces are sent.
    :param callbacks: takes results of asynchronous calls, where they are to be published; it is open already.
    :param service: what NATS's own tools see of it, where it is to be seen.
    :param gateway_name: where the gateway is, for the log.
    :param shutdown_timeout_s: how long work in progress may take when it stops; what is left then is answered 503.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
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
        cautions: Callable[[], Deferred[Any]] = lambda: succeed(()),
        tracer: ITracer | None = None,
        callbacks: ICallbacks | None = None,
        service: MicroService | None = None,
        shutdown_timeout_s: float,
    ) -> None:
        self._clock = clock
        self.client = client
        self.sources = tuple(sources)
        self.dispatcher = dispatcher
        self._gateway = gateway
        self.journal = journal
        self.gateway_name = gateway_name
        self.catalogue = catalogue
        self.callbacks = callbacks
        self._given = given
        self._warnings = warnings
        self._shutdown_timeout_s = shutdown_timeout_s
        self._cautions = cautions
        self._tracer = tracer
        self._service = service
        self._look_around: Deferred[Any] | None = None
        self._not_ready_since: float | None = None
        self._has_been_ready = False
        self._working_off: Deferred[None] | None = None
        self.is_stopping = False

    def startService(self) -> None:
        """Begin; a line ``natsconnector ready`` follows when messages can come in."""
        super().startService()
        self._log.info(
            "natsconnector {version}, {given}",
            version=__version__, given=", ".join(self._given) or "defaults", event="starting",
        )  # fmt: skip
        self._warn(self._warnings)
        self.dispatcher.on_hold(self._hold)
        deliver = self.dispatcher.dispatch
        if self._tracer is not None:
            self._tracer.start()
            deliver = partial(self._dispatch_traced, self._tracer)
        for source in self.sources:
            source.start(deliver)
        if self._service is not None:
            # After the sources: where a user may have so many subscriptions only, those come first.
            self._service.start()
        self.client.start()
        if self.callbacks is not None:
            self.callbacks.start()
        if self.catalogue is not None:
            self.catalogue.start()
        else:
            self._log.debug(
                "the annotations of functions are not read: that needs --gateway-credentials",
                event="annotations_ignored",
            )
        for source in self.sources:
            source.watch(self._look_at_sources)
        self._look_at_sources()

    def _dispatch_traced(self, tracer: ITracer, delivery: IDelivery) -> None:
        self.dispatcher.dispatch(tracer.message(delivery))

    def _hold(self, held: bool) -> None:
        for source in self.sources:
            source.hold(held)

    @property
    def not_ready(self) -> list[str]:
        """Why messages cannot come in, by source."""
        return [source.not_ready for source in self.sources if source.not_ready is not None]

    def _look_at_sources(self) -> None:
        """Say when messages can come in, again too when they could not for longer than a moment."""
        now_s = self._clock.seconds()
        if self.not_ready:
            if self._not_ready_since is None:
                self._not_ready_since = now_s
            return
        since, self._not_ready_since = self._not_ready_since, None
        if self._has_been_ready and (since is None or now_s - since < _MOMENT_S):
            return
        self._log.info(
            "natsconnector ready: NATS {server}, gateway {gateway}, {source}",
            server=self.client.server,
            gateway=self.gateway_name,
            source=", ".join(source.description for source in self.sources),
            event="ready",
        )
        if not self._has_been_ready:
            self._has_been_ready = True
            self._look_around = self._cautions()
            self._look_around.addCallback(self._warn)
            self._look_around.addErrback(lambda f: f.trap(CancelledError) and None)
            self._look_around.addErrback(
                lambda f: self._log.failure("a defect while looking for streams", f, event="defect")
            )

    def _warn(self, cautions: Iterable[str]) -> None:
        for caution in cautions:
            self._log.warn("{text}", text=caution, event="caution")

    def stopService(self) -> Deferred[None]:
        """Take no more, work off what there is within the shutdown time, answer the rest, close."""
        super().stopService()
        self.is_stopping = True
        if self._look_around is not None:
            self._look_around.cancel()
        return Deferred.fromCoroutine(self._stop())

    def hurry(self) -> None:
        """Give up what is still being worked off."""
        if self._working_off is not None and not self._working_off.called:
            self._working_off.cancel()

    async def _stop(self) -> None:
        self._log.info(
            "stopping: {inflight} calls in flight, {pending} messages wait",
            inflight=self.dispatcher.inflight,
            pending=self.dispatcher.pending,
            event="stopping",
        )
        try:
            self._working_off = Deferred.fromCoroutine(self._work_off())
            await self._working_off.addTimeout(self._shutdown_timeout_s, self._clock)
        except (CancelledError, TimeoutError) as e:
            self._log.warn(
                "{reason}: {count} calls are given up, answered 503 or left to a later delivery",
                reason="the shutdown time is over" if isinstance(e, TimeoutError) else "a second signal came",
                count=self.dispatcher.inflight + self.dispatcher.pending,
                event="given_up",
            )
        self.dispatcher.give_up()
        if self.callbacks is not None:
            # Callbacks are taken until now, for results of calls of a moment ago. Results that have come in are
            # published before NATS is closed.
            await self.callbacks.stop()
        if self.client.ready:
            try:
                await self.client.flush(_LAST_FLUSH_S)
            except NatsError as e:
                self._log.warn("the last answers may not have been sent: {reason}", reason=e, event="last_flush_failed")
        await self.client.close()
        if self.catalogue is not None:
            await self.catalogue.stop()
        await self._gateway.close()
        if self._tracer is not None:
            await self._tracer.stop()
        self.journal.finish()

    async def _work_off(self) -> None:
        if self._service is not None:
            await self._service.stop()
        for stopped in [source.stop() for source in self.sources]:
            await stopped
        await self.dispatcher.when_idle()
