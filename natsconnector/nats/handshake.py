"""The login: what is brought along, and what is answered to the first INFO."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

from natsconnector.nats.auth import Credentials, CredentialsSource
from natsconnector.nats.errors import BadCredentials, NatsError, server_error
from natsconnector.nats.servers import Server
from natsconnector.nats.tls import Tls, tls_reason
from natsconnector.nats.wire import encode
from natsconnector.nats.wire.events import Err, Event

#: What the server is told as the version of this client.
VERSION = "0.2.0"


class Stage(enum.Enum):
    """How far a connection has come. The value says, to users, what the connection waits for."""

    CREDENTIALS = "credentials"
    CONNECTION = "a connection"
    INFO = "INFO"
    TLS = "the TLS handshake"
    ANSWER = "the answer to CONNECT"
    LOGGED_IN = "the rest of what came with the answer"
    READY = "messages"
    CLOSING = "its end"


@dataclass(frozen=True, slots=True)
class Login:
    """
    What one attempt to connect brings along.

    :param tls: made already where TLS is wanted; None: made if the server turns out to require it.
    :param tls_name: the name that the server's certificate has to have.
    :param wants_tls: without TLS nothing is said to the server at all.
    :param tls_first: TLS comes before INFO.
    """

    name: str
    credentials: Credentials | None
    tls: IOpenSSLClientConnectionCreator | None = None
    tls_name: str = ""
    wants_tls: bool = False
    tls_first: bool = False

    def tls_options(self) -> IOpenSSLClientConnectionCreator:
        """
        What TLS is begun with.

        :raises BadCredentials: TLS cannot be set up, for example as the host's name cannot be in a certificate.
        """
        return self.tls or Tls().options(self.tls_name)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is, at any server."""

    name: str
    credentials: CredentialsSource | None = None
    tls: Tls | None = None

    async def login(self, server: Server) -> Login:
        """
        Gather, anew each time, what to bring to this server; what the server's URL says counts first.

        :raises BadCredentials: a file cannot be read or used.
        :raises Exception: what a callable for credentials raises.
        """
        credentials = server.credentials
        if credentials is None and self.credentials is not None:
            source = self.credentials
            given = source if isinstance(source, Credentials) else source()
            credentials = await given if isinstance(given, Deferred) else given
        tls = self.tls or Tls()
        wants_tls = server.tls or self.tls is not None
        name = server.tls_name or server.host
        return Login(self.name, credentials, tls.options(name) if wants_tls else None, name, wants_tls, tls.first)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Begin TLS."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Send this ``CONNECT``. The frame holds credentials: it must never be logged."""

    frame: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refuse:
    """End the connection, with nothing more sent."""

    why: NatsError | str


Step = Upgrade | Connect | Refuse


class Handshake:
    """
    The login at one server, as a value machine: told what has come, it says what is to be done. No socket, no clock.

    TLS comes before ``CONNECT`` where we want it or the server requires it.
    """

    def __init__(self, login: Login) -> None:
        self._login = login
        self._info: dict[str, Any] | None = None
        #: Whether TLS is up.
        self.secure = False

    def info(self, fields: dict[str, Any], behind: Sequence[Event] = (), *, more: bool = False) -> Step:
        """
        The server has sent its first INFO.

        :param behind: what came behind the INFO in the same read.
        :param more: whether there was more behind it than whole frames.
        """
        self._info = fields
        tls_required = bool(fields.get("tls_required"))
        if self.secure:
            return self._connect(fields)
        if self._login.wants_tls and not (tls_required or fields.get("tls_available")):
            return Refuse("the server offers no TLS, which was asked for; nothing was sent to it")
        if not (self._login.wants_tls or tls_required):
            return self._connect(fields)
        if behind or more:
            # An attacker in between may have added this text; after the handshake it would count as the server's.
            told = [event for event in behind if isinstance(event, Err)]
            return Refuse(server_error(told[0].message) if told else "more than INFO came in clear, before TLS")
        return Upgrade()

    def secured(self) -> Step | None:
        """TLS is up, and the server's certificate is right. None: the INFO has still to come."""
        self.secure = True
        return None if self._info is None else self._connect(self._info)

    def _connect(self, fields: dict[str, Any]) -> Step:
        try:
            return Connect(connect_frame(fields, self._login, secure=self.secure))
        except BadCredentials as error:
            return Refuse(error)


def connect_frame(fields: dict[str, Any], login: Login, *, secure: bool) -> bytes:
    """
    The ``CONNECT`` for the server of this INFO. The frame holds credentials: it must never be logged.

    ``protocol`` 1 asks for later INFOs; headers and no-responders answers are taken wherever they are offered
    (ADR-40). Credentials go out even if the server does not ask for them, as it may have a default user.

    :raises BadCredentials: they are of no use at this server.
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
        options |= login.credentials.connect_fields(fields.get("nonce"))
    return encode.connect(options)


def max_payload(fields: dict[str, Any], default: int) -> int:
    """The largest message (headers and payload, in bytes) that the server of this INFO takes."""
    limit: int = fields.get("max_payload", default)
    return limit


def why_lost(error: BaseException | None, stage: Stage, login: Login) -> str:
    """What to tell a user of a connection that ended with this error in this stage."""
    closed = error is None or isinstance(error, ConnectionDone)
    why = "closed by the server" if closed else tls_reason(error) or str(error).rstrip(".")
    if stage in (Stage.LOGGED_IN, Stage.READY):
        return why
    if stage is Stage.INFO and login.wants_tls and not login.tls_first:
        return f"{why} while waiting for INFO; one with handshake_first wants TLS first"
    return f"{why} while waiting for {stage.value}"
