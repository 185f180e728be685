"""How the connector logs in at NATS: its flags' files looked at once, and turned into what the client takes.

The client reads them again at every attempt to connect, so that what is rotated needs no restart.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from natsconnector.nats.auth import CredentialsSource, creds_file, nkey_file, password_file, token_file
from natsconnector.nats.errors import BadCredentials, BadServerUrl, BadSubject
from natsconnector.nats.servers import parse_server
from natsconnector.nats.tls import Tls
from natsconnector.nats.wire.subjects import check_inbox_prefix
from natsconnector.topics import overlaps

_TLS = ("nats_ca", "nats_cert", "nats_key", "nats_tls_first")


def nats_url(text: str) -> str:
    """A server's URL."""
    try:
        parse_server(text)
    except BadServerUrl as e:  # whose text names no secret
        raise ValueError(f"is not a NATS server's URL: {e}") from None
    return text


def inbox_prefix(text: str) -> str:
    """A prefix for reply subjects."""
    try:
        return check_inbox_prefix(text)
    except BadSubject as e:
        raise ValueError(f"is not a prefix of subjects: {e.reason}") from None


def _file(read: Callable[[str], object]) -> Callable[[str], str]:
    """A parser of paths, of files that can be used now."""

    def parse(text: str) -> str:
        path = os.path.abspath(text)
        try:
            read(path)
        except BadCredentials as e:
            raise ValueError(e.reason) from None
        return path

    return parse


read_password = _file(lambda path: password_file("", path)())
read_token = _file(lambda path: token_file(path)())
read_nkey = _file(lambda path: nkey_file(path)())
read_creds = _file(lambda path: creds_file(path)())
read_ca = _file(lambda path: Tls(ca=path).options("localhost"))


def faults(found: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """What is wrong with flags that are right one by one; ``names`` are theirs as the user wrote them."""
    told = []
    for one, other in (("nats_user", "nats_password_file"), ("nats_cert", "nats_key")):
        if one in found and other in found and (found[one] is None) != (found[other] is None):
            given, missing = (one, other) if found[other] is None else (other, one)
            told.append(f"{names[given]} needs {names[missing]}")
    servers = [parse_server(url) for url in found.get("nats", ())]
    ways = [names[way] for way in ("nats_user", "nats_token_file", "nats_nkey_file", "nats_creds") if found.get(way)]
    if any(server.credentials is not None for server in servers):
        ways.append(f"credentials in {names['nats']}")
    if len(ways) > 1:
        told.append(f"{' and '.join(ways)} exclude each other: one of them says who to be")
    if found.get("nats_cert") and found.get("nats_key"):
        try:
            Tls(cert=found["nats_cert"], key=found["nats_key"]).options("localhost")
        except BadCredentials as e:
            told.append(f"{names['nats_cert']}, {names['nats_key']}: {e}")
    if found.get("embedded"):
        more = [names[name] for name in ("nats_user", "nats_token_file", "nats_nkey_file", "nats_creds", *_TLS)
                if found.get(name)]  # fmt: skip
        more += [f"tls:// in {names['nats']}"] * any(server.tls for server in servers)
        if more:
            told.append(f"--embedded starts a nats-server without logins and TLS: without {', '.join(more)}")
    prefix = found.get("inbox_prefix")
    told += [
        f"{names['subjects']}: {subject!r} would hear {prefix}.>, where replies to the connector come"
        for subject in found.get("subjects") or ()
        if prefix is not None and overlaps(subject, f"{prefix}.>")
    ]
    return told


def credentials(
    user: str | None, password_file_path: str | None, token: str | None, nkey: str | None, creds: str | None
) -> CredentialsSource | None:
    """Who to be, by the one way that is given; None leaves it to the URLs."""
    if user is not None and password_file_path is not None:
        return password_file(user, password_file_path)
    if token is not None:
        return token_file(token)
    if nkey is not None:
        return nkey_file(nkey)
    return creds_file(creds) if creds is not None else None


def tls(ca: str | None, cert: str | None, key: str | None, first: bool) -> Tls | None:
    """How TLS is wanted; None leaves it to the URLs and the servers."""
    return Tls(ca, cert, key, first=first) if ca or cert or first else None
