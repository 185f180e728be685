"""What is answered to the first INFO."""

from __future__ import annotations

from typing import Any

from natsconnector.nats import encode
from natsconnector.nats.servers import Server

#: What the server is told as the version of this client.
VERSION = "0.1.0"


def refusal(fields: dict[str, Any]) -> str | None:
    """Why we cannot log in at the server of this INFO, or None. To be asked before a byte of CONNECT goes out."""
    if fields.get("tls_required"):
        return "the server requires TLS, which this client does not speak"
    return None


def connect_frame(fields: dict[str, Any], server: Server, name: str) -> bytes:
    """The ``CONNECT`` for the server of this INFO. It holds the credentials: never to be logged.

    ``protocol`` 1 asks for later INFOs; headers and no-responders answers are taken wherever they are offered
    (ADR-40). Credentials go out even if the server does not ask for them, as it may have a default user.
    """
    headers = bool(fields.get("headers"))
    options: dict[str, Any] = {
        "verbose": False,
        "pedantic": False,
        "tls_required": False,
        "name": name,
        "lang": "python-twisted",
        "version": VERSION,
        "protocol": 1,
        "headers": headers,
        "no_responders": headers,
        "echo": True,
    }
    if server.token is not None:
        options["auth_token"] = server.token
    elif server.user is not None:
        options["user"] = server.user
        options["pass"] = server.password
    return encode.connect(options)


def max_payload(fields: dict[str, Any], default: int) -> int:
    """The largest message (headers and payload, in bytes) the server of this INFO takes."""
    limit = fields.get("max_payload")
    return limit if isinstance(limit, int) and limit > 0 else default
