"""Flags that commands share with the connector: the same names, the same environment, the same checks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import wraps
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError

from natsconnector.config import reading
from natsconnector.config.flags import NATS, Flag
from natsconnector.config.settings import FLAGS, Settings
from natsconnector.nats import NatsClient
from natsconnector.reactors import Reactor

NATS_FLAGS = tuple(flag.name for flag in FLAGS if flag.group == NATS)
"""How to connect to NATS."""


def add_flags(parser: argparse.ArgumentParser, names: Collection[str], title: str) -> None:
    """Let a command take these of the connector's flags, and ``--wait``, see :func:`connected`."""
    parser.add_argument(
        "--wait", type=float, default=10.0, metavar="SECONDS", help="how long to wait for NATS at the start [10]"
    )
    group = parser.add_argument_group(title, "each is also NATSCONNECTOR_NAME_OF_THE_FLAG in the environment")
    for flag in _flags(names):
        text = flag.help_text.replace("%", "%%")
        if flag.in_environment_only:
            continue
        if flag.is_switch:
            group.add_argument(f"--{flag.name}", action="store_const", const="on", help=text)
        else:
            action = "append" if flag.is_list else "store"
            group.add_argument(f"--{flag.name}", metavar=flag.metavar, action=action, help=text)


def command(
    work: Callable[[Reactor, argparse.Namespace, Mapping[str, str]], Coroutine[Any, Any, None]],
) -> Callable[..., Deferred[None]]:
    """
    ``run(reactor, arguments, *, environment)`` of a command: a Deferred that fires when its ``work`` is done, and fails
    with ``SystemExit``: a text, or 1 when all was said, where the command did not succeed.
    """

    @wraps(work)
    def run(
        reactor: Reactor, arguments: argparse.Namespace, *, environment: Mapping[str, str] = os.environ
    ) -> Deferred[None]:
        return Deferred.fromCoroutine(work(reactor, arguments, environment))

    return run


def read(
    arguments: argparse.Namespace,
    names: Collection[str],
    environment: Mapping[str, str],
    *,
    is_whole: bool = False,
) -> Settings:
    """
    The settings that these flags and their environment give; all others have their defaults.

    :param is_whole: whether these are all that the connector has.
    :raises ConfigurationError: with all that is wrong.
    """
    given = {
        flag.name: _joined(getattr(arguments, flag.name.replace("-", "_")))
        for flag in _flags(names)
        if not flag.in_environment_only
    }
    others = {name for flag in FLAGS if flag.name not in names for name in _environment_names(flag)}
    own = {name: value for name, value in environment.items() if name not in others}
    return reading.read(given, own, is_whole=is_whole)


def read_or_exit(arguments: argparse.Namespace, names: Collection[str], environment: Mapping[str, str]) -> Settings:
    """The same, for a command that ends at a fault. :raises SystemExit: the text has all faults."""
    try:
        return read(arguments, names, environment)
    except reading.ConfigurationError as e:
        raise SystemExit("this configuration cannot work:\n  " + "\n  ".join(e.faults)) from None


def _joined(value: str | list[str] | None) -> str | None:
    return ",".join(value) if isinstance(value, list) else value


def _environment_names(flag: Flag) -> list[str]:
    conditions = [alias.only_if for alias in flag.aliases if alias.only_if is not None]
    return [*flag.environment_names, *conditions]


def _flags(names: Collection[str]) -> list[Flag]:
    return [flag for flag in FLAGS if flag.name in names]


async def connected(reactor: Reactor, client: NatsClient, wait_s: float) -> None:
    """
    Wait until a client that was started is connected.

    :raises SystemExit: it is not in time; the text says why.
    """
    try:
        await client.when_ready().addTimeout(wait_s, reactor)
    except TimeoutError:
        reason = client.last_error or "no answer"
        raise SystemExit(f"no connection to NATS within {wait_s:g} s: {reason}") from None
