"""Which calls this connector is configured to make. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from urllib.parse import urlsplit

from natsconnector.model.call import Forbidden, FunctionCall
from natsconnector.planning.calls import TO_SUBJECT

DEFAULT_NAMESPACE = "openfaas-fn"
"""Where the gateway looks for a function that is named without a namespace."""


class Permissions:
    """
    The functions that may be called and the hosts a callback may go to.

    :param functions: patterns ``NAME`` or ``NAME.NAMESPACE`` with ``*``, which stands for no dot; a pattern without a
        dot means the default namespace. None allows any.
    :param callback_hosts: patterns of ``HOST``, meaning any port, or ``HOST:PORT``; None allows any.
    :param own_address: where the connector takes callbacks itself, which no message may name.
    """

    def __init__(
        self,
        functions: Sequence[str] | None = None,
        callback_hosts: Sequence[str] | None = None,
        own_address: str | None = None,
    ) -> None:
        self._own_host = None if own_address is None else _host(own_address)[1]
        self._functions = None if functions is None else re.compile("|".join(map(_function_pattern, functions)))
        self._callback_hosts = (
            None if callback_hosts is None else re.compile("|".join(map(_host_pattern, callback_hosts)))
        )

    def allows(self, function: str) -> bool:
        """Whether a function, ``name`` or ``name.namespace``, may be called."""
        if self._functions is None:
            return True
        full_name = function if "." in function else f"{function}.{DEFAULT_NAMESPACE}"
        return self._functions.fullmatch(full_name) is not None

    def check(self, call: FunctionCall) -> None:
        """:raises Forbidden: such a call is not to be made; the reason says by which setting."""
        if not self.allows(call.function):
            raise Forbidden(f"function {call.function} is not among those that --allow-function names")
        if call.callback_url is not None and not call.callback_url.startswith(TO_SUBJECT):
            host, host_and_port = _host(call.callback_url)
            if host_and_port == self._own_host:
                raise Forbidden(f"callback_url names the connector itself: write {TO_SUBJECT}SUBJECT")
            hosts = self._callback_hosts
            if hosts is not None and not (hosts.fullmatch(host) or hosts.fullmatch(host_and_port)):
                raise Forbidden(
                    f"callback_url names {host_and_port[:300]}, which is not among those of --callback-allow"
                )


def _function_pattern(pattern: str) -> str:
    name, dot, namespace = pattern.rpartition(".")
    return r"\.".join(_within(part) for part in ((name, namespace) if dot else (pattern, DEFAULT_NAMESPACE)))


def _within(pattern: str) -> str:
    """A pattern whose ``*`` and ``?`` stand for no dot."""
    return "".join({"*": "[^.]*", "?": "[^.]"}.get(character, re.escape(character)) for character in pattern)


def _host_pattern(pattern: str) -> str:
    # The brackets of an IPv6 address are meant as they stand; fnmatch would take them for a character class.
    return translate(pattern.replace("[", "[[]"))


def _host(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    host = (parts.hostname or "").removesuffix(".")
    if ":" in host:
        host = f"[{host}]"
    return host, f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
