"""What the parts of a connector tell about themselves, put together for those who ask."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.interfaces import IReactorTime

from natsconnector.admin.facts import Consumer, Facts, FunctionList, Nats, Work
from natsconnector.admin.health import Health, Part
from natsconnector.connector import Connector
from natsconnector.messages.following import FollowingSource
from natsconnector.messages.stream import JetStreamSource
from natsconnector.model.seams import ISource
from natsconnector.nats import Status


class Insight:
    """
    Looks at a connector's parts when it is asked to.

    :ivar health: which of them are ready.
    """

    def __init__(self, clock: IReactorTime, connector: Connector) -> None:
        self._clock = clock
        self._connector = connector
        self._nats_changed_at = clock.seconds()
        watch = connector.dispatcher.watch
        self.health = Health(
            [
                Part(clock, self._nats_name, self._nats_fault, since=lambda: self._nats_changed_at),
                *(self._source_part(source) for source in connector.sources),
                Part(
                    clock,
                    lambda: f"gateway {connector.gateway_name}",
                    lambda: None if watch.is_up else watch.reason or "it does not answer",
                    since=lambda: watch.since,
                    is_needed=False,
                ),
                Part(clock, lambda: "connector", lambda: "it is stopping" if connector.is_stopping else None),
            ],
            self._fault,
        )
        connector.client.watch_status(self._nats_changed)
        for source in connector.sources:
            source.watch(self.health.note)

    def facts(self) -> Facts:
        """What the parts are like now."""
        connector = self._connector
        dispatcher, client, catalogue = connector.dispatcher, connector.client, connector.catalogue
        statistics = client.statistics
        functions = None
        if catalogue is not None:
            functions = FunctionList(
                catalogue.functions,
                catalogue.known_at,
                catalogue.failures,
                catalogue.annotation_faults,
                catalogue.unwanted_topics,
            )
        return Facts(
            self._clock.seconds(),
            self.health.is_ready,
            Work(
                dispatcher.inflight,
                dispatcher.pending,
                dispatcher.pending_bytes,
                dispatcher.oldest_s,
                dispatcher.inflight_by_function,
                dispatcher.inflight_limits,
            ),
            Nats(
                client.ready,
                self._nats_changed_at,
                statistics.reconnects,
                statistics.in_msgs,
                statistics.out_msgs,
                statistics.in_bytes,
                statistics.out_bytes,
            ),
            dispatcher.watch.is_up,
            dispatcher.watch.since,
            functions,
            [
                Consumer(
                    source.stream,
                    facts.name,
                    facts.pending,
                    facts.outstanding,
                    facts.redelivered,
                    source.oldest_unacknowledged_s,
                )
                for source in self._consumed()
                if (facts := source.consumer) is not None
            ],
        )

    def _consumed(self) -> Iterator[JetStreamSource]:
        for source in self._connector.sources:
            if isinstance(source, JetStreamSource):
                yield source
            elif isinstance(source, FollowingSource):
                yield from source.sources

    def _source_part(self, source: ISource) -> Part:
        return Part(self._clock, lambda: source.description, lambda: source.not_ready)

    def _nats_name(self) -> str:
        server = self._connector.client.server
        return "NATS" if server is None else f"NATS {server}"

    def _nats_fault(self) -> str | None:
        client = self._connector.client
        return None if client.ready else str(client.last_error or "not connected yet")

    def _nats_changed(self, *_: object) -> None:
        self._nats_changed_at = self._clock.seconds()
        self.health.note()

    def _fault(self) -> str | None:
        connector = self._connector
        if connector.client.status is Status.CLOSED and not connector.is_stopping:
            return "the connection to NATS is closed for good"
        return None
