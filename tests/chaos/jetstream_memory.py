"""
The connector's memory with a long stream behind a slow function: ``python -m tests.chaos.jetstream_memory --help``.

Ends with 0 if it stays flat, and with 1 if it grows.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.web.server import Site

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats import NatsClient
from natsconnector.nats.jetstream import JetStream
from tests.chaos.jetstream_losses import FaultyGateway, Plan, Result
from tests.integration.support import ConnectorProcess, envelope, reactor

PUBLISHED_AT_ONCE = 2000


def resident_bytes(pid: int) -> int:
    """The memory of a process that is in RAM."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


async def fill(client: NatsClient, js: JetStream, messages: int) -> None:
    """Publish quickly: one acknowledgement tells that all before it are stored, too."""
    payload = envelope("x" * 100)
    for number in range(1, messages + 1):
        if number % PUBLISHED_AT_ONCE == 0 or number == messages:
            await js.publish("function.call", payload)
        else:
            client.publish("function.call", payload)
    assert (await js.stream("CALLS"))["state"]["messages"] == messages


async def measure(given: argparse.Namespace, folder: str) -> tuple[list[int], int]:
    """The connector's memory every few seconds, from when it is ready, and how many calls it made."""
    server = NatsServer(reactor, jetstream_dir=folder)
    plan = Plan(given.messages, 0, 0, 0, 0, function_s=given.function, fail_500=0, fail_429=0, resets=0)
    result = Result(plan)
    site = Site(FaultyGateway(result, random.Random(0)))
    site.noisy = False
    listening = reactor.listenTCP(0, site, interface="127.0.0.1")
    gateway = f"http://127.0.0.1:{listening.getHost().port}"
    await server.start()
    client = NatsClient(reactor, [server.url])
    connector: ConnectorProcess | None = None
    try:
        client.start()
        await client.when_ready()
        js = JetStream(client)
        await js.create_stream({"name": "CALLS", "subjects": ["function.call"], "storage": "file"})
        await fill(client, js, given.messages)
        connector = ConnectorProcess("--nats", server.url, "--gateway", gateway, "--stream", "CALLS")
        await connector.when_ready()
        pid: Any = connector._process.pid
        sizes = [resident_bytes(pid)]
        for _ in range(given.samples):
            await deferLater(reactor, given.every)
            sizes.append(resident_bytes(pid))
        fields = await js.consumer("CALLS", "natsconnector")
        print(f"waiting in the stream {fields['num_pending']}, at the connector {fields['num_ack_pending']}")
        return sizes, result.answers.total()
    finally:
        if connector is not None:
            connector.signal("KILL")
            await connector.when_ended()
        await client.close()
        await server.stop()
        await listening.stopListening()


async def main(given: argparse.Namespace) -> None:
    """Measure, print, judge."""
    folder = tempfile.mkdtemp(prefix="natsconnector-chaos-")
    try:
        sizes, calls = await measure(given, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("resident MiB:", " ".join(f"{size / (1 << 20):.1f}" for size in sizes))
    # The first calls fill pools and caches; from then on it must not grow.
    warm = sizes[2]
    print(f"{calls} calls; when warm {warm / (1 << 20):.1f} MiB, at the end {sizes[-1] / (1 << 20):.1f} MiB")
    if sizes[-1] - warm > given.allowed * (1 << 20):
        raise SystemExit("memory grows")


def options(argv: list[str]) -> argparse.Namespace:
    """What a command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.jetstream_memory", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--function", type=float, default=0.5, help="seconds that the function takes")
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks")
    parser.add_argument("--allowed", type=float, default=4.0, help="MiB that it may grow when warm")
    return parser.parse_args(argv)


if __name__ == "__main__":
    react(lambda _, given: Deferred.fromCoroutine(main(given)), [options(sys.argv[1:])])
