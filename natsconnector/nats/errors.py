"""What can go wrong, as exceptions with typed fields and texts a user can act on.

No text ever holds a secret: no password, no token, no URL with userinfo.
"""

from __future__ import annotations

import os


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
    """Credentials, or a file with them, with a key or with certificates, that cannot be used. No text repeats them.

    ``what`` is the file's path where there is one.
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


class RequestTimeout(NatsError):
    """No reply came in time."""

    def __init__(self, subject: str, timeout_s: float) -> None:
        super().__init__(f"no reply on {subject!r} within {timeout_s:g} s")
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


class ServerError(NatsError):
    """The server said ``-ERR``. The texts are not stable between versions: branch on the class.

    ``hint`` is what we can add to it, if anything.
    """

    def __init__(self, message: str) -> None:
        super().__init__(f"NATS server: {message}")
        self.message = message
        self.hint: str | None = None

    def __str__(self) -> str:
        return super().__str__() + (f" ({self.hint})" if self.hint else "")


class AuthorizationError(ServerError):
    """The server does not accept, or accepts no longer, who we are."""


class PermissionsViolation(ServerError):
    """The user may not publish or subscribe there. The connection lives on.

    ``operation`` is "publish" or "subscription"; ``queue`` is the queue group of a refused subscription.
    """

    def __init__(self, message: str, operation: str, subject: str, queue: str | None) -> None:
        super().__init__(message)
        self.operation = operation
        self.subject = subject
        self.queue = queue


class RequestRefused(ServerError):
    """The server refused one operation and lives on with the connection."""


_AUTHORIZATION = (
    "authorization violation",
    "authorization timeout",
    "authentication timeout",
    "authentication expired",
    "authentication revoked",
    "user authentication",
    "account authentication",
)
_REFUSED = ("invalid subject", "invalid publish subject", "maximum subscriptions exceeded")


def server_error(message: str) -> ServerError:
    """Classify the text of a ``-ERR``: case and wording differ between server versions."""
    lowered = message.lower()
    if lowered.startswith(_AUTHORIZATION):
        return AuthorizationError(message)
    if lowered.startswith(_REFUSED):
        return RequestRefused(message)
    if lowered.startswith("permissions violation for "):
        quoted = message.split('"')
        if len(quoted) >= 3:
            operation = lowered.removeprefix("permissions violation for ").partition(" ")[0]
            queue = quoted[3] if len(quoted) >= 5 else None
            return PermissionsViolation(message, operation, quoted[1], queue)
        return RequestRefused(message)
    return ServerError(message)
