"""Servers and clients for tests against a real nats-server."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from natsconnector.local.nats_server import NatsServer, NatsServerError, find_nats_server
from natsconnector.nats import Msg, NatsClient, Status
from tests.integration.ports import free_port

reactor: Any = _reactor


class Collector:
    """A callback that can be waited for."""

    def __init__(self) -> None:
        self.messages: list[Msg] = []
        self._wanted = 0
        self._full: Deferred[list[Msg]] | None = None

    def __call__(self, msg: Msg) -> None:
        self.messages.append(msg)
        if self._full is not None and len(self.messages) == self._wanted:
            self._full.callback(self.messages)

    def when(self, count: int) -> Deferred[list[Msg]]:
        """Fires when so many messages are there."""
        self._wanted, self._full = count, Deferred()
        if len(self.messages) >= count:
            self._full.callback(self.messages)
        return self._full


class StatusCollector:
    """The changes of a client's status, which can be waited for."""

    def __init__(self, client: NatsClient) -> None:
        client.watch_status(self)
        self.changes: list[tuple[Status, str]] = []
        self._waiting: list[tuple[Status, Deferred[str]]] = []

    def __call__(self, old: Status, new: Status, reason: str) -> None:
        self.changes.append((new, reason))
        waiting, self._waiting = self._waiting, []
        for status, waiter in waiting:
            if status is new:
                waiter.callback(reason)
            else:
                self._waiting.append((status, waiter))

    def when(self, status: Status) -> Deferred[str]:
        """Fires with the reason at the next change to this status."""
        waiter: Deferred[str] = Deferred()
        self._waiting.append((status, waiter))
        return waiter


class NatsTestCase(TestCase):
    """Starts servers and clients, and ends them."""

    timeout = 60

    async def server(self, **options: Any) -> NatsServer:
        """A nats-server that runs, until the end of the test."""
        try:
            find_nats_server()
        except NatsServerError as missing:
            raise SkipTest(str(missing)) from None
        if "port" not in options:
            options["port"] = await free_port()
        server = NatsServer(reactor, **options)
        await server.start()
        self.addCleanup(server.stop)
        return server

    def make_client(self, *urls: str, **options: Any) -> NatsClient:
        """A client that is started, until the end of the test."""
        options.setdefault("reconnect_max_wait_s", 0.2)
        client = NatsClient(reactor, urls, **options)
        self.addCleanup(client.close)
        client.start()
        return client

    async def client(self, *urls: str, **options: Any) -> NatsClient:
        """A client that is ready."""
        client = self.make_client(*urls, **options)
        await client.when_ready()
        return client


def turn() -> Deferred[None]:
    """Give the reactor a moment, where there is no event to wait for."""
    return deferLater(reactor, 0.01, lambda: None)
