"""HTTP/1.1 as a client speaks it: requests to bytes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

FRAMING = frozenset(("connection", "content-length", "host", "transfer-encoding"))
"""What is ours to say, in lower case: whoever sets it could make two requests of one."""

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_TARGET = re.compile(rb"[\x21-\x7e]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5


class BadRequest(ValueError):
    """A request cannot be written; the text says why."""


def encode_request(
    method: bytes, target: bytes, host: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes | None = None
) -> bytes:
    """
    A request.

    :param target: path and query.
    :param host: the header ``Host``.
    :param headers: of these, what frames the request is left out: it is told by the host and the body.
    :param body: None for none, which is not told either.
    :raises BadRequest: something cannot stand where it is.
    """
    if not _TOKEN.fullmatch(method):
        raise BadRequest("the method is not valid")
    if not _TARGET.fullmatch(target):
        raise BadRequest("the path is not valid")
    lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, target, host)]
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadRequest("a header is not valid")
        if name.lower().decode() not in FRAMING:
            lines.append(b"%b: %b\r\n" % (name, value))
    if body is not None:
        lines.append(b"Content-Length: %d\r\n" % len(body))
    lines.append(b"\r\n")
    if body:
        lines.append(body)
    return b"".join(lines)


def encode_head(head: str, lines: int) -> bytes:
    """
    A request's head that was written as text, checked as a whole: it has as many lines as were meant.

    :raises BadRequest: something in it begins or ends a line, or has no encoding.
    """
    if head.count("\n") != lines or head.count("\r") != lines or "\0" in head:
        raise BadRequest("a header has a line break or a NUL in it")
    try:
        return head.encode()
    except UnicodeEncodeError:
        raise BadRequest("a header has a character without an encoding") from None
