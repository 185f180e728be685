"""A cluster of nats-servers, and requests that never stop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats import (
    ConnectionLost,
    Msg,
    NatsClient,
    NoResponders,
    OutboundBufferFull,
    RequestTimeout,
    Status,
)
from tests.integration.nats_case import reactor
from tests.integration.ports import free_port

RESPONDERS = 2


class Cluster:
    """Nodes that know each other; one that is started again has its old ports."""

    def __init__(self, nodes: list[NatsServer]) -> None:
        self.nodes = nodes

    @property
    def urls(self) -> list[str]:
        """Of all nodes."""
        return [node.url for node in self.nodes]

    def node(self, server: str | None) -> NatsServer:
        """The node with this ``host:port``."""
        return next(node for node in self.nodes if node.url == f"nats://{server}")

    async def stop(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            await node.stop()


async def start_cluster(size: int = 3, more: str = "") -> Cluster:
    """A cluster whose nodes all run."""
    ports = [await free_port() for _ in range(size)]
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
    nodes = [
        NatsServer(
            reactor,
            port=await free_port(),
            config_text=f"""
            server_name: n{number}
            cluster {{ name: K, listen: "127.0.0.1:{port}", routes: [{routes}] }}
            {more}""",
        )
        for number, port in enumerate(ports)
    ]
    for node in nodes:
        await node.start()
    return Cluster(nodes)


class Traffic:
    """Two clients that answer as a queue group, and one that asks them, at a steady rate, until it is answered.

    ``away_s`` has how long each client was without a connection, each time.
    """

    def __init__(self, cluster: Cluster, rate: float) -> None:
        self.asker, *self.responders = self.clients = [
            NatsClient(reactor, cluster.urls, name=f"client {number}") for number in range(1 + RESPONDERS)
        ]
        self.asked = self.answered = self.retried = 0
        self.away_s: list[float] = []
        self.heard = [0 for _ in self.clients]
        self._faults: list[Any] = []
        self._asking = LoopingCall(self._ask)
        self._interval_s = 1 / rate
        self._open = 0
        self._watched: dict[NatsClient, float] = {}

    async def start(self) -> None:
        """Begin; fires when all are connected and the asker is being answered."""
        for number, client in enumerate(self.clients):
            client.watch_status(self._watcher(client))
            client.subscribe("everybody", self._listener(number))
            client.start()
            await client.when_ready()
        for responder in self.responders:
            responder.subscribe("svc", self._answerer(responder), queue="q")
            await responder.flush()
        self._running = self._asking.start(self._interval_s)
        self._running.addErrback(self._faults.append)
        await until(lambda: self.answered > 10)

    async def stop(self) -> None:
        """Ask nothing more; fires when everything is answered, and the clients are closed."""
        if self._asking.running:
            self._asking.stop()
        await until(lambda: not self._open)
        for client in self.clients:
            await client.close()
        if self._faults:
            self._faults[0].raiseException()

    async def check_subscriptions(self) -> None:
        """Publish until each client has heard it, which its plain subscription must."""
        before = list(self.heard)

        def all_have_heard() -> bool:
            self.asker.publish("everybody")
            return all(now > then for now, then in zip(self.heard, before, strict=True))

        await until(all_have_heard)

    def on(self, server: str) -> int:
        """How many clients are connected to this one."""
        return sum(client.server == server for client in self.clients)

    def _ask(self) -> None:
        # A LoopingCall leaves out the calls it is late for: make up for them, to keep the rate.
        due = int((reactor.seconds() - self._asking.starttime) / self._interval_s) + 1
        while self.asked < due:
            self.asked += 1
            self._open += 1
            asking = Deferred.fromCoroutine(self._ask_until_answered(b"%d" % self.asked))
            asking.addErrback(self._faults.append).addBoth(self._done)

    def _done(self, _: object) -> None:
        self._open -= 1

    async def _ask_until_answered(self, payload: bytes) -> None:
        while True:
            try:
                answer = await self.asker.request("svc", payload, timeout_s=2.0)
            except (NoResponders, ConnectionLost, RequestTimeout, OutboundBufferFull):
                self.retried += 1
                await deferLater(reactor, 0.02)
                continue
            assert answer.payload == payload, answer
            self.answered += 1
            return

    def _answerer(self, client: NatsClient) -> Callable[[Msg], None]:
        def answer(msg: Msg) -> None:
            assert msg.reply is not None
            client.publish(msg.reply, msg.payload)

        return answer

    def _listener(self, number: int) -> Callable[[Msg], None]:
        def listen(_: Msg) -> None:
            self.heard[number] += 1

        return listen

    def _watcher(self, client: NatsClient) -> Callable[[Status, Status, str], None]:
        def watch(old: Status, new: Status, reason: str) -> None:
            if new is Status.DISCONNECTED:
                self._watched[client] = reactor.seconds()
            elif client in self._watched:
                self.away_s.append(reactor.seconds() - self._watched.pop(client))

        return watch


async def until(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    """Wait for what no event tells."""
    end_s = reactor.seconds() + limit_s
    while not condition():
        if reactor.seconds() > end_s:
            raise AssertionError(f"not within {limit_s:g} s: {condition}")
        await deferLater(reactor, 0.01)


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a program with the reactor; its exit code."""
    codes: list[int] = []

    def done(result: Any) -> None:
        if isinstance(result, int):
            codes.append(result)
        else:
            result.printTraceback()
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()).addBoth(done))
    reactor.run()
    return codes[0] if codes else 1
