"""Where the servers are: their URLs and the pool a client goes round in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from urllib.parse import unquote, urlsplit

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from natsconnector.nats.auth import Credentials
from natsconnector.nats.errors import BadServerUrl
from natsconnector.nats.names import LiteralNameEndpoint, is_literal
from natsconnector.reactors import Reactor

DEFAULT_PORT = 4222

#: So many servers may be learned of; a cluster has fewer, and each that is invented costs an attempt.
MOST_LEARNED = 100

_MOST_HOST = 255
_ENCODE = "if that is a character of user or password, percent-encode it"


@dataclass(frozen=True, slots=True)
class Server:
    """
    One address, with what its URL says.

    :ivar tls: whether it is to be reached by TLS only.
    :ivar credentials: those in the URL.
    :ivar tls_name: the name in its certificate, where that is not the host: a learned server has to show a certificate
        of the server that was configured, or it would get credentials that are not meant for it.
    """

    host: str
    port: int
    tls: bool = False
    credentials: Credentials | None = field(default=None, repr=False)
    tls_name: str | None = None

    @property
    def name(self) -> str:
        """``host:port``, fit for logs."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def endpoint(self, reactor: Reactor, timeout_s: float) -> IStreamClientEndpoint:
        """The way there. Addresses are not looked up, so that they cost no thread."""
        if is_literal(self.host) and not isIPv6Address(self.host):
            return LiteralNameEndpoint(reactor, self.host, self.port, timeout_s)
        kind: Any = HostnameEndpoint
        if isIPAddress(self.host):
            kind = TCP4ClientEndpoint
        elif isIPv6Address(self.host):
            kind = TCP6ClientEndpoint
        endpoint: IStreamClientEndpoint = kind(reactor, self.host, self.port, timeout_s)
        return endpoint


def parse_server(url: str) -> Server:
    """
    Read ``nats://[user[:password]@]host[:port]``, the same with ``tls://``, or ``host[:port]``.

    A user alone is a token. Userinfo is percent-decoded.

    :raises BadServerUrl: it cannot be understood; the text never repeats it.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        scheme, rest = "nats", scheme
    if scheme.lower() not in ("nats", "tls"):
        raise BadServerUrl(f"the scheme of a NATS server URL is nats:// or tls://, not {scheme[:20]!r}")
    try:
        parts = urlsplit(f"nats://{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadServerUrl(f"a NATS server URL has a bad host or port; {_ENCODE}") from None
    if not host or len(host) > _MOST_HOST or any(character.isspace() or character == "," for character in host):
        raise BadServerUrl("a NATS server URL has no host that could be one")
    if port == 0:
        raise BadServerUrl("a NATS server URL has port 0")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise BadServerUrl(f"a NATS server URL ends after the port, before any of / ? #; {_ENCODE}")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password is not None else None
    credentials = None
    if password is not None:
        credentials = Credentials(user=user or "", password=password)
    elif user is not None:
        credentials = Credentials(token=user)
    return Server(host, port or DEFAULT_PORT, scheme.lower() == "tls", credentials)


class ServerPool:
    """
    All servers known: those configured, which stay, and those learned from INFO, which come and go.

    The pool goes round for ever, so that the server that was tried last is last in turn again.

    :param shuffle: the configured order, so that clients spread over the servers.
    :raises BadServerUrl: a URL cannot be understood, or there is none.
    """

    def __init__(self, urls: Sequence[str], random: Random, *, shuffle: bool = True) -> None:
        self._random = random
        servers = [parse_server(url) for url in ([urls] if isinstance(urls, str) else urls)]
        if not servers:
            raise BadServerUrl("no NATS server URL is given")
        if shuffle:
            random.shuffle(servers)
        self._turn = list({_key(server): server for server in servers}.values())
        self._explicit = {_key(server) for server in servers}

    def __len__(self) -> int:
        return len(self._turn)

    @property
    def names(self) -> list[str]:
        """``host:port`` of all servers, the next one first."""
        return [server.name for server in self._turn]

    def next(self) -> Server:
        """The server whose turn it is."""
        server = self._turn.pop(0)
        self._turn.append(server)
        return server

    def learn(self, connect_urls: object, current: Server, *, secure: bool = False) -> None:
        """
        Take the addresses of an INFO: new ones come in, learned ones that are gone go, but not the current one.

        The current server's credentials hold for the whole cluster, and so does its TLS, with the name in its
        certificate: neither goes to a server that cannot show that it belongs to the cluster. An empty or missing list
        says nothing.

        :param connect_urls: of an INFO that came the way the credentials went.
        :param secure: whether that was TLS.
        """
        if not isinstance(connect_urls, list):
            return
        learned: dict[tuple[str, int], Server] = {}
        for url in connect_urls[:MOST_LEARNED]:
            try:
                server = parse_server(url)
            except (BadServerUrl, AttributeError):
                continue
            learned[_key(server)] = replace(
                current,
                host=server.host,
                port=server.port,
                tls=current.tls or secure,
                tls_name=current.tls_name or current.host,
            )
        if not learned:
            return
        keep = self._explicit | learned.keys()
        stay = [server for server in self._turn if _key(server) in keep and _key(server) != _key(current)]
        known = {_key(server) for server in (*stay, current)}
        new = [server for key, server in learned.items() if key not in known]
        self._random.shuffle(new)
        # When the current server is lost, all others are tried before it.
        self._turn = [*stay, *new, current]


def _key(server: Server) -> tuple[str, int]:
    return server.host.lower(), server.port
