"""Connecting to the gateway, over TCP or TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet import error
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure
from zope.interface import implementer


class TlsFault(Exception):
    """No TLS connection could be made; the text says why."""


def gateway_endpoint(reactor: Any, url: str, timeout_s: float, ca_file: str | None) -> IStreamClientEndpoint:
    """
    The endpoint of a gateway's URL.

    :param timeout_s: for connecting, the TLS handshake included.
    :param ca_file: PEM file of the authorities that are trusted for ``https``; None trusts the system's.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    tls = parts.scheme == "https"
    tcp = HostnameEndpoint(reactor, parts.hostname, parts.port or (443 if tls else 80), timeout_s)
    return _TlsEndpoint(reactor, tcp, _Trust(parts.hostname, ca_file).options, timeout_s) if tls else tcp


class _Trust:
    """Who is trusted to be the gateway. The file is read at every connect, so that a new one needs no restart."""

    def __init__(self, hostname: str, ca_file: str | None) -> None:
        self._hostname = hostname
        self._ca_file = ca_file
        self._read_pem: bytes | None = None
        self._known: IOpenSSLClientConnectionCreator | None = None

    def options(self) -> IOpenSSLClientConnectionCreator:
        """
        What a connection needs.

        :raises TlsFault: the file cannot be read, or holds no certificate.
        """
        pem = None if self._ca_file is None else self._read(self._ca_file)
        if self._known is None or pem != self._read_pem:
            roots = None if pem is None else self._roots(pem)
            self._known, self._read_pem = optionsForClientTLS(self._hostname, roots), pem
        return self._known

    def _read(self, path: str) -> bytes:
        try:
            with open(path, "rb") as file:
                return file.read()
        except (OSError, ValueError) as e:
            raise TlsFault(f"{path} cannot be read: {getattr(e, 'strerror', None) or e}") from None

    def _roots(self, pem: bytes) -> Any:
        try:
            certificates = x509.load_pem_x509_certificates(pem)
        except ValueError:
            raise TlsFault(f"{self._ca_file} holds no certificate in PEM") from None
        return trustRootFromCertificates([Certificate(crypto.X509.from_cryptography(each)) for each in certificates])


@implementer(IStreamClientEndpoint)
class _TlsEndpoint:
    """
    Has connected when the handshake is complete.

    Twisted's own has connected before: a request on a connection that is then refused would look like one that was
    sent, and may have been executed.
    """

    def __init__(
        self,
        reactor: Any,
        tcp: IStreamClientEndpoint,
        options: Callable[[], IOpenSSLClientConnectionCreator],
        timeout_s: float,
    ) -> None:
        self._reactor = reactor
        self._tcp = tcp
        self._options = options
        self._timeout_s = timeout_s

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        try:
            tls = wrapClientTLS(self._options(), self._tcp)
        except TlsFault as e:
            return fail(e)
        connected: Deferred[Any] = tls.connect(_HandshakeFactory(factory))
        connected.addCallback(lambda handshake: handshake.when_done)

        def late(result: object, timeout_s: float) -> Failure:
            return Failure(error.TimeoutError(string=f"no TLS connection within {timeout_s:g} s"))

        return connected.addTimeout(self._timeout_s, self._reactor, onTimeoutCancel=late)


class _HandshakeFactory(Factory):
    noisy = False

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory

    def buildProtocol(self, addr: Any) -> Protocol:
        return _Handshake(lambda: self._factory.buildProtocol(addr))


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Stands in for the protocol that ``build`` gives until the handshake is complete."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self._protocol: Any = None
        self.when_done: Deferred[IProtocol] = Deferred(lambda _: cast(Any, self.transport).abortConnection())

    def handshakeCompleted(self) -> None:
        # It is called for a certificate that has just been refused, too; connectionLost() then says why.
        if not cast(Any, self.transport).disconnecting:
            self._protocol = self._build()
            self._protocol.makeConnection(self.transport)
            self.when_done.callback(self._protocol)

    def dataReceived(self, data: bytes) -> None:
        self._protocol.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._protocol is not None:
            self._protocol.connectionLost(reason)
        elif not self.when_done.called:
            self.when_done.errback(TlsFault(_reason(reason.value)))


def _reason(problem: BaseException | None) -> str:
    """Why a handshake did not succeed."""
    # The names of service_identity's errors say it, their texts are reprs.
    if type(problem).__name__ in ("VerificationError", "CertificateError"):
        return "its certificate is for another host"
    if not isinstance(problem, SSL.Error):
        return "the connection broke during the TLS handshake"
    queue = problem.args[0] if problem.args and isinstance(problem.args[0], list) else []
    text = ", ".join(str(entry[-1]) for entry in queue) or type(problem).__name__
    if "verify failed" in text:
        return f"its certificate is not trusted, or is for another host ({text})"
    if "wrong version number" in text or "record layer failure" in text:
        return f"it does not speak TLS at this port ({text})"
    return f"TLS has failed: {text}"
