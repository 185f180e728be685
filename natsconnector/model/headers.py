"""Which headers travel between messages and HTTP. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

Header = tuple[str, str]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110, 5.6.2: token
# No control character, and no half of a surrogate pair, which no encoding has.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\ud7ff\ue000-\U0010ffff]*")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.{0,256})?", re.ASCII)

# A longer name is no header that anybody means; the bound keeps small what is remembered of names.
_LONGEST_NAME = 128
# Hop-by-hop and framing headers (RFC 9110, 7.6.1). Only the HTTP client may set these, never a publisher or a function.
_CONNECTION = frozenset(
    "connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding"
    " upgrade expect host content-length".split()
)
# Headers of a call that the connector sets itself, and Proxy, which CGI functions take for a setting of their own.
_CONNECTORS = frozenset(
    "user-agent x-call-id x-callback-url x-reply-subject x-topic x-connector proxy function-path"
    " function-method function-async".split()
)
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


def trace_id_of(headers: Iterable[Header]) -> str | None:
    """The trace that a header ``traceparent`` names (W3C Trace Context, 3.2.2); None when it names none."""
    for name, value in headers:
        if name.lower() == "traceparent":
            found = _TRACEPARENT.fullmatch(value)
            return None if found is None or not found[1].strip("0") else found[1]
    return None


def is_header_name(name: str) -> bool:
    """Whether HTTP allows such a name."""
    return _NAME.fullmatch(name) is not None


def is_header_value(value: str) -> bool:
    """Whether HTTP allows such a value; nothing in it can begin another header."""
    return _VALUE.fullmatch(value) is not None


@lru_cache(1024)
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
        [
            (name, value)
            for name, value in headers
            if len(name) <= _LONGEST_NAME and _is_forwarded(name) and is_header_value(value)
        ]
    )


@lru_cache(1024)
def _is_forwarded(name: str) -> bool:
    return may_be_set(name) and name.lower() not in _NOT_FORWARDED


def returned(headers: Sequence[Header]) -> tuple[Header, ...]:
    """
    Those headers of an HTTP response that come back on the reply. A function's own ``Status`` and ``Description`` come
    back as ``X-Function-Header-Status`` and ``X-Function-Header-Description``.
    """
    found: list[Header] = []
    of_connection = ""
    for name, value in headers:
        if len(name) <= _LONGEST_NAME and (as_name := _returned_as(name)) is not None:
            if as_name:
                found.append((as_name, value))
            else:
                of_connection += f",{value}"
    # One look at all values; only where it finds something they are looked at one by one.
    if not is_header_value("".join([value for _, value in found])):
        found = [header for header in found if is_header_value(header[1])]
    if of_connection:
        # RFC 9110, 7.6.1: what this header names is for the connection too.
        named = {part.strip().lower() for part in of_connection.split(",")}
        found = [header for header in found if header[0].lower() not in named]
    return tuple(found)


@lru_cache(1024)
def _returned_as(name: str) -> str | None:
    """The name under which a header comes back; None if it does not, and no name for Connection, which names others."""
    lower = name.lower()
    if lower == "connection":
        return ""
    if lower in _CONNECTION or lower in _NOT_RETURNED or lower.startswith(_NATS_PREFIXES) or not is_header_name(name):
        return None
    return _RENAMED_PREFIX + name.title() if lower in _STATUS_LINE else name
