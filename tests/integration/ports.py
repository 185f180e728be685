"""Ports that stay free."""

from __future__ import annotations

from random import SystemRandom
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

reactor: Any = _reactor


async def free_port() -> int:
    """A port nobody listens on, outside the range from which outgoing connections take theirs.

    A server that is started again has to find its port free, whoever has connected to whom meanwhile.
    """
    while True:
        try:
            listening = reactor.listenTCP(SystemRandom().randrange(15000, 32000), Factory(), interface="127.0.0.1")
        except CannotListenError:
            continue
        port: int = listening.getHost().port
        await listening.stopListening()
        return port
