"""
What publishers and functions can do to the connector's memory, and to other callers: ``python -m tests.chaos.attacks``.

Ends with 0 if its memory stays small and another caller gets his answers soon during every attack, and with 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.internet.utils import getProcessOutput

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats import NatsClient, NatsError
from natsconnector.nats.wire import encode
from tests.chaos.jetstream_memory import resident_bytes
from tests.integration.support import ConnectorProcess, reactor

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MIB = 1 << 20
# Payload and header block.
Message = tuple[bytes, bytes]


class Upstream(Protocol):
    """Answers ``ok`` at once, ``hang`` never, and the others with what has no end."""

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
        function = self._head.split(b" ", 2)[1].decode().removeprefix("/function/")
        if function in self.ENDLESS:
            self._head, self._function = b"\r\n\r\n", function
            self.transport.write(self.ENDLESS[function][0])
            self.transport.registerProducer(self, False)
        elif function != "hang":
            self._head = b""
            self.transport.write(OK)

    def resumeProducing(self) -> None:
        self.transport.write(self.ENDLESS[self._function][1])

    def stopProducing(self) -> None:
        self.transport.loseConnection()


def call(function: str) -> bytes:
    return json.dumps({"function": function}).encode()


def many_headers(number: int) -> Message:
    """Of which a hundred thousand header lines are most."""
    return call("hang"), b"NATS/1.0\r\n" + b"A:\r\n" * 100_000 + b"\r\n"


def large_headers(number: int) -> Message:
    """Of which a header is most."""
    return call("hang"), b"NATS/1.0\r\nX-A: %s\r\n\r\n" % (b"h" * 1_000_000)


def reply_subjects(number: int) -> Message:
    """With a long reply subject, each another one."""
    subject = f"{number}." + "r" * 60_000 + "\N{PILE OF POO}"
    return call("ok"), f"NATS/1.0\r\nX-Reply-Subject: {subject}\r\n\r\n".encode()


def calls_of(function: str) -> Callable[[int], Message]:
    """That calls one of the functions above."""
    return lambda number: (call(function), b"")


ATTACKS: dict[str, tuple[Callable[[int], Message], int]] = {
    "large headers": (large_headers, 700),
    "many headers": (many_headers, 20),
    "reply subjects": (reply_subjects, 1500),
    **{function: (calls_of(function), 5) for function in Upstream.ENDLESS},
}


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
            payload, block = message(n)
            frame = encode.publish("function.call", payload, header_block=block)
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
        self._caller = NatsClient(reactor, [server.url])
        self._caller.start()
        try:
            await self._caller.when_ready()
            return all([await self._attack(name, server.url, gateway) for name in names])
        finally:
            await self._caller.close()
            await server.stop()
            await upstream.stopListening()

    async def _attack(self, name: str, nats: str, gateway: str) -> bool:
        connector = ConnectorProcess(
            "--nats", nats, "--gateway", gateway, "--max-pending-bytes", "16MiB", "--timeout", "5s",
            "--retry-attempts", "2",
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
        arguments = ("-m", "tests.chaos.attacks", "--shoot", nats, name)
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
    if not await Attacked(given.seconds).run(given.attack or list(ATTACKS)):
        raise SystemExit(1)


def options(argv: list[str]) -> argparse.Namespace:
    """What a command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.attacks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each is watched [8]")
    parser.add_argument("--shoot", metavar="NATS", help="only send the messages of an attack")
    parser.add_argument("attack", nargs="*", choices=[[], *ATTACKS], help="which [all]")
    return parser.parse_args(argv)


if __name__ == "__main__":
    given = options(sys.argv[1:])
    if given.shoot:
        shoot(given.attack[0], given.shoot)
    else:
        react(lambda _: Deferred.fromCoroutine(main(given)))
