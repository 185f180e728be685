"""What can go wrong with JetStream."""

from __future__ import annotations

from typing import Any

from natsconnector.nats.errors import NatsError

NO_STREAM = 10059
NO_CONSUMER = 10014
NOT_ENABLED = 10076
NOT_ENABLED_FOR_ACCOUNT = 10039
NO_MESSAGE = 10037
MESSAGE_TOO_LARGE = 10054
HEADERS_TOO_LARGE = 10097


class JetStreamError(NatsError):
    """
    The server's answer to a JetStream request is an error.

    ``err_code`` is what to decide by (ADR-1): ``code`` is like an HTTP status, ``description`` for people.
    """

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(f"{description} ({err_code})" if err_code else description)
        self.code = code
        self.err_code = err_code
        self.description = description


class NoJetStream(JetStreamError):
    """Nobody answers JetStream requests: it is off, or in another domain."""

    def __init__(self) -> None:
        super().__init__(503, NOT_ENABLED, "JetStream is not enabled on this server, or has another domain")


class InvalidAnswer(NatsError):
    """An answer is not what the JetStream API gives."""


def error_of(fields: dict[str, Any]) -> JetStreamError | None:
    """The error that an answer's ``error`` object describes; None when there is none."""
    error = fields.get("error")
    if not isinstance(error, dict):
        return None

    def number(name: str) -> int:
        value = error.get(name)
        return value if type(value) is int and 0 <= value < 1 << 31 else 0

    description = error.get("description")
    text = description[:1000] if isinstance(description, str) and description else "unknown error"
    return JetStreamError(number("code"), number("err_code"), text)
