"""INFO: what a server says about itself, as far as it can be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: The most that a server can be configured for, in bytes.
MAX_PAYLOAD_BYTES = 64 << 20

_MAX_TEXT = 4096


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_size(value: object) -> bool:
    # A bool is an int, too.
    return type(value) is int and 0 < value <= MAX_PAYLOAD_BYTES


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _is_list(value: object) -> bool:
    return isinstance(value, list)


_FIELDS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(
        ("server_id", "server_name", "version", "nonce", "domain", "cluster", "host", "client_ip"), _is_text
    ),
    **dict.fromkeys(("headers", "tls_required", "tls_available", "auth_required", "jetstream", "ldm"), _is_flag),
    **dict.fromkeys(("client_id", "proto", "api_lvl", "port"), _is_number),
    "max_payload": _is_size,
    "connect_urls": _is_list,
}
# What a server says about itself before TLS, and has to say it only once. Nothing in it leads anywhere else.
_OUTLASTING_TLS = (
    *("server_id", "server_name", "version", "client_id", "proto", "api_lvl", "headers", "max_payload"),
    *("jetstream", "domain", "tls_required", "tls_available"),
)


def usable(fields: dict[str, Any]) -> dict[str, Any]:
    """
    The fields of an INFO without those that we know and that have a wrong type or size.

    A server, or somebody who passes for one, may send anything; who reads a field behind this need not look again.
    Unknown fields are kept.
    """
    return {name: value for name, value in fields.items() if name not in _FIELDS or _FIELDS[name](value)}


def outlasting_tls(fields: dict[str, Any]) -> dict[str, Any]:
    """
    What still counts of an INFO that came in clear, once TLS is up.

    Somebody in between may have written it. The addresses of other servers are dropped, since following them would
    take our credentials there. Version and limits stay until the server repeats them over TLS: servers before 2.11 say
    them only once.
    """
    return {name: fields[name] for name in _OUTLASTING_TLS if name in fields}
