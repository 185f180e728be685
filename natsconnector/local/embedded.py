"""``--embedded``: a nats-server and a local gateway beside the connector, for trying things out."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from natsconnector.local.gateway import LocalGateway
from natsconnector.local.nats_server import NatsServer
from natsconnector.local.stack import read_stack
from natsconnector.reactors import Reactor

_DEFAULT_STACKS = ("stack.yml", "examples/stack.yml")


class Embedded(Service):
    """
    Starts a nats-server and a local gateway where the connector looks for them, then the connector.

    :param nats_url: where the nats-server is to listen; likewise ``gateway_url``. Both on the loopback interface.
    :param stack: path of the functions' stack.yml; None looks in the current folder.
    """

    _log = Logger()

    def __init__(
        self, reactor: Reactor, nats_url: str, gateway_url: str, stack: str | None, connector: IService
    ) -> None:
        self._reactor = reactor
        self._nats_url = nats_url
        self._gateway_url = gateway_url
        self._stack = stack
        self._connector = connector
        self._nats_server: NatsServer | None = None
        self._gateway: LocalGateway | None = None

    def startService(self) -> None:
        super().startService()
        Deferred.fromCoroutine(self._start()).addErrback(self._could_not_start)

    async def _start(self) -> None:
        functions = read_stack(_stack_path(self._stack))
        nats, gateway = _address(self._nats_url, 4222), _address(self._gateway_url, 8080)
        self._nats_server = NatsServer(self._reactor, host=nats[0], port=nats[1])
        await self._nats_server.start()
        self._gateway = LocalGateway(self._reactor, functions, host=gateway[0], port=gateway[1])
        await self._gateway.start()
        self._connector.startService()

    def _could_not_start(self, failure: Any) -> None:
        self._log.critical("cannot start: {reason}", reason=failure.getErrorMessage(), event="not_started")
        # twistd has no other way to end with a code that is not 0.
        os.kill(os.getpid(), signal.SIGTERM)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._connector.running:
            await self._connector.stopService()
        if self._gateway is not None:
            await self._gateway.stop()
        if self._nats_server is not None:
            await self._nats_server.stop()


def _stack_path(stack: str | None) -> Path:
    if stack is not None:
        return Path(stack)
    for candidate in _DEFAULT_STACKS:
        if Path(candidate).is_file():
            return Path(candidate)
    raise FileNotFoundError(f"no functions: neither {' nor '.join(_DEFAULT_STACKS)} is here; name one with --functions")


def _address(url: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(url if "://" in url else f"//{url}")
    return parts.hostname or "127.0.0.1", parts.port or default_port
