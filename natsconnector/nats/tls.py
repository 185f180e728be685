"""TLS: which certificates are shown and trusted, and what its errors mean."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)

from natsconnector.nats.auth import Path
from natsconnector.nats.errors import BadCredentials


@dataclass(frozen=True, slots=True)
class Tls:
    """
    How TLS is wanted: files in PEM, read again at every attempt to connect.

    :param ca: the certificates that are trusted, instead of the system's.
    :param cert: what we show; it may be followed by its intermediates.
    :param key: that of ``cert``.
    :param server_name: to be in the server's certificate, instead of the URL's host.
    :param first: begin with TLS before the server has said anything, as ``handshake_first`` wants it.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    first: bool = False

    def options(self, host: str) -> IOpenSSLClientConnectionCreator:
        """
        What a connection to this host needs.

        :raises BadCredentials: a file cannot be read or used, or the host's name cannot be in a certificate.
        """
        # The dot of an absolute name belongs to the look-up, not to the name in a certificate (RFC 6066, 3).
        name = (self.server_name or host).removesuffix(".")
        if (self.cert is None) != (self.key is None):
            raise BadCredentials("the client certificate", "is of no use without its key, nor a key without it")
        more: dict[str, Any] = {}
        shown = None
        if self.cert is not None and self.key is not None:
            shown, more["extraCertChain"] = _private_certificate(self.cert, self.key)
        trusted = None
        if self.ca is not None:
            trusted = trustRootFromCertificates([Certificate(each) for each in _certificates(self.ca)])
        try:
            return optionsForClientTLS(name, trusted, shown, extraCertificateOptions=more or None)
        except (ValueError, SSL.Error) as e:
            raise BadCredentials("TLS", f"cannot be set up: {tls_reason(e) or e}") from None


def _private_certificate(cert: Path, key: Path) -> tuple[PrivateCertificate, list[crypto.X509]]:
    leaf, *chain = _certificates(cert)
    data = _read(key)
    try:
        private = load_pem_private_key(data, None)
        pair = KeyPair(crypto.PKey.from_cryptography_key(private))  # type: ignore[arg-type]
    except TypeError:
        # Not only refused: OpenSSL itself would ask for the passphrase on the terminal, and wait.
        raise BadCredentials(key, "is a key with a passphrase or of an unknown kind") from None
    except ValueError:
        raise BadCredentials(key, "holds no private key in PEM") from None
    ours = leaf.to_cryptography().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if ours != private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
        raise BadCredentials(key, f"is not the key of the certificate in {os.fspath(cert)}")
    return PrivateCertificate.fromCertificateAndKeyPair(Certificate(leaf), pair), chain


def _certificates(path: Path) -> list[crypto.X509]:
    data = _read(path)
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise BadCredentials(path, "holds no certificate in PEM") from None
    return [crypto.X509.from_cryptography(each) for each in found]


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as e:
        raise BadCredentials(path, f"cannot be read: {getattr(e, 'strerror', None) or e}") from None


def tls_reason(error: BaseException | None) -> str | None:
    """What a TLS error says, as a sentence; None when it is none."""
    # The names of service_identity's errors say what is wrong; their texts are reprs.
    if type(error).__name__ in ("VerificationError", "CertificateError"):
        return "the server's certificate is for another host"
    if not isinstance(error, SSL.Error):
        return None
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reason = ", ".join(str(entry[-1]) for entry in queue) or type(error).__name__
    lowered = reason.lower()
    if "wrong version number" in lowered or "record layer failure" in lowered:
        return f"the server does not speak TLS at this point ({reason})"
    if "alert" in lowered and ("certificate" in lowered or "unknown ca" in lowered):
        return f"the server does not accept our certificate, or misses one ({reason})"
    if "verify failed" in lowered:
        return f"the server's certificate is not trusted, or is for another host ({reason})"
    return f"TLS has failed: {reason}"
