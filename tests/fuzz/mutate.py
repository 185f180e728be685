"""Good inputs made bad: bytes, texts and JSON. Everything random comes from the generator that is passed in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

# What parsers trip over: separators, line ends, ends of ranges, bytes that are no UTF-8, things that look like numbers.
BYTES = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b".", b"..", b"*", b">", b"/", b"%2f", b"\\", b'"', b"'"),
    *(b"{", b"}", b"[", b"]", b"-", b"+", b"_", b"\x0b", b"\x1b", b"\x7f", b"\x80", b"\xff", b"\xc3", b"\xed\xa0\x80"),
    *(b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"0", b"-1", b"1e999", b"00", b"99999999999999999999", b"\xd9\xa1", b"NaN"),
    *(b"\r\n\r\n", b"NATS/1.0", b"MSG a 1 1\r\n", b"chunked", b"Content-Length: 1\r\n", b"a" * 300),
]
TEXTS = [
    *("", " ", "\t", "\n", "\r\n", "\0", ".", "..", "*", ">", "$JS.API", "_INBOX.a", "a.b", "a b", "ü", "\U0001f600"),
    *(
        "\ud800",
        "\u2028",
        "\u202e",
        "\x1b[2J",
        "0",
        "-1",
        "1e999",
        "1" * 5000,
        "1h",
        "1ns",
        "9999999h",
        "-5s",
        "1.5.5s",
    ),
    *("true", "null", "/", "../x", "%2e", "http://a/", "http://[::1", "http://a:b@c:99999/", "https://\u212a/", "//"),
    *("a" * 300, "*" * 50, ">.>", "a," * 200, "{", "{0}", "%s", "Proxy", "X-Topic", "Content-Length", "a_b", "\u0661"),
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**63), 10**40, 0.5, -0.0, 1e308, float("inf"), float("nan")),
    *("", "a", "1", [], [None], [1], ["a"], [[]], {}, {"a": 1}, {"": None}),
]


def mutated_bytes(rng: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """``data`` after a few edits, sometimes none; pieces of ``others`` get into it."""
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        at = rng.randint(0, len(data))
        to = min(len(data), at + rng.choice((0, 1, 1, 2, 4, 16, 1000)))
        edit = rng.randrange(7)
        if edit == 0:
            data = data[:at] + rng.choice(BYTES) + data[at:]
        elif edit == 1:
            data = data[:at] + rng.choice(BYTES) + data[to:]
        elif edit == 2:
            data = data[:at] + data[to:]
        elif edit == 3:
            data = data[:to] + data[at:to] * rng.choice((1, 1, 3, 50)) + data[to:]
        elif edit == 4:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif edit == 5 and others:
            other = rng.choice(others)
            start = rng.randint(0, len(other))
            data = data[:at] + other[start : start + rng.randint(1, 40)] + data[to:]
        elif edit == 6:
            data = data[:at] + data[at:to].swapcase() + data[to:]
    return data


def mutated_text(rng: Random, text: str) -> str:
    """``text`` after a few edits, sometimes none."""
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        at = rng.randint(0, len(text))
        to = min(len(text), at + rng.choice((0, 1, 1, 3, 100)))
        text = text[:at] + rng.choice((rng.choice(TEXTS), chr(rng.randrange(256)), text[at:to] * 2)) + text[to:]
    return text


def mutated_json(rng: Random, value: Any) -> Any:
    """A JSON value with some of its parts replaced, renamed, removed, repeated or wrapped."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 5))):
        value = _changed_somewhere(rng, value)
    return value


def json_bytes(rng: Random, value: Any) -> bytes:
    """A JSON value in one of the ways to write it, sometimes with a name that comes twice, sometimes broken."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, None, 1)))
    data = text.encode("utf-8", "surrogatepass")
    return mutated_bytes(rng, data) if rng.random() < 0.3 else data


def pieces_of(rng: Random, data: bytes) -> list[bytes]:
    """``data`` cut in pieces, as a socket gives them."""
    step = rng.choice((1, 2, 3, 7, 50, 1000))
    pieces, at = [], 0
    while at < len(data):
        size = rng.randint(1, step) if len(data) < 5000 else rng.randint(1, 5000)
        pieces.append(data[at : at + size])
        at += size
    return pieces


def _changed_somewhere(rng: Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.85:
        name = rng.choice(sorted(value))
        edit = rng.randrange(6)
        if edit == 0:
            return {each: member for each, member in value.items() if each != name}
        if edit == 1:
            return {(mutated_text(rng, each) if each == name else each): member for each, member in value.items()}
        return {**value, name: _changed_somewhere(rng, value[name])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        edits: list[Callable[[], Any]] = [
            lambda: value[:at] + value[at + 1 :],
            lambda: value + [value[at]] * rng.choice((1, 300)),
            lambda: [*value[:at], _changed_somewhere(rng, value[at]), *value[at + 1 :]],
        ]
        return rng.choice(edits)()
    if isinstance(value, str) and rng.random() < 0.6:
        return mutated_text(rng, value)
    if type(value) is int and rng.random() < 0.4:
        return value + rng.choice((-1, 1, 10, -(10**9), 10**18))
    return rng.choice((rng.choice(VALUES), rng.choice(TEXTS), [value], {"a": value}))
