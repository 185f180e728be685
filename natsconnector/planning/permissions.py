"""Which calls this connector is configured to make. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from urllib.parse import urlsplit

from natsconnector.model.call import Forbidden, FunctionCall


class Permissions:
    """
    The functions that may be called and the hosts a callback may go to.

    :param functions: patterns of function names; None allows any.
    :param callback_hosts: patterns of ``HOST``, meaning any port, or ``HOST:PORT``; None allows any.
    """

    def __init__(self, functions: Sequence[str] | None = None, callback_hosts: Sequence[str] | None = None) -> None:
        self._functions = _any_of(functions)
        self._callback_hosts = _any_of(callback_hosts)

    def allows(self, function: str) -> bool:
        """Whether a function may be called."""
        return self._functions is None or self._functions.fullmatch(function) is not None

    def check(self, call: FunctionCall) -> None:
        """:raises Forbidden: such a call is not to be made; the reason says by which setting."""
        if not self.allows(call.function):
            raise Forbidden(f"function {call.function} is not among those that --allow-function names")
        if self._callback_hosts is not None and call.callback_url is not None:
            host, host_and_port = _host(call.callback_url)
            if not (self._callback_hosts.fullmatch(host) or self._callback_hosts.fullmatch(host_and_port)):
                raise Forbidden(f"callback_url names {host_and_port}, which is not among those of --callback-allow")


def _any_of(patterns: Sequence[str] | None) -> re.Pattern[str] | None:
    if patterns is None:
        return None
    # The brackets of an IPv6 address are meant as they stand; fnmatch would take them for a character class.
    return re.compile("|".join(translate(pattern.replace("[", "[[]")) for pattern in patterns))


def _host(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if ":" in host:
        host = f"[{host}]"
    return host, f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
