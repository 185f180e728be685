"""
Which requests a local server may answer, by their ``Host`` and ``Origin``.

A web page can have its visitor's browser send requests to 127.0.0.1, and with a name of its own that resolves to
127.0.0.1 (DNS rebinding) it can read the answers too. The browser tells: ``Host`` is the name in the URL, ``Origin``
and ``Sec-Fetch-Site`` say whose page asks. Sources: RFC 9110 7.2, RFC 6454 7.3, W3C Fetch Metadata 2.1.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from twisted.web.http_headers import Headers

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_WILDCARDS = frozenset({"", "0.0.0.0", "::"})
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[-A-Za-z0-9._]{1,255}))(?::[0-9]{0,5})?")
# What a browser sends of its own accord, or for a page that this server gave it.
_OWN_SITES = frozenset({b"none", b"same-origin"})
_MAX_SHOWN = 80


class HostRule:
    """
    Refuses requests that a web page of somebody else has sent.

    Names that are answered are those of the loopback interface and ``told``. A server that listens on all addresses
    cannot know its names: it also answers IP addresses and names without a dot, for no page can be under the first
    and at the same time elsewhere, and nobody can register the second.

    :param told: the address, or name, that the server was told to listen on.
    :param more: further names, such as those that a cluster's name service gives the server.
    """

    def __init__(self, told: str, more: Iterable[str] = ()) -> None:
        told = told.strip("[]").lower()
        self._any = told in _WILDCARDS
        self._names = LOOPBACK | {told} | {name.lower() for name in more}

    def fault(self, headers: Headers) -> str | None:
        """
        Why a request is refused, in one line; None if it may be answered.

        :param headers: the request's.
        """
        hosts = headers.getRawHeaders(b"Host") or []
        if len(hosts) != 1:
            return "a request must have one Host header"
        if not self._is_ours(hosts[0]):
            return f"the Host {_shown(hosts[0])} is not one of this server, which answers {self}"
        own = b"http://" + hosts[0].lower()
        for origin in headers.getRawHeaders(b"Origin") or []:
            if origin.lower() not in (own, b"https" + own[4:]):
                return f"the Origin {_shown(origin)} is not this server: pages of others may not send it requests"
        for site in headers.getRawHeaders(b"Sec-Fetch-Site") or []:
            if site.lower() not in _OWN_SITES:
                return "a page of another site sent this request (Sec-Fetch-Site): it may not"
        return None

    def __str__(self) -> str:
        names = [f"[{name}]" if ":" in name else name for name in sorted(self._names - _WILDCARDS)]
        return ", ".join([*names, "any address", "any name without a dot"] if self._any else names)

    def _is_ours(self, value: bytes) -> bool:
        match = _HOST.fullmatch(value.decode("latin-1"))
        if match is None:
            return False
        host = (match["address"] or match["name"]).lower()
        return host in self._names or (self._any and ("." not in host or _is_address(host)))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _shown(value: bytes) -> str:
    text = ascii(value[:_MAX_SHOWN].decode("latin-1"))
    return text if len(value) <= _MAX_SHOWN else f"{text}..."
