"""Which headers travel between messages and HTTP. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

Header = tuple[str, str]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110, 5.6.2: token
# No control character, and no half of a surrogate pair, which no encoding has.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\ud7ff\ue000-\U0010ffff]*")

# RFC 9110, 7.6.1, and what frames a message: theirs to set who speak HTTP, never a publisher's or a function's.
CONNECTION = frozenset(
    "connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding"
    " upgrade expect host content-length".split()
)
# Credentials of a message are its own; those of a call have places of their own.
_NOT_FORWARDED = frozenset(
    "authorization accept-encoding content-type user-agent x-call-id x-callback-url x-reply-subject x-topic"
    " x-connector".split()
)
# Said by the answer itself, or meant for a browser.
_NOT_RETURNED = frozenset("x-call-id x-function-status date server set-cookie www-authenticate".split())
# What NATS servers and clients act on, and what we say ourselves.
_NATS_PREFIXES = ("nats-", "natsconnector-", "dead-letter-")


def is_header_name(name: str) -> bool:
    """Whether HTTP allows such a name."""
    return _NAME.fullmatch(name) is not None


def is_header_value(value: str) -> bool:
    """Whether HTTP allows such a value; nothing in it can begin another header."""
    return _VALUE.fullmatch(value) is not None


def forwarded(headers: Iterable[Header]) -> tuple[Header, ...]:
    """Those headers of a message that go along with its call."""
    return tuple((name, value) for name, value in headers if _travels(name, _NOT_FORWARDED) and is_header_value(value))


def returned(headers: Iterable[Header]) -> list[Header]:
    """Those headers of an HTTP answer that come back on the reply."""
    headers = list(headers)
    # RFC 9110, 7.6.1: what this header names is for the connection too.
    named = {
        part.strip().lower() for name, value in headers if name.lower() == "connection" for part in value.split(",")
    }
    stays = _NOT_RETURNED | named
    return [(name, value) for name, value in headers if _travels(name, stays) and is_header_value(value)]


def _travels(name: str, stays: frozenset[str]) -> bool:
    lower = name.lower()
    return (
        lower not in CONNECTION and lower not in stays and not lower.startswith(_NATS_PREFIXES) and is_header_name(name)
    )
