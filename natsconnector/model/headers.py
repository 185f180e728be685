"""Which headers travel between messages and HTTP. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Header = tuple[str, str]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110, 5.6.2: token
# No control character, and no half of a surrogate pair, which no encoding has.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\ud7ff\ue000-\U0010ffff]*")

# Hop-by-hop and framing headers (RFC 9110, 7.6.1). Only the HTTP client may set these, never a publisher or a function.
_CONNECTION = frozenset(
    "connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding"
    " upgrade expect host content-length".split()
)
# Headers of a call that the connector sets itself, and Proxy, which CGI functions take for a setting of their own.
_CONNECTORS = frozenset("user-agent x-call-id x-callback-url x-reply-subject x-topic x-connector proxy".split())
# Headers of a message that are not copied to its call: credentials are the message's own, the others have a place of
# their own.
_NOT_FORWARDED = frozenset("authorization accept-encoding content-type".split())
# Headers of a response that do not come back: the reply says them itself, or they would ask the connector for more.
_NOT_RETURNED = frozenset(
    "x-call-id x-function-status x-reply-subject x-callback-url date server set-cookie www-authenticate".split()
)
HOPS = "Natsconnector-Hops"
"""Of a reply that goes to a subject where somebody may listen for good: how many connectors' replies led to it."""

# What NATS servers and clients act on, and what the connector says itself.
_NATS_PREFIXES = ("nats-", "nmqtt-", "natsconnector-", "dead-letter-")
# On a reply NATS clients take these for the status line of the header block: 503 means "no responders" to them.
_STATUS_LINE = frozenset(("status", "description"))
_RENAMED_PREFIX = "X-Function-Header-"


def hops_of(headers: Iterable[Header]) -> int:
    """How many connectors' replies led to a message with these headers."""
    for name, value in headers:
        if name == HOPS:
            return int(value) if value.isascii() and value.isdigit() and len(value) < 9 else 0
    return 0


def is_header_name(name: str) -> bool:
    """Whether HTTP allows such a name."""
    return _NAME.fullmatch(name) is not None


def is_header_value(value: str) -> bool:
    """Whether HTTP allows such a value; nothing in it can begin another header."""
    return _VALUE.fullmatch(value) is not None


def may_be_set(name: str) -> bool:
    """
    Whether a publisher may give a call such a header. A name with an underscore is none: CGI makes ``_`` of ``-``, so
    that the name would stand for another one.
    """
    lower = name.lower()
    return (
        is_header_name(name)
        and lower not in _CONNECTION
        and lower not in _CONNECTORS
        and "_" not in lower
        and not lower.startswith(_NATS_PREFIXES)
    )


def forwarded(headers: Iterable[Header]) -> tuple[Header, ...]:
    """Those headers of a message that go along with its call."""
    return tuple(
        (name, value)
        for name, value in headers
        if may_be_set(name) and name.lower() not in _NOT_FORWARDED and is_header_value(value)
    )


def returned(headers: Sequence[Header]) -> tuple[Header, ...]:
    """
    Those headers of an HTTP response that come back on the reply. A function's own ``Status`` and ``Description`` come
    back as ``X-Function-Header-Status`` and ``X-Function-Header-Description``.
    """
    if not headers:
        return ()
    # RFC 9110, 7.6.1: what this header names is for the connection too.
    stays = _NOT_RETURNED | {
        part.strip().lower() for name, value in headers if name.lower() == "connection" for part in value.split(",")
    }
    return tuple(
        (_RENAMED_PREFIX + name.title() if name.lower() in _STATUS_LINE else name, value)
        for name, value in headers
        if _returns(name, stays) and is_header_value(value)
    )


def _returns(name: str, stays: frozenset[str]) -> bool:
    lower = name.lower()
    return (
        lower not in _CONNECTION
        and lower not in stays
        and not lower.startswith(_NATS_PREFIXES)
        and is_header_name(name)
    )
