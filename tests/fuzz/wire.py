"""The NATS client's parsers, and its INFO."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from natsconnector.nats.errors import BadHeader
from natsconnector.nats.wire.headers import Headers, encode_block, parse_block
from natsconnector.nats.wire.parser import Parser
from tests.fuzz.mutate import TEXTS, json_bytes, mutated_bytes, mutated_json, mutated_text, pieces_of
from tests.fuzz.target import Plain, holds, no_failures_logged
from tests.nats.fakes import INFO_FIELDS, World
from tests.nats.wire.corpus import BAD, GOOD

FRAMES = [*(data for data, _ in GOOD), *(data for data in BAD if len(data) < 1000)]
BLOCKS = [
    b"NATS/1.0\r\nBar: Baz\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\n\r\n",
    b"NATS/1.0\r\nA:  b \r\na:\r\nX-\xc3\xbc: 1\r\nB: \xff\xfe\r\n\r\n",
    b"NATS/1.0\r\n" + b"".join(b"H%d: v\r\n" % number for number in range(20)) + b"\r\n",
]
# The parser's bounds: the usual ones, and some that small inputs reach.
BOUNDS: list[dict[str, int]] = [{}, {"max_control_line": 40, "max_info": 100, "max_payload": 30}]


class ParserTarget(Plain):
    """Whole and in pieces the same events, and the same violation; nothing is raised."""

    name = "parser"

    def make(self, rng: Random) -> tuple[list[bytes], dict[str, int]]:
        frames = [mutated_bytes(rng, rng.choice(FRAMES), FRAMES) for _ in range(rng.randint(1, 5))]
        return pieces_of(rng, b"".join(frames)), rng.choice(BOUNDS)

    def check(self, given: tuple[list[bytes], dict[str, int]]) -> None:
        pieces, bounds = given
        whole, cut = Parser(**bounds), Parser(**bounds)
        events = whole.receive_data(b"".join(pieces))
        in_pieces = [event for piece in pieces for event in cut.receive_data(piece)]
        # By their reprs, for NaN is not equal to itself.
        holds(repr(events) == repr(in_pieces), f"whole {events!r}, in pieces {in_pieces!r}")
        holds(str(whole.violation) == str(cut.violation), f"whole {whole.violation}, in pieces {cut.violation}")
        same = whole.begun == cut.begun or whole.violation is not None
        holds(same, "whole and in pieces differ in whether a frame has begun")


class BlockTarget(Plain):
    """A header block that is read can be written, and is then the same; so is one that is written and read."""

    name = "headers"

    def make(self, rng: Random) -> bytes | list[tuple[str, str]]:
        if rng.random() < 0.6:
            return mutated_bytes(rng, rng.choice(BLOCKS), BLOCKS)
        names = ("A", "Nats-Msg-Id", "a.b", "x_y", "", "a b", "ü", "a:")
        return [(mutated_text(rng, rng.choice(names)), rng.choice(TEXTS)) for _ in range(rng.randint(0, 5))]

    def check(self, given: bytes | list[tuple[str, str]]) -> None:
        if isinstance(given, bytes):
            parsed = parse_block(given)
            if parsed.error is not None:
                holds(not len(parsed.headers) and parsed.status is None, "an error beside other values")
                return
            holds(parsed.status is None or 0 <= parsed.status <= 999, "a status of other than three digits")
            headers = list(parsed.headers)
        else:
            headers = [(name, value.strip(" \t")) for name, value in given]
        try:
            block = encode_block(headers)
        except BadHeader:
            holds(not isinstance(given, bytes), "what was read cannot be written")
            return
        again = parse_block(block)
        holds(again.error is None and not again.headers.skipped, f"what was written cannot be read: {again.error}")
        holds(again.headers == Headers(headers), f"written {headers!r}, read {list(again.headers)!r}")


class InfoTarget(Plain):
    """Whatever a server says of itself, the client lives on, and can be connected to a good server after it."""

    name = "info"
    INFO = {
        **INFO_FIELDS,
        "server_name": "n",
        "connect_urls": ["10.0.0.2:4222", "[::1]:4223", "name.example:4222"],
        "nonce": "abc",
        "auth_required": False,
        "tls_required": False,
        "tls_available": False,
        "jetstream": True,
        "domain": "d",
        "ldm": False,
        "cluster": "c",
        "client_ip": "127.0.0.1",
        "port": 4222,
        "xkey": "X",
    }
    MOST_TURNS = 500

    def make(self, rng: Random) -> list[bytes]:
        said = []
        for _ in range(rng.randint(1, 4)):
            said.append(b"INFO " + json_bytes(rng, mutated_json(rng, self.INFO)).replace(b"\n", b"") + b"\r\n")
            said.append(rng.choice((b"PONG\r\n", b"PING\r\n", b"", b"-ERR 'x'\r\n", b"MSG a 1 1\r\nx\r\n")))
        return said

    def check(self, given: list[bytes]) -> None:
        with no_failures_logged():
            world = World()
            world.client.start()
            peer = world.peer()
            peer.accept()
            for data in given:
                if not peer.transport.lost and not peer.transport.disconnecting and not peer.transport.tls:
                    peer.say(data)
                world.clock.advance(0.01)
            attempts = world.attempts
            peer.drop()
            turns = 0
            while world.attempts == attempts:
                turns += 1
                holds(turns < self.MOST_TURNS, "no other attempt to connect")
                world.clock.advance(1)
            peer = world.peer()
            peer.log_in()
            peer.say(b"PONG\r\n")
            holds(world.client.status.value == "connected", f"it is {world.client.status.value}")
            world.client.publish("a", b"x")
            world.clock.advance(0)
            holds(b"PUB a 1\r\nx\r\n" in peer.heard(), "a message was not sent")
            json.dumps(world.client.server_info, default=str)
            closed: Any = world.client.close()
            closed.addErrback(lambda _: None)
            peer.drop()
