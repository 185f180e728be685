"""
What publishers, functions, and whoever reaches its ports can do to the connector's memory, and to other callers:
``python -m tests.chaos.attacks``.

Ends with 0 if its memory stays small and another caller gets his answers soon during every attack, and with 1 if not.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.internet.utils import getProcessOutput

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats import NatsClient, NatsError
from natsconnector.nats.wire import encode
from tests.chaos.jetstream_memory import resident_bytes
from tests.integration.ports import free_port
from tests.integration.support import ConnectorProcess, reactor

MIB = 1 << 20
TOPIC = "attack.topic"
FUNCTIONS = [
    {"name": "fast", "namespace": "openfaas-fn", "annotations": {"topic": TOPIC}},
    {
        "name": "hang", "namespace": "openfaas-fn",
        "annotations": {"topic": TOPIC, "natsconnector.max-inflight": "2"},
    },
]  # fmt: skip
PART = b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n" + b"p" * 7_900_000
# Of those who flood a port.
CLIENTS = 100
FLOOD_S = 8.0


class Message(NamedTuple):
    """What an attacker publishes."""

    payload: bytes
    block: bytes = b""
    subject: str = "function.call"
    reply: str | None = None


class Upstream(Protocol):
    """Answers ``ok`` at once, ``fast`` with much, ``hang`` never, ``part`` to a part, others with what has no end."""

    # What comes first, and what comes again and again.
    ENDLESS = {
        "head": (b"HTTP/1.1 200 OK\r\n", b"".join(b"X-%d: %s\r\n" % (n, b"h" * 8000) for n in range(10))),
        "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nxx\r\n" * 10_000),
        "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-T: %s\r\n" % (b"t" * 8000)),
        "extensions": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;", b"e" * 60_000),
        "body": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"8000\r\n%s\r\n" % (b"b" * 0x8000)),
    }
    transport: Any

    def __init__(self) -> None:
        self._head = b""

    def dataReceived(self, data: bytes) -> None:
        self._head = (self._head + data)[:65536] if b"\r\n\r\n" not in self._head else self._head
        if b"\r\n\r\n" not in self._head:
            return
        path = self._head.split(b" ", 2)[1].decode()
        function = path.removeprefix("/function/").removesuffix(".openfaas-fn")
        if function in self.ENDLESS:
            self._head, self._function = b"\r\n\r\n", function
            self.transport.write(self.ENDLESS[function][0])
            self.transport.registerProducer(self, False)
        elif function == "part":
            self._head = b"\r\n\r\n"
            self.transport.write(PART)
        elif function != "hang":
            self._head = b""
            body = b'["openfaas-fn"]' if path == "/system/namespaces" else b"ok"
            if path.startswith("/system/functions"):
                body = json.dumps(FUNCTIONS).encode()
            elif function == "fast":
                body = b"f" * 900_000
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def resumeProducing(self) -> None:
        self.transport.write(self.ENDLESS[self._function][1])

    def stopProducing(self) -> None:
        self.transport.loseConnection()


def call(function: str) -> bytes:
    return json.dumps({"function": function}).encode()


def many_headers(number: int) -> Message:
    """Of which a hundred thousand header lines are most."""
    return Message(call("hang"), b"NATS/1.0\r\n" + b"A:\r\n" * 100_000 + b"\r\n")


def large_headers(number: int) -> Message:
    """Of which a header is most."""
    return Message(call("hang"), b"NATS/1.0\r\nX-A: %s\r\n\r\n" % (b"h" * 1_000_000))


def reply_subjects(number: int) -> Message:
    """With a long reply subject, each another one."""
    subject = f"{number}." + "r" * 60_000 + "\N{PILE OF POO}"
    return Message(call("ok"), f"NATS/1.0\r\nX-Reply-Subject: {subject}\r\n\r\n".encode())


def two_functions(number: int) -> Message:
    """For two functions, of which one answers much at once, and one never."""
    return Message(b"x", subject=TOPIC, reply=f"nobody.{number}")


def calls_of(function: str) -> Callable[[int], Message]:
    """That calls one of the functions above."""
    return lambda number: Message(call(function))


def large_bodies(number: int) -> Iterator[bytes]:
    """A large body for a URL that nobody has sealed."""
    yield b"POST /%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n" % (b"A" * 1500)
    while True:
        yield b"b" * 65536


def many_chunks(number: int) -> Iterator[bytes]:
    """The same in many small chunks."""
    yield b"POST /%s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" % (b"A" * 1500)
    while True:
        yield b"1\r\nx\r\n" * 1000


def many_urls(number: int) -> Iterator[bytes]:
    """One request after the other, each for another URL that has the form of a sealed one."""
    while True:
        text = base64.urlsafe_b64encode(b"\x01" + os.urandom(1001)).rstrip(b"=")
        yield b"POST /%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n" % text


def slow_heads(number: int) -> Iterator[bytes]:
    """A head that does not end."""
    yield b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
    while True:
        yield b"X-A: b\r\n"


def many_pages(number: int) -> Iterator[bytes]:
    """One page after the other, none of which is read."""
    while True:
        page = (b"/metrics", b"/readyz", b"/events", b"/")[number % 4]
        yield b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % page


FLOODS: dict[str, tuple[str, Callable[[int], Iterator[bytes]]]] = {
    "callback bodies": ("callbacks", large_bodies),
    "callback chunks": ("callbacks", many_chunks),
    "callback URLs": ("callbacks", many_urls),
    "callback heads": ("callbacks", slow_heads),
    "admin bodies": ("admin", large_bodies),
    "admin heads": ("admin", slow_heads),
    "admin pages": ("admin", many_pages),
}


ATTACKS: dict[str, tuple[Callable[[int], Message], int]] = {
    "large headers": (large_headers, 700),
    "many headers": (many_headers, 20),
    "reply subjects": (reply_subjects, 1500),
    "parts": (calls_of("part"), 90),
    "two functions": (two_functions, 250),
    **{function: (calls_of(function), 5) for function in Upstream.ENDLESS},
}


def flood(name: str, url: str) -> None:
    """Have many clients send at once, 100 MB a second at most together; each comes again when it is thrown out."""
    host, _, port = url.removeprefix("http://").partition(":")
    ends_at = time.monotonic() + FLOOD_S

    def client(number: int) -> None:
        while time.monotonic() < ends_at:
            try:
                with socket.create_connection((host, int(port)), 1.0) as server:
                    for piece in FLOODS[name][1](number):
                        server.sendall(piece)
                        time.sleep(max(0.01, CLIENTS * len(piece) / 100e6))
                        if time.monotonic() > ends_at:
                            return
            except OSError:
                time.sleep(0.05)

    clients = [Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()


def shoot(name: str, url: str) -> None:
    """
    Send an attack at 100 MB a second at most, which is what this process is for.

    Beyond some hundred MB a second it is the nats-server that cuts the connector off, as a slow consumer.
    """
    message, number = ATTACKS[name]
    host, _, port = url.removeprefix("nats://").partition(":")
    with socket.create_connection((host, int(port))) as server:
        server.sendall(encode.connect({"verbose": False, "headers": True, "no_responders": False}))
        for n in range(number):
            each = message(n)
            frame = encode.publish(each.subject, each.payload, each.reply, header_block=each.block)
            server.sendall(frame)
            time.sleep(len(frame) / 100e6)
        server.sendall(encode.PING)
        while b"PONG" not in server.recv(65536):
            pass


class Attacked:
    """A connector under one attack after the other."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def run(self, names: list[str]) -> bool:
        """Whether memory and answers stayed within what is allowed in all of them; prints a line for each."""
        upstream = reactor.listenTCP(0, Factory.forProtocol(Upstream), interface="127.0.0.1")
        gateway = f"http://127.0.0.1:{upstream.getHost().port}"
        server = NatsServer(reactor)
        await server.start()
        folder = tempfile.TemporaryDirectory()
        self._keys = Path(folder.name) / "keys"
        self._keys.write_text("k" * 32)
        self._caller = NatsClient(reactor, [server.url])
        self._caller.start()
        try:
            await self._caller.when_ready()
            return all([await self._attack(name, server.url, gateway) for name in names])
        finally:
            await self._caller.close()
            await server.stop()
            await upstream.stopListening()
            folder.cleanup()

    async def _attack(self, name: str, nats: str, gateway: str) -> bool:
        ports = {"callbacks": await free_port(), "admin": await free_port()}
        endpoints = {kind: f"tcp:{port}:interface=127.0.0.1" for kind, port in ports.items()}
        connector = ConnectorProcess(
            "--nats", nats, "--gateway", gateway, "--max-pending-bytes", "16MiB", "--timeout", "5s",
            "--retry-attempts", "2", "--subject", "function.call", "--topics", TOPIC,
            "--callback-listen", endpoints["callbacks"], "--callback-key-file", str(self._keys),
            "--callback-address", "http://127.0.0.1:1", "--admin", endpoints["admin"],
        )  # fmt: skip
        await connector.when_ready()
        process: Any = connector._process
        self.most, self.slowest, self.answers = 0, 0.0, 0

        def look() -> None:
            self.most = max(self.most, resident_bytes(process.pid))

        looking, asking = LoopingCall(look), LoopingCall(lambda: Deferred.fromCoroutine(self._ask()))
        looking.start(0.02)
        await self._ask()
        ended = asking.start(0.05)
        target = f"http://127.0.0.1:{ports[FLOODS[name][0]]}" if name in FLOODS else nats
        arguments = ("-m", "tests.chaos.attacks", "--shoot", target, name)
        told = await getProcessOutput(sys.executable, arguments, env=os.environ, errortoo=True)
        assert not told, told
        await deferLater(reactor, self._seconds)
        asking.stop()
        await maybeDeferred(lambda: ended)
        looking.stop()
        connector.signal("KILL")
        await connector.when_ended()
        good = self.most < 150 * MIB and self.slowest < 1
        print(
            f"{name:16} {self.most / MIB:6.1f} MiB at most, another caller: {self.answers} answers, slowest"
            f" {self.slowest:.2f} s{'' if good else '  NOT AS PROMISED'}",
            flush=True,
        )
        if not good:
            print(*connector.lines, sep="\n", flush=True)
        return good

    async def _ask(self) -> None:
        begun_s = reactor.seconds()
        try:
            reply = await self._caller.request("function.call", call("ok"), timeout_s=10)
            self.answers += reply.headers.get("X-Function-Status") == "200"
        except NatsError:
            pass
        self.slowest = max(self.slowest, reactor.seconds() - begun_s)


async def main(given: argparse.Namespace) -> None:
    """Attack and judge."""
    if not await Attacked(given.seconds).run(given.attack or [*ATTACKS, *FLOODS]):
        raise SystemExit(1)


def options(argv: list[str]) -> argparse.Namespace:
    """What a command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.attacks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each is watched [8]")
    parser.add_argument("--shoot", metavar="NATS", help="only send what an attack sends")
    parser.add_argument("attack", nargs="*", choices=[[], *ATTACKS, *FLOODS], help="which [all]")
    return parser.parse_args(argv)


if __name__ == "__main__":
    given = options(sys.argv[1:])
    if given.shoot:
        (flood if given.attack[0] in FLOODS else shoot)(given.attack[0], given.shoot)
    else:
        react(lambda _: Deferred.fromCoroutine(main(given)))
