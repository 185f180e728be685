"""Our NATS client: ``python -m benchmarks.own_client receive|publish NATS NUMBER``; prints seconds and CPU seconds."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from natsconnector.nats import Msg, NatsClient


async def run(reactor: Any, what: str, server: str, number: int) -> None:
    """Receive messages, or publish them, through the public client."""
    client = NatsClient(reactor, [server], name="bench")
    client.start()
    await client.when_ready(10)
    began = [0.0, 0.0]
    if what == "receive":
        done: Deferred[None] = Deferred()
        seen = 0

        def take(msg: Msg) -> None:
            nonlocal seen
            if not seen:
                began[:] = time.perf_counter(), time.process_time()
            seen += 1
            if seen == number:
                done.callback(None)

        client.subscribe("bench", take)
        await client.flush()
        print("ready", flush=True)
        await done
    else:
        payload = b"x" * 100
        print("ready", flush=True)
        began[:] = time.perf_counter(), time.process_time()
        for position in range(number):
            client.publish("bench", payload)
            if position % 10_000 == 9_999:
                await client.flush(60)
    print(json.dumps([time.perf_counter() - began[0], time.process_time() - began[1]]), flush=True)
    await client.close()


def main(reactor: Any, what: str, server: str, number: str) -> Deferred[None]:
    """Run as a program."""
    return Deferred.fromCoroutine(run(reactor, what, server, int(number)))


if __name__ == "__main__":
    react(main, sys.argv[1:])
