"""What a client says, as bytes: one function per operation, one whole frame each.

Subjects, queue groups and header blocks come in encoded and checked (``subjects``, ``headers``), so that nothing a
caller passes can become a second frame.
"""

from __future__ import annotations

import json
from typing import Any

from natsconnector.nats.errors import BadSubject
from natsconnector.nats.wire.subjects import (
    KNOWN_SUBJECTS,
    MAX_ARGUMENT_BYTES,
    encode_pattern,
    encode_queue,
    encode_subject,
)

PING = b"PING\r\n"
PONG = b"PONG\r\n"


def connect(fields: dict[str, Any]) -> bytes:
    """``CONNECT``. The frame may hold secrets: it must never be logged."""
    return b"CONNECT %b\r\n" % json.dumps(fields, separators=(",", ":")).encode("ascii")


def publish(subject: str, payload: bytes = b"", reply: str | None = None, header_block: bytes = b"") -> bytes:
    """
    ``PUB``, or ``HPUB`` with a header block.

    :raises BadSubject: subject or reply must not be put on the wire.
    :raises TypeError: the payload is not bytes.
    """
    if reply is None and not header_block and type(payload) is bytes:
        # The usual message: its subject was encoded and checked before.
        known = KNOWN_SUBJECTS.get(subject)
        if known is not None:
            return b"PUB %b %d\r\n%b\r\n" % (known, len(payload), payload)
    if not isinstance(payload, bytes):
        raise TypeError(f"a payload is bytes, not {type(payload).__name__}")
    target = encode_subject(subject)
    if reply is not None:
        target = b"%b %b" % (target, encode_subject(reply))
    if header_block:
        sizes = b"%d %d" % (len(header_block), len(header_block) + len(payload))
        frame = b"HPUB %b %b\r\n%b%b\r\n" % (target, sizes, header_block, payload)
    else:
        sizes = b"%d" % len(payload)
        frame = b"PUB %b %b\r\n%b\r\n" % (target, sizes, payload)
    if len(target) + 1 + len(sizes) > MAX_ARGUMENT_BYTES:
        raise BadSubject(subject, f"subject and reply have more than {MAX_ARGUMENT_BYTES} bytes")
    return frame


def subscribe(subject: str, queue: str | None, sid: int) -> bytes:
    """
    ``SUB``.

    :raises BadSubject: subject or queue group must not be put on the wire.
    """
    arguments = encode_pattern(subject)
    if queue is not None:
        arguments = b"%b %b" % (arguments, encode_queue(queue))
    arguments = b"%b %d" % (arguments, sid)
    if len(arguments) > MAX_ARGUMENT_BYTES:
        raise BadSubject(subject, f"subject and queue group have more than {MAX_ARGUMENT_BYTES} bytes")
    return b"SUB %b\r\n" % arguments


def unsubscribe(sid: int, max_msgs: int | None = None) -> bytes:
    """``UNSUB``, at once or after so many messages counted from the ``SUB``."""
    return b"UNSUB %d\r\n" % sid if max_msgs is None else b"UNSUB %d %d\r\n" % (sid, max_msgs)
