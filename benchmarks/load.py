"""Messages for a measurement, sent by this process, and what became of them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from natsconnector.nats import Msg, NatsClient
from natsconnector.nats.jetstream import JetStream


def envelope(size: int, function: str = "figlet") -> bytes:
    """A message that calls a function with a body of so many bytes."""
    return json.dumps({"function": function, "params": {"body": "x" * size}}).encode()


def feed(server: str, number: int) -> None:
    """Publish messages of 100 bytes on ``bench`` as fast as a socket takes them; blocks until the server has them."""
    host, _, port = server.removeprefix("nats://").partition(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(b'CONNECT {"verbose":false}\r\n')
        frame = b"PUB bench 100\r\n" + b"x" * 100 + b"\r\n"
        for position in range(0, number, 1000):
            raw.sendall(frame * min(1000, number - position))
        raw.sendall(b"PING\r\n")
        said = b""
        while b"PONG\r\n" not in said:
            said = said[-100:] + raw.recv(65536)


async def without_replies(
    reactor: Any,
    client: NatsClient,
    count: Callable[[], int],
    number: int,
    payload: bytes,
    window: int,
    subjects: Sequence[str] = ("function.call",),
) -> float:
    """
    Publish messages to nobody's reply subject, at most ``window`` of them unanswered by the gateway at a time.

    :param count: how many requests the gateway has answered; each question is one of them.
    :return: seconds until the gateway had answered all.
    """
    asked, first = 1, count()
    began = time.perf_counter()
    published = done = 0
    while done < number:
        while published < min(number, done + window):
            client.publish(subjects[published % len(subjects)], payload)
            published += 1
        await deferLater(reactor, 0.005)
        done = count() - first - asked
        asked += 1
    return time.perf_counter() - began


async def with_replies(client: NatsClient, number: int, payload: bytes, window: int) -> tuple[float, list[float]]:
    """
    Publish messages with a reply subject, ``window`` of them waiting for their reply at a time.

    :return: seconds until all replies were there, and the seconds that each took.
    """
    inbox = client.new_inbox()
    done: Deferred[None] = Deferred()
    began_at: dict[str, float] = {}
    took: list[float] = []
    state = {"next": 0}

    def send() -> None:
        token = f"{inbox}.{state['next']}"
        state["next"] += 1
        began_at[token] = time.perf_counter()
        client.publish("function.call", payload, reply=token)

    def received(msg: Msg) -> None:
        took.append(time.perf_counter() - began_at.pop(msg.subject))
        if len(took) == number:
            done.callback(None)
        elif state["next"] < number:
            send()

    subscription = client.subscribe(f"{inbox}.*", received)
    await client.flush()
    began = time.perf_counter()
    for _ in range(min(window, number)):
        send()
    await done
    subscription.unsubscribe()
    return time.perf_counter() - began, took


async def paced(reactor: Any, client: NatsClient, rate: float, seconds: float, payload: bytes) -> list[float]:
    """Ask at a steady rate; the seconds that each reply took, in order of size."""
    inbox = client.new_inbox()
    took: list[float] = []
    began_at: dict[str, float] = {}
    number = int(rate * seconds)
    done: Deferred[None] = Deferred()

    def received(msg: Msg) -> None:
        took.append(time.perf_counter() - began_at.pop(msg.subject))
        if len(took) == number:
            done.callback(None)

    subscription = client.subscribe(f"{inbox}.*", received)
    await client.flush()
    began = time.perf_counter()
    for position in range(number):
        wait_s = began + position / rate - time.perf_counter()
        if wait_s > 0:
            await deferLater(reactor, wait_s)
        token = f"{inbox}.{position}"
        began_at[token] = time.perf_counter()
        client.publish("function.call", payload, reply=token)
    await done
    subscription.unsubscribe()
    return sorted(took)


async def burst(
    reactor: Any, client: NatsClient, count: Callable[[], int], number: int, payload: bytes, look: Callable[[], object]
) -> None:
    """
    Publish messages as fast as the server takes them, and wait until the gateway is called no more.

    :param look: called again and again meanwhile.
    """
    for position in range(number):
        client.publish("function.call", payload)
        if position % 1000 == 999:
            await client.flush(60)
            look()
    before = -1
    while (now := count()) > before + 1:  # the question is one, too
        before = now
        look()
        await deferLater(reactor, 0.5)


async def fill_stream(client: NatsClient, number: int, payload: bytes) -> None:
    """A new stream CALLS with so many messages."""
    jetstream = JetStream(client, timeout_s=60)
    await jetstream.create_stream(
        {"name": "CALLS", "subjects": ["function.call"], "retention": "workqueue", "storage": "memory"}
    )
    for _ in range(number - 1):
        client.publish("function.call", payload)
    await jetstream.publish("function.call", payload)


async def empty_stream(reactor: Any, client: NatsClient) -> float:
    """Seconds until every message of CALLS is acknowledged."""
    jetstream = JetStream(client)
    began = time.perf_counter()
    while (await jetstream.stream("CALLS"))["state"]["messages"]:
        await deferLater(reactor, 0.01)
    return time.perf_counter() - began
