"""
What a callback URL says, sealed: where a result goes, and until when. Pure.

The URL passes through the gateway, its queue and its logs. Nobody may learn from the URL where a result goes, nor make
a URL that has another result, or something else, published with the connector's rights. So the text is encrypted and
authenticated with AES-SIV (RFC 5297), which needs no unique nonce: replicas share a key and know nothing of each other.
Nothing is kept, so that any replica with the key can serve any callback, also after a restart.
"""

from __future__ import annotations

import base64
import hmac
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

LONGEST = 1800
"""Characters of a sealed text. With the address before it a URL stays below 2000 characters, which all servers take."""

NONCE_BYTES = 12
_VERSION = b"\x01"
_KEY_ID_BYTES = 3
_HEAD_BYTES = len(_VERSION) + _KEY_ID_BYTES
_FIELDS = struct.Struct(">IBB")  # expiry, flags, hops
_HAS_OWN_ID = 1
_IS_NAMED = 2
# Letters, digits, - and _ alone (RFC 4648, 5): no proxy changes, decodes or encodes any of them in a path.
_TEXT = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST}}}", re.ASCII)


class BadSeal(Exception):
    """A text was not sealed with one of the keys; the text says no more than that."""


class TooLong(Exception):
    """What is to be sealed does not fit into a URL."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """
    What one callback may do.

    :ivar subject: where the result goes.
    :ivar function, call_id: of the call whose result it is.
    :ivar expires_at_s: in whole seconds since 1970.
    :ivar is_named: whether a publisher named the subject, so that ``--reply-allow`` has to; else it is a reply subject.
    :ivar has_own_id: whether a publisher chose the call id, which other calls may have then.
    :ivar hops: how many connectors' replies led to the message that asked for the call.
    :ivar nonce: made at random for each seal; empty before.
    """

    subject: str
    function: str
    call_id: str
    expires_at_s: int
    is_named: bool = False
    has_own_id: bool = False
    hops: int = 0
    nonce: bytes = b""

    @property
    def message_id(self) -> str:
        """
        The ``Nats-Msg-Id`` of the result: the same whenever its callback comes, so that a stream keeps one.

        A call id of the connector's own is the same over all attempts. A publisher's may stand for several calls.
        """
        return self.nonce.hex() if self.has_own_id else self.call_id


@dataclass(frozen=True)
class Key:
    """A key, derived from a secret of any length."""

    secret: bytes = field(repr=False)
    id: bytes = field(init=False)
    cipher: AESSIV = field(init=False, repr=False)

    def __post_init__(self) -> None:
        key = hmac.digest(self.secret, b"natsconnector callback key", "sha512")
        key_id = hmac.digest(self.secret, b"natsconnector callback key id", "sha512")[:_KEY_ID_BYTES]
        object.__setattr__(self, "id", key_id)
        object.__setattr__(self, "cipher", AESSIV(key))


def seal(ticket: Ticket, key: Key, nonce: bytes) -> str:
    """
    A text that only holders of the key can make, read or change.

    :param nonce: random bytes, :data:`NONCE_BYTES` of them.
    :raises TooLong: subject, function and call id together have too many characters.
    """
    flags = _HAS_OWN_ID * ticket.has_own_id | _IS_NAMED * ticket.is_named
    plain = _FIELDS.pack(ticket.expires_at_s, flags, min(ticket.hops, 255))
    plain += "\0".join((ticket.function, ticket.call_id, ticket.subject)).encode()
    head = _VERSION + key.id
    text = _encoded(head + nonce + key.cipher.encrypt(plain, [head, nonce]))
    if len(text) > LONGEST:
        raise TooLong(f"subject, function and call id make a callback URL of more than {LONGEST} characters")
    return text


def unseal(text: str, keys: Sequence[Key]) -> Ticket:
    """
    What was sealed. Whether that has expired, or is still allowed, is for the caller to judge.

    :raises BadSeal: the text is none that :func:`seal` made with one of the keys, to the last bit.
    """
    # Length and characters first: nothing is decoded of what cannot be ours.
    if not _TEXT.fullmatch(text) or len(text) % 4 == 1:
        raise BadSeal("not a sealed callback")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    head, nonce = data[:_HEAD_BYTES], data[_HEAD_BYTES : _HEAD_BYTES + NONCE_BYTES]
    # The last character may have bits that are not used: only one of the ways to write it is ours.
    if head[:1] != _VERSION or len(nonce) < NONCE_BYTES or _encoded(data) != text:
        raise BadSeal("not a sealed callback")
    for key in keys:
        if key.id == head[1:]:
            try:
                return _ticket(key.cipher.decrypt(data[_HEAD_BYTES + NONCE_BYTES :], [head, nonce]), nonce)
            except (InvalidTag, ValueError):
                continue
    raise BadSeal("not a sealed callback")


def _ticket(plain: bytes, nonce: bytes) -> Ticket:
    expires_at_s, flags, hops = _FIELDS.unpack_from(plain)
    function, call_id, subject = plain[_FIELDS.size :].decode().split("\0")
    return Ticket(
        subject, function, call_id, expires_at_s, bool(flags & _IS_NAMED), bool(flags & _HAS_OWN_ID), hops, nonce
    )


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
