"""The login: what is brought along, and what is answered to the first INFO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

from natsconnector.nats.auth import Credentials, CredentialsSource
from natsconnector.nats.servers import Server
from natsconnector.nats.tls import Tls
from natsconnector.nats.wire import encode

#: What the server is told as the version of this client.
VERSION = "0.1.0"


@dataclass(frozen=True, slots=True)
class Login:
    """What one attempt to connect brings along. ``wants_tls``: without TLS nothing is said at all."""

    name: str
    credentials: Credentials | None
    tls: IOpenSSLClientConnectionCreator
    wants_tls: bool = False
    tls_first: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is, at any server."""

    name: str
    credentials: CredentialsSource | None = None
    tls: Tls | None = None

    async def login(self, server: Server) -> Login:
        """Gather, anew each time, what to bring to this server; what its URL says counts first.

        Raises ``BadCredentials`` and whatever a callable for credentials raises.
        """
        credentials = server.credentials
        if credentials is None and self.credentials is not None:
            source = self.credentials
            given = source if isinstance(source, Credentials) else source()
            credentials = await given if isinstance(given, Deferred) else given
        tls = self.tls or Tls()
        options = tls.options(server.tls_name or server.host)
        return Login(self.name, credentials, options, server.tls or self.tls is not None, tls.first)


def refusal(fields: dict[str, Any], login: Login, *, secure: bool) -> str | None:
    """Why we cannot log in at the server of this INFO, or None. To be asked before a byte of CONNECT goes out."""
    offered = secure or fields.get("tls_required") or fields.get("tls_available")
    if login.wants_tls and not offered:
        return "the server offers no TLS, which was asked for; nothing was sent to it"
    return None


def upgrades(fields: dict[str, Any], login: Login, *, secure: bool) -> bool:
    """Whether TLS comes before CONNECT."""
    return not secure and (login.wants_tls or bool(fields.get("tls_required")))


def connect_frame(fields: dict[str, Any], login: Login, *, secure: bool) -> bytes:
    """The ``CONNECT`` for the server of this INFO. It holds the credentials: never to be logged.

    ``protocol`` 1 asks for later INFOs; headers and no-responders answers are taken wherever they are offered
    (ADR-40). Credentials go out even if the server does not ask for them, as it may have a default user.
    Raises ``BadCredentials``.
    """
    headers = bool(fields.get("headers"))
    options: dict[str, Any] = {
        "verbose": False,
        "pedantic": False,
        "tls_required": secure,
        "name": login.name,
        "lang": "python-twisted",
        "version": VERSION,
        "protocol": 1,
        "headers": headers,
        "no_responders": headers,
        "echo": True,
    }
    if login.credentials is not None:
        nonce = fields.get("nonce")
        options |= login.credentials.connect_fields(nonce if isinstance(nonce, str) else None)
    return encode.connect(options)


def max_payload(fields: dict[str, Any], default: int) -> int:
    """The largest message (headers and payload, in bytes) the server of this INFO takes."""
    limit = fields.get("max_payload")
    return limit if isinstance(limit, int) and limit > 0 else default
