"""Hosts whose names are no domain names in the strict sense, but that a resolver may know all the same."""

from __future__ import annotations

import socket
from typing import Any

import idna
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from natsconnector.reactors import Reactor


def is_literal(host: str) -> bool:
    """
    Whether a name is to be looked up as it is written.

    Docker and Swarm make names with an underscore, which IDNA (RFC 5891) refuses, as it does ``a1--b`` and labels of
    more than 63 characters. A resolver takes any of these from its own tables.
    """
    if not host.isascii():
        return False
    try:
        idna.encode(host)
    except UnicodeError:
        return True
    return False


@implementer(IStreamClientEndpoint)
class LiteralNameEndpoint:
    """
    The way to a host whose name Twisted's ``HostnameEndpoint`` does not take: its addresses are tried in turn.

    :param timeout_s: for each address.
    """

    def __init__(self, reactor: Reactor, host: str, port: int, timeout_s: float) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Look the name up in a thread, and connect."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        error: Exception = DNSLookupError(f"Couldn't find the hostname '{self._host}'")
        for family, address in await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._addresses):
            kind: Any = TCP6ClientEndpoint if family == socket.AF_INET6 else TCP4ClientEndpoint
            try:
                protocol: IProtocol = await kind(self._reactor, address, self._port, self._timeout_s).connect(factory)
            except Exception as e:
                error = e
            else:
                return protocol
        raise error

    def _addresses(self) -> list[tuple[int, str]]:
        try:
            # The name goes as bytes, since Python encodes text with IDNA before it asks the system's resolver.
            found = socket.getaddrinfo(self._host.encode("ascii"), self._port, type=socket.SOCK_STREAM)
        except OSError:
            return []
        families = (socket.AF_INET, socket.AF_INET6)
        return [(family, str(address[0])) for family, _, _, _, address in found if family in families]
