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

#: Subjects that were encoded already. Publishers choose reply subjects: only short ones are kept, and not for ever.
KNOWN_SUBJECTS: dict[str, bytes] = {}
_MOST_KNOWN = 4096
_MOST_KNOWN_CHARACTERS = 256


def encode_subject(subject: str) -> bytes:
    """
    A subject to publish on, or a reply subject. Wildcards are literal there; the server takes them.

    :raises BadSubject: it must not be put on the wire.
    """
    encoded = KNOWN_SUBJECTS.get(subject)
    if encoded is None:
        encoded = _encode(subject)
        if len(subject) <= _MOST_KNOWN_CHARACTERS:
            if len(KNOWN_SUBJECTS) >= _MOST_KNOWN:
                KNOWN_SUBJECTS.clear()
            KNOWN_SUBJECTS[subject] = encoded
    return encoded


@lru_cache(maxsize=256)
def encode_pattern(subject: str) -> bytes:
    """
    A subject to subscribe to: ``*`` stands for one whole token, ``>`` for all that follow.

    :raises BadSubject: it must not be put on the wire.
    """
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
    """
    The name of a queue group.

    :raises BadSubject: it must not be put on the wire.
    """
    return _encode(queue)


def check_inbox_prefix(prefix: str) -> str:
    """
    A prefix for other subjects, such as inboxes: a subject without wildcards.

    :raises BadSubject: it is none.
    """
    if {b"*", b">"} & set(encode_pattern(prefix).split(b".")):
        raise BadSubject(prefix, "a prefix has no wildcards")
    return prefix


def _encode(subject: str) -> bytes:
    if not isinstance(subject, str):
        raise BadSubject(repr(subject), "not text")
    if len(subject) > MAX_ARGUMENT_BYTES:
        raise BadSubject(subject, f"more than {MAX_ARGUMENT_BYTES} bytes")
    try:
        encoded = subject.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadSubject(subject, "cannot be encoded as UTF-8") from None
    if not encoded:
        raise BadSubject(subject, "empty")
    if len(encoded) > MAX_ARGUMENT_BYTES:
        raise BadSubject(subject, f"more than {MAX_ARGUMENT_BYTES} bytes")
    if _FORBIDDEN.search(encoded):
        raise BadSubject(subject, "white space or NUL is not allowed")
    return encoded
