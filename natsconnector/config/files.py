"""Files and folders that a configuration names, which have to be usable when the connector starts.

The clients read them again when they need them, so that what is rotated needs no restart.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from natsconnector.nats import BadCredentials, Tls, creds_file, nkey_file, password_file, token_file

_LEAST_KEY_BYTES = 32
_MOST_KEY_BYTES = 4096


def _usable(read: Callable[[str], object]) -> Callable[[str], str]:
    """A parser of paths, which tries ``read`` on the path and gives it as an absolute one."""

    def parse(text: str) -> str:
        path = os.path.abspath(text)
        try:
            read(path)
        except BadCredentials as e:
            raise ValueError(e.reason) from None
        return path

    parse.is_file = True  # type: ignore[attr-defined]
    return parse


password = _usable(lambda path: password_file("", path)())
token = _usable(lambda path: token_file(path)())
nkey = _usable(lambda path: nkey_file(path)())
creds = _usable(lambda path: creds_file(path)())
ca = _usable(lambda path: Tls(ca=path).options("localhost"))
any_file = _usable(lambda path: None)


def callback_keys(path: str) -> tuple[bytes, ...]:
    """
    The keys of a file, one on a line.

    :raises ValueError: it cannot be used; the text follows the file's name, and tells nothing of the keys.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST_KEY_BYTES + 1)
    except OSError as e:
        raise ValueError(f"cannot be read: {e.strerror}") from None
    if len(text) > _MOST_KEY_BYTES:
        raise ValueError(f"has more than {_MOST_KEY_BYTES} bytes")
    keys = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not keys:
        raise ValueError("has no key in it")
    if any(len(key) < _LEAST_KEY_BYTES for key in keys):
        raise ValueError(
            f"has a key of fewer than {_LEAST_KEY_BYTES} characters; openssl rand -base64 32 makes a good one"
        )
    return keys


def callback_key_file(text: str) -> str:
    """A file of :func:`callback_keys`."""
    path = os.path.abspath(text)
    callback_keys(path)
    return path


callback_key_file.is_file = True  # type: ignore[attr-defined]


def gateway_credentials(text: str) -> str:
    """A folder with the gateway's user and password, as OpenFaaS mounts them."""
    for name in ("basic-auth-user", "basic-auth-password"):
        try:
            with open(os.path.join(text, name), "rb") as file:
                is_empty = not file.read(4096).strip()
        except OSError as e:
            raise ValueError(f"has no file {name} that can be used: it cannot be read: {e.strerror}") from None
        if is_empty:
            raise ValueError(f"has a file {name} that is empty")
    return os.path.abspath(text)
