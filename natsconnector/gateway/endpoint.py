"""Connecting to the gateway, over TCP or TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet import error
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IHandshakeListener,
    IHostnameResolver,
    IHostResolution,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from natsconnector.gateway.origin import Origin
from natsconnector.reactors import Reactor


class TlsFault(Exception):
    """No TLS connection could be made; the text says why."""


def gateway_endpoint(reactor: Reactor, origin: Origin, timeout_s: float, ca_file: str | None) -> IStreamClientEndpoint:
    """
    The endpoint of a gateway.

    :param timeout_s: for connecting, the TLS handshake included.
    :param ca_file: PEM file of the authorities that are trusted for ``https``; None trusts the system's.
    """
    if isIPAddress(origin.host) or isIPv6Address(origin.host):
        tcp: IStreamClientEndpoint = HostnameEndpoint(reactor, origin.host, origin.port, timeout_s)
    else:
        tcp = _named_endpoint(reactor, origin.host, origin.port, timeout_s)
    return _TlsEndpoint(reactor, tcp, _Trust(origin.tls_name, ca_file).options, timeout_s) if origin.tls else tcp


def _named_endpoint(reactor: Reactor, name: str, port: int, timeout_s: float) -> IStreamClientEndpoint:
    """
    Twisted's endpoint refuses names that IDNA does not know, such as ``func_gateway``, which Docker makes. It only
    hands its name on to the resolver, so it gets a stand-in, and the resolver the name.
    """
    return HostnameEndpoint(_NameReactor(reactor, name), "gateway", port, timeout_s)


@implementer(IReactorPluggableNameResolver)
class _NameReactor:
    """The reactor, with a resolver that knows one name whatever it is asked for."""

    def __init__(self, reactor: Reactor, name: str) -> None:
        self._reactor = reactor
        self.nameResolver = _NameResolver(reactor, name)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


@implementer(IHostnameResolver)
class _NameResolver:
    def __init__(self, reactor: Reactor, name: str) -> None:
        self._reactor = reactor
        self._name = name

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, portNumber: int = 0, *args: Any, **more: Any
    ) -> IHostResolution:
        # Python refuses a text whose labels are too long or empty, and Twisted's resolver would then never end. A name
        # in bytes goes to the system's resolver as it is.
        name: Any = self._name
        if not all(0 < len(label) <= 63 for label in name.removesuffix(".").split(".")):
            name = name.encode()
        resolver = self._reactor.nameResolver
        return resolver.resolveHostName(resolutionReceiver, name, portNumber, *args, **more)


class _Trust:
    """Who is trusted to be the gateway. The file is read at every connect, so that a new one needs no restart."""

    _log = Logger()

    def __init__(self, hostname: str, ca_file: str | None) -> None:
        self._hostname = hostname
        self._ca_file = ca_file
        self._read_pem: bytes | None = None
        self._known: IOpenSSLClientConnectionCreator | None = None
        self._told = ""

    def options(self) -> IOpenSSLClientConnectionCreator:
        """
        What a connection needs.

        :raises TlsFault: the file cannot be read, or holds no certificate, or there can be no certificate for the
            name. The text reaches whoever asked for a call, the file's path only the log.
        """
        try:
            pem = None if self._ca_file is None else self._read(self._ca_file)
            if self._known is None or pem != self._read_pem:
                roots = None if pem is None else self._roots(pem)
                self._known, self._read_pem = self._options_with(roots), pem
        except TlsFault as e:
            if str(e) != self._told and self._ca_file is not None:
                self._told = str(e)
                self._log.error(
                    "no TLS with the gateway: {reason}: {file}", reason=self._told, file=self._ca_file,
                    event="no_gateway_tls",
                )  # fmt: skip
            raise
        self._told = ""
        return self._known

    def _options_with(self, roots: Any) -> IOpenSSLClientConnectionCreator:
        try:
            return optionsForClientTLS(self._hostname, roots)
        except UnicodeError:  # idna's errors are of this kind
            raise TlsFault(f"no certificate can be for the name {self._hostname}") from None

    def _read(self, path: str) -> bytes:
        try:
            with open(path, "rb") as file:
                return file.read()
        except (OSError, ValueError) as e:
            reason = getattr(e, "strerror", None) or type(e).__name__
            raise TlsFault(f"the file of trusted authorities cannot be read: {reason}") from None

    def _roots(self, pem: bytes) -> Any:
        try:
            certificates = x509.load_pem_x509_certificates(pem)
        except ValueError:
            raise TlsFault("the file of trusted authorities holds no certificate in PEM") from None
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
        reactor: Reactor,
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
        # OpenSSL calls this for a certificate that has just been refused, too; connectionLost() then says why.
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
    # The names of service_identity's errors say what is wrong; their texts are reprs.
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
