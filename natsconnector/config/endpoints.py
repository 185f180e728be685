"""Where a server listens: Twisted's server endpoints, as far as the connector takes them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from twisted.internet.endpoints import serverFromString

_PARTS = re.compile(r"(?:[^:\\]|\\.)*")


@dataclass(frozen=True, slots=True)
class ServerEndpoint:
    """
    A server endpoint without faults.

    :ivar text: as Twisted's ``serverFromString`` takes it.
    :ivar host: the address to listen on, empty for all; :ivar port: the TCP port.
    :ivar path: of a UNIX socket, instead of these two.
    """

    text: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_loopback(self) -> bool:
        """Whether other machines cannot reach it, but a browser on this one can."""
        return bool(self.host) and ipaddress.ip_address(self.host).is_loopback

    @property
    def url(self) -> str:
        """Where a client on this machine finds it; of a UNIX socket a URL whose host says nothing."""
        if self.path:
            return "http://localhost"
        host = self.host or "127.0.0.1"
        if ipaddress.ip_address(host).is_unspecified:
            host = "::1" if ":" in host else "127.0.0.1"
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def server_endpoint(text: str) -> ServerEndpoint:
    """
    A server endpoint of TCP or of a UNIX socket, such as ``tcp:8081:interface=127.0.0.1``.

    :raises ValueError: it is none, or of another kind.
    """
    kind, *arguments = (re.sub(r"\\(.)", r"\1", part) for part in _split(text))
    if kind not in ("tcp", "unix"):
        raise ValueError("is not an endpoint like tcp:8081, tcp:8081:interface=127.0.0.1 or unix:/run/admin.sock")
    try:
        serverFromString(None, text)
    except (ValueError, TypeError) as e:
        raise ValueError(f"is not an endpoint of Twisted: {e}") from None
    named = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    first = next((argument for argument in arguments if "=" not in argument), "")
    if kind == "unix":
        path = named.get("address", first)
        if not path:
            raise ValueError("names no path")
        return ServerEndpoint(text, path=path)
    port, host = int(named.get("port", first)), named.get("interface", "")
    if not 1 <= port <= 65535:
        raise ValueError("has a port that is not between 1 and 65535")
    if host:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError("has an interface that is not an IP address; a colon in it is written \\:") from None
    return ServerEndpoint(text, host, port)


# The word `none` is a value of it.
server_endpoint.can_be_off = True  # type: ignore[attr-defined]


def _split(text: str) -> list[str]:
    """The parts between colons that no backslash makes part of a value."""
    parts, at = [], 0
    while True:
        match = _PARTS.match(text, at)
        assert match is not None  # it matches nothing at all, too
        parts.append(match.group())
        at = match.end() + 1
        if at > len(text):
            return parts
