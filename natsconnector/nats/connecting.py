"""A client that is connected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from natsconnector.nats.client import NatsClient
from natsconnector.reactors import Reactor


def connect(
    reactor: Reactor, servers: str | Sequence[str], *, timeout_s: float | None = 10.0, **options: Any
) -> Deferred[NatsClient]:
    """
    Fires with a client that is connected.

    Fails with what ``NatsClient`` raises, and with why there is no connection when the time is over; the client is
    closed then. Cancelling closes it as well.

    :param servers: one URL, or several.
    :param timeout_s: None tries for ever.
    :param options: those of ``NatsClient``.
    """
    return Deferred.fromCoroutine(_connect(reactor, servers, timeout_s, options))


async def _connect(
    reactor: Reactor, servers: str | Sequence[str], timeout_s: float | None, options: dict[str, Any]
) -> NatsClient:
    client = NatsClient(reactor, [servers] if isinstance(servers, str) else servers, **options)
    client.start()
    try:
        await client.when_ready(timeout_s)
    except BaseException:
        client.close()
        raise
    return client
