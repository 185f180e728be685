"""What may be put on the wire as a subject, a queue group or an inbox prefix (ADR-6).

These checks are what stands between a caller's string and a second command smuggled behind a line break.
"""

from __future__ import annotations

import re
from functools import lru_cache

from natsconnector.nats.errors import BadSubject

#: The arguments of one command may have 4096 bytes on a server with default settings; beyond, it disconnects.
MAX_ARGUMENT_BYTES = 4096

_FORBIDDEN = re.compile(rb"[\x00\s]")


@lru_cache(maxsize=4096)
def encode_subject(subject: str) -> bytes:
    """A subject to publish on, or a reply subject. Wildcards are literal there; the server takes them."""
    return _encode(subject)


@lru_cache(maxsize=256)
def encode_pattern(subject: str) -> bytes:
    """A subject to subscribe to: ``*`` stands for one whole token, ``>`` for all that follow."""
    encoded = _encode(subject)
    tokens = encoded.split(b".")
    for position, token in enumerate(tokens, start=1):
        if not token:
            raise BadSubject(subject, "a token is empty")
        if b"*" in token and token != b"*":
            raise BadSubject(subject, "* must be a whole token")
        if b">" in token and (token != b">" or position < len(tokens)):
            raise BadSubject(subject, "> must be the whole last token")
    return encoded


def encode_queue(queue: str) -> bytes:
    """The name of a queue group."""
    return _encode(queue)


def check_inbox_prefix(prefix: str) -> str:
    """A prefix for inbox subjects: a subject without wildcards."""
    if {b"*", b">"} & set(encode_pattern(prefix).split(b".")):
        raise BadSubject(prefix, "an inbox prefix has no wildcards")
    return prefix


def _encode(subject: str) -> bytes:
    if not isinstance(subject, str):
        raise BadSubject(repr(subject), "not text")
    try:
        encoded = subject.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadSubject(subject, "cannot be encoded as UTF-8") from None
    if not encoded:
        raise BadSubject(subject, "empty")
    if _FORBIDDEN.search(encoded):
        raise BadSubject(subject, "white space or NUL is not allowed")
    return encoded
