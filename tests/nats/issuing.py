"""Makes what logins are tested with: certificates, NKeys, JWTs."""

from __future__ import annotations

import base64
import binascii
import datetime
import ipaddress
import json
import time
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

OPERATOR, ACCOUNT, USER = 14 << 3, 0, 20 << 3


class NKey:
    """A key pair of the kind that ``prefix`` says."""

    def __init__(self, prefix: int = USER) -> None:
        self._prefix = prefix
        self._key = Ed25519PrivateKey.generate()

    @property
    def public(self) -> str:
        """``U...``, ``A...``, ``O...``."""
        return _with_checksum(
            bytes([self._prefix]) + self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        )

    @property
    def seed(self) -> str:
        """``SU...``, ``SA...``, ``SO...``."""
        head = bytes([(18 << 3) | self._prefix >> 5, (self._prefix & 31) << 3])
        raw = self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return _with_checksum(head + raw)

    def jwt(self, claims: dict[str, Any]) -> str:
        """A JWT that this key has issued."""
        claims = {"iat": int(time.time()), "iss": self.public, **claims}
        signed = f"{_json({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_json(claims)}"
        return f"{signed}.{_url64(self._key.sign(signed.encode()))}"


class Operator:
    """An operator with an account, in whose name users are let in."""

    def __init__(self) -> None:
        self._operator, self._system, self._account = NKey(OPERATOR), NKey(ACCOUNT), NKey(ACCOUNT)

    @property
    def config_text(self) -> str:
        """What a nats-server has to know of them."""
        limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1,
                  "leaf": -1}  # fmt: skip
        operator = {"type": "operator", "version": 2, "system_account": self._system.public}
        account = {"type": "account", "version": 2, "limits": limits}
        signed = {
            key.public: self._operator.jwt({"sub": key.public, "name": name, "nats": account})
            for name, key in (("SYS", self._system), ("APP", self._account))
        }
        own = self._operator.jwt({"sub": self._operator.public, "name": "op", "nats": operator})
        accounts = "\n".join(f"{public}: {jwt}" for public, jwt in signed.items())
        return (
            f"operator: {own}\nsystem_account: {self._system.public}\nresolver: MEMORY\n"
            f"resolver_preload: {{\n{accounts}\n}}\n"
        )

    def creds(self, user: NKey, *, expires_at: int | None = None, line_end: str = "\n", **rights: Any) -> str:
        """A credentials file for a user; without ``rights``, the claims ``pub`` and ``sub``, one who may do all."""
        claims: dict[str, Any] = {
            "sub": user.public,
            "name": "alice",
            "nats": {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, **rights},
        }
        if expires_at is not None:
            claims["exp"] = expires_at
        return creds_text(self._account.jwt(claims), user.seed).replace("\n", line_end)


def creds_text(jwt: str, seed: str) -> str:
    """A credentials file as nsc writes it."""
    return f"""-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.
NKEYs are sensitive and should be treated as secrets.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------

*************************************************************
"""


class Authority:
    """A certificate authority whose files are in a folder."""

    def __init__(self, folder: str | Path, name: str = "ca") -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"test {name}")
        builder = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), True)
        self.ca = self._write(f"{name}.pem", builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def issue(self, name: str, *hosts: str, days: int = 10, passphrase: bytes | None = None) -> tuple[str, str]:
        """Paths of a certificate for these hosts and addresses, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = []
        for host in hosts:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = self._builder(_name(name), key, days).add_extension(x509.ExtendedKeyUsage(usages), False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        cert = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
        return self._write(f"{name}.pem", cert), self._write(f"{name}.key", pem)

    def _builder(self, subject: x509.Name, key: Any, days: int = 10) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        begin = now - datetime.timedelta(days=1 if days > 0 else 2 - days)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(now + datetime.timedelta(days=days))
        )

    def _write(self, name: str, data: bytes) -> str:
        path = self._folder / name
        path.write_bytes(data)
        return str(path.absolute())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _with_checksum(raw: bytes) -> str:
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).rstrip(b"=").decode()


def _json(fields: dict[str, Any]) -> str:
    return _url64(json.dumps(fields, separators=(",", ":")).encode())


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
