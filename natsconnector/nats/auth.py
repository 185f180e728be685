"""Who to be at a server: passwords, tokens, NKeys, JWTs, and the files they come from.

Formats: https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro; a seed is base32 of two
bytes that name its kind, 32 bytes of Ed25519 seed and a CRC16 of both.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from natsconnector.nats.errors import BadCredentials

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

Path = str | os.PathLike[str]

_SEED = 18 << 3  # S
_USER = 20 << 3  # U
_KINDS = {0: "an account", 14 << 3: "an operator", 13 << 3: "a server", 2 << 3: "a cluster", 23 << 3: "a curve key"}
_MAX_FILE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    User and password, or a token, or an NKey (its seed), or a user's JWT with the seed.

    A token may go with any of them, for auth callout. The repr shows nothing of it.

    :raises BadCredentials: the seed is none of a user.
    """

    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    jwt: str | None = field(default=None, repr=False)
    seed: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.seed is not None:
            _key(self.seed)

    def connect_fields(self, nonce: str | None) -> dict[str, str]:
        """
        What of it goes into CONNECT.

        :param nonce: of the server's INFO, to be signed.
        :raises BadCredentials: there is no nonce to be signed.
        """
        fields: dict[str, str] = {}
        if self.user is not None:
            fields |= {"user": self.user, "pass": self.password or ""}
        if self.token is not None:
            fields["auth_token"] = self.token
        if self.jwt is not None:
            fields["jwt"] = self.jwt
        if self.seed is not None:
            if not nonce:
                raise BadCredentials("the NKey", "is of no use here: the server knows no NKeys, it sent no nonce")
            key = _key(self.seed)
            if self.jwt is None:
                fields["nkey"] = _public(key)
            fields["sig"] = _unpadded(base64.urlsafe_b64encode(key.sign(nonce.encode())))
        return fields

    @property
    def hint(self) -> str | None:
        """Why a server may not want them, as far as we can see: it does not tell an expired JWT from a wrong one."""
        expires = _expiry(self.jwt) if self.jwt is not None else None
        if expires is None or expires > time.time():
            return None
        return f"the user's JWT expired at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(expires))}"


#: What ``NatsClient`` takes: credentials, or what gives them, asked at every attempt to connect.
CredentialsSource = Credentials | Callable[[], "Credentials | Deferred[Credentials]"]


def password_file(user: str, path: Path) -> Callable[[], Credentials]:
    """A user whose password is the text of a file, without the line's end."""

    def read() -> Credentials:
        return Credentials(user=user, password=_not_empty(path, _text(path).rstrip("\r\n")))

    return read


def token_file(path: Path) -> Callable[[], Credentials]:
    """A token that is the one line of a file, without white space around it."""

    def read() -> Credentials:
        token = _not_empty(path, _text(path).strip())
        if len(token.splitlines()) > 1:
            raise BadCredentials(path, "has several lines, not just a token")
        return Credentials(token=token)

    return read


def nkey_file(path: Path) -> Callable[[], Credentials]:
    """An NKey whose seed, ``SU...``, is in a file, alone or as ``nk`` and ``nsc`` write it."""

    def read() -> Credentials:
        text = _text(path)
        blocks = _blocks(text)
        lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
        return _with_seed(path, blocks[-1] if blocks else _not_empty(path, lines[0] if lines else ""))

    return read


def creds_file(path: Path) -> Callable[[], Credentials]:
    """A user's JWT and seed from a ``.creds`` file, as ``nsc`` writes it."""

    def read() -> Credentials:
        blocks = _blocks(_text(path))
        if len(blocks) < 2:
            raise BadCredentials(path, "is no credentials file: it has no BEGIN block with a JWT and one with a seed")
        if blocks[0].count(".") != 2:
            raise BadCredentials(path, "is no credentials file: its first block is no JWT")
        return _with_seed(path, blocks[1], jwt=blocks[0])

    return read


def _with_seed(path: Path, seed: str, jwt: str | None = None) -> Credentials:
    try:
        return Credentials(jwt=jwt, seed=seed)
    except BadCredentials as e:
        raise BadCredentials(path, f"has a seed that {e.reason}") from None


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as e:
        raise BadCredentials(path, f"cannot be read: {getattr(e, 'strerror', None) or e}") from None
    if len(data) > _MAX_FILE_BYTES:
        raise BadCredentials(path, f"has more than {_MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadCredentials(path, "is not text in UTF-8") from None


def _not_empty(path: Path, text: str) -> str:
    if not text:
        raise BadCredentials(path, "is empty")
    return text


def _blocks(text: str) -> list[str]:
    """What stands between lines like ``-----BEGIN ...-----`` and ``------END ...------``, whatever their names."""
    blocks: list[str] = []
    begun: list[str] | None = None
    for line in map(str.strip, text.splitlines()):
        if line.startswith("---") and line.endswith("---"):
            if "BEGIN" in line.upper():
                begun = []
            elif begun is not None:
                blocks.append("".join(begun))
                begun = None
        elif begun is not None:
            begun.append(line)
    return blocks


def _key(seed: str) -> Ed25519PrivateKey:
    """The private key of a user's seed. The texts of errors never repeat it."""
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except (ValueError, TypeError):
        raise BadCredentials("the NKey seed", "is not base32 in upper case") from None
    if len(raw) != 36 or raw[0] & 0xF8 != _SEED:
        raise BadCredentials("the NKey seed", "is no seed: one begins with SU and has 58 characters")
    if binascii.crc_hqx(raw[:-2], 0) != int.from_bytes(raw[-2:], "little"):
        raise BadCredentials("the NKey seed", "has a wrong checksum: a character is wrong or missing")
    kind = (raw[0] & 7) << 5 | (raw[1] & 0xF8) >> 3
    if kind != _USER:
        raise BadCredentials("the NKey seed", f"is that of {_KINDS.get(kind, 'something else')}, not of a user")
    return Ed25519PrivateKey.from_private_bytes(raw[2:34])


def _public(key: Ed25519PrivateKey) -> str:
    raw = bytes([_USER]) + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return _unpadded(base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")))


def _unpadded(encoded: bytes) -> str:
    return encoded.rstrip(b"=").decode("ascii")


def _expiry(jwt: str) -> int | None:
    """When a JWT ends, in seconds since 1970; None when it does not, or cannot be read."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(jwt.split(".")[1] + "=="))
        expires = claims["exp"]
    except (ValueError, IndexError, KeyError, TypeError, RecursionError):
        return None
    return expires if type(expires) is int and 0 < expires < 1 << 40 else None
