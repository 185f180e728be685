"""The JetStream side of a server, in memory."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from natsconnector.nats.jetstream import JetStream
from tests.nats.fakes import Peer, World

TIME_NS = 1795441315976354732


class Heard(NamedTuple):
    """A message that the server has got."""

    subject: str
    reply: str | None
    headers: bytes
    payload: bytes

    @property
    def fields(self) -> Any:
        return json.loads(self.payload)


class JetStreamPeer:
    """
    The server's end of a client's connection.

    :param fields: of INFO, beside the usual ones.
    """

    def __init__(self, domain: str | None = None, **fields: Any) -> None:
        self.world = World()
        self.clock = self.world.clock
        self.client = self.world.client
        self.js = JetStream(self.client, domain=domain)
        self.sids: dict[str, str] = {}
        self._unread = b""
        self._fields = fields
        self.peer: Peer = self.world.connected(**fields)

    def reconnect(self) -> None:
        """Lose the connection and get another one."""
        self.peer.drop()
        attempts = self.world.attempts
        while self.world.attempts == attempts:
            self.clock.advance(0.1)
        self.peer = self.world.peer()
        self._unread = self.peer.log_in(**self._fields)
        self.peer.say(b"PONG\r\n")

    def heard(self) -> list[Heard]:
        """What the client has published since the last time; its subscriptions are noted."""
        self.clock.advance(0)
        rest, self._unread = self._unread + self.peer.heard(), b""
        found = []
        while rest:
            line, _, rest = rest.partition(b"\r\n")
            verb, *arguments = line.decode().split(" ")
            if verb == "SUB":
                self.sids[arguments[0]] = arguments[-1]
            elif verb in ("PUB", "HPUB"):
                sizes = [int(size) for size in arguments[-1 if verb == "PUB" else -2 :]]
                names = arguments[: -len(sizes)]
                block, payload = rest[: sizes[0] * (len(sizes) - 1)], rest[sizes[0] * (len(sizes) - 1) : sizes[-1]]
                rest = rest[sizes[-1] + 2 :]
                found.append(Heard(names[0], names[1] if len(names) > 1 else None, block, payload))
        return found

    def sid(self, reply: str) -> str:
        """The id of the subscription that hears a reply."""
        return next(sid for subject, sid in self.sids.items() if re.match(subject.replace("*", "[^.]+"), reply))

    def say(self, subject: str, payload: bytes, *, to: str, reply: str = "", block: bytes = b"") -> None:
        """Send a message to the subscription that hears the reply subject ``to``."""
        head = f"{subject} {self.sid(to)} {reply}".encode()
        if block:
            frame = b"HMSG %b %d %d\r\n%b%b\r\n" % (head, len(block), len(block) + len(payload), block, payload)
        else:
            frame = b"MSG %b %d\r\n%b\r\n" % (head, len(payload), payload)
        self.peer.say(frame)

    def status(self, text: str, *, to: str, headers: str = "") -> None:
        """Send a status."""
        self.say(to, b"", to=to, block=f"NATS/1.0 {text}\r\n{headers}\r\n".encode())

    def answer(self, asked: Heard, fields: object) -> None:
        """Answer a request."""
        assert asked.reply is not None
        payload = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        self.say(asked.reply, payload, to=asked.reply)

    def deliver(
        self, sequence: int, payload: bytes = b"{}", *, to: str, delivered: int = 1, time_ns: int = TIME_NS,
        consumer: str = "C", block: bytes = b"",
    ) -> str:  # fmt: skip
        """Deliver a message of the stream S; its ack subject."""
        ack = f"$JS.ACK.S.{consumer}.{delivered}.{sequence}.{sequence}.{time_ns}.0"
        self.say("function.call", payload, to=to, reply=ack, block=block)
        return ack


def error(err_code: int, code: int = 404, description: str = "an error") -> dict[str, Any]:
    """The answer that says no."""
    return {"error": {"code": code, "err_code": err_code, "description": description}}


class ScriptedApi:
    """
    Answers JetStream requests by what comes behind the prefix in their subject.

    :ivar answers: an answer, or a function of the request's body that gives one.
    :ivar asked: what was asked, in order, with its body.
    """

    def __init__(self, server: JetStreamPeer) -> None:
        self.server = server
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Any]] = []

    def serve(self) -> list[Heard]:
        """Answer all that is asked, and what is asked because of that; everything else that was published."""
        others = []
        while heard := self.server.heard():
            for each in heard:
                what = each.subject.removeprefix(self.server.js.prefix)
                if what not in self.answers or each.reply is None:
                    others.append(each)
                    continue
                body = each.fields if each.payload else None
                self.asked.append((what, body))
                answer = self.answers[what]
                self.server.answer(each, answer(body) if callable(answer) else answer)
        return others
