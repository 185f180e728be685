"""What can go wrong, as exceptions with typed fields and texts a user can act on.

No text ever holds a secret: no password, no token, no URL with userinfo.
"""

from __future__ import annotations

import os
import re


class NatsError(Exception):
    """The root of every error this client raises on purpose."""


class ProtocolViolation(NatsError):
    """The peer sent bytes that are no NATS frames; the connection cannot be understood any further."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"not the NATS protocol: {reason}")
        self.reason = reason


class BadServerUrl(NatsError, ValueError):
    """A server URL that cannot be understood. The text never repeats the URL, which may hold a password."""


class BadCredentials(NatsError, ValueError):
    """
    Credentials, or a file with them, with a key or with certificates, that cannot be used. No text repeats them.

    :ivar what: the file's path where there is one.
    """

    def __init__(self, what: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(what)} {reason}")
        self.what = os.fspath(what)
        self.reason = reason


class BadSubject(NatsError, ValueError):
    """A subject, reply subject, queue group or inbox prefix that must not be put on the wire."""

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(f"bad subject {subject[:80]!r}: {reason}")
        self.subject = subject
        self.reason = reason


class BadHeader(NatsError, ValueError):
    """A header name or value that must not be put on the wire. The text names the header, not its value."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"bad header {name[:80]!r}: {reason}")
        self.name = name
        self.reason = reason


class MaxPayloadExceeded(NatsError):
    """Headers and payload together are larger than the server takes (sizes in bytes)."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a message of {size} bytes is over the server's max_payload of {limit} bytes")
        self.size = size
        self.limit = limit


class HeadersNotSupported(NatsError):
    """The connected server takes no message headers."""

    def __init__(self) -> None:
        super().__init__("the NATS server does not support message headers")


class OutboundBufferFull(NatsError):
    """What waits to be sent has reached its limit: the server is away or does not read (size in bytes)."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} bytes already wait to be sent to the NATS server")
        self.limit = limit


class ConnectFailed(NatsError):
    """One attempt to connect and log in has failed; ``reason`` says at what."""

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"cannot connect to NATS {server}: {reason}")
        self.server = server
        self.reason = reason


class ConnectionLost(NatsError):
    """The connection has ended before an answer came; the next one is on its way."""

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"connection to NATS {server} lost: {reason}")
        self.server = server
        self.reason = reason


class ClientClosed(NatsError):
    """The client was closed by its user."""

    def __init__(self, text: str = "the NATS client is closed") -> None:
        super().__init__(text)


class ClientDraining(ClientClosed):
    """The client is being drained, and takes no more of this."""

    def __init__(self) -> None:
        super().__init__("the NATS client is being drained")


class DrainTimeout(NatsError):
    """The work that was under way did not end in time; the client is closed all the same."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"the NATS client was closed, but not drained within {timeout_s:g} s")
        self.timeout_s = timeout_s


class SubscriptionEnded(NatsError):
    """A subscription that is waited for has been ended."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"the subscription to {subject!r} has ended")
        self.subject = subject


class RequestTimeout(NatsError):
    """
    No reply came in time.

    :ivar not_connected: why there is no connection, if there is none.
    """

    def __init__(self, subject: str, timeout_s: float, not_connected: str | None = None) -> None:
        why = "" if not_connected is None else f": not connected: {not_connected}"
        super().__init__(f"no reply on {subject!r} within {timeout_s:g} s{why}")
        self.not_connected = not_connected
        self.subject = subject
        self.timeout_s = timeout_s


class FlushTimeout(NatsError):
    """The server did not confirm in time that it has taken what was sent."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"the NATS server did not confirm a flush within {timeout_s:g} s")
        self.timeout_s = timeout_s


class NoResponders(NatsError):
    """Nobody listens on the subject of a request."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"nobody listens on {subject!r}")
        self.subject = subject


class NoReplySubject(NatsError):
    """An answer to a message that has no reply subject."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"the message on {subject!r} has no reply subject")
        self.subject = subject


class ServerError(NatsError):
    """
    The server said ``-ERR``. The texts are not stable between versions: branch on the class.

    :ivar hint: what we can add to it, if anything.
    """

    def __init__(self, message: str) -> None:
        super().__init__(f"NATS server: {message}")
        self.message = message
        self.hint: str | None = None

    def __str__(self) -> str:
        return super().__str__() + (f" ({self.hint})" if self.hint else "")


class AuthorizationError(ServerError):
    """The server does not accept our credentials, or no longer accepts them."""


class PermissionsViolation(ServerError):
    """
    The user may not publish or subscribe there. The connection lives on.

    :ivar operation: "publish" or "subscription".
    :ivar subject: what was to be published or subscribed to.
    :ivar queue: the queue group of a refused subscription.
    :ivar sid: the subscription's id, when the server takes away what it had granted.
    """

    def __init__(self, message: str, operation: str, subject: str, queue: str | None, sid: int | None = None) -> None:
        super().__init__(message)
        self.operation = operation
        self.subject = subject
        self.queue = queue
        self.sid = sid


class RequestRefused(ServerError):
    """The server refused one operation and lives on with the connection."""


class SubscriptionRefused(RequestRefused):
    """The server refused a subscription, and does not say which: the user has too many, or its subject is invalid."""


_AUTHORIZATION = (
    "authorization violation",
    "authorization timeout",
    "authentication timeout",
    "authentication expired",
    "authentication revoked",
    "user authentication",
    "account authentication",
)
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_VIOLATION = re.compile(
    rf"permissions violation for (publish|subscription) to {_QUOTED}(?: using queue {_QUOTED})?"
    r'(?: \(sid "(\d{1,10})"\))?',
    re.IGNORECASE,
)
_ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def server_error(message: str) -> ServerError:
    """Classify the text of a ``-ERR``: case and wording differ between server versions."""
    lowered = message.lower()
    if lowered.startswith(_AUTHORIZATION):
        return AuthorizationError(message)
    if lowered.startswith(("maximum subscriptions exceeded", "invalid subject")):
        return SubscriptionRefused(message)
    if lowered.startswith("invalid publish subject"):
        return RequestRefused(message)
    if (violation := _VIOLATION.match(message)) is not None:
        operation, subject, queue, sid = violation.groups()
        return PermissionsViolation(
            message,
            operation.lower(),
            _unquoted(subject),
            None if queue is None else _unquoted(queue),
            None if sid is None else int(sid),
        )
    return RequestRefused(message) if lowered.startswith("permissions violation for ") else ServerError(message)


def _unquoted(text: str) -> str:
    """What Go's ``%q`` has made of a subject."""

    def character(found: re.Match[str]) -> str:
        escape = found[1]
        if len(escape) == 1:
            return _ESCAPES.get(escape, escape)
        code = int(escape[1:], 16)
        if escape[0] == "x" and code >= 0x80:
            code += 0xDC00  # a byte that is no UTF-8, as subjects have it: surrogateescape
        return chr(code) if code <= 0x10FFFF else escape

    return _ESCAPED.sub(character, text)
