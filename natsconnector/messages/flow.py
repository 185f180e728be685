"""What sources have in common: who is told of their state, and, of a stream, a flow that goes on for ever."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from natsconnector.model.seams import IDelivery
from natsconnector.nats import ClientClosed


class Watched:
    """A source that tells when its readiness, or what it listens on, may be another one."""

    def __init__(self) -> None:
        self._watchers: list[Callable[[], object]] = []

    def watch(self, callback: Callable[[], object]) -> None:
        self._watchers.append(callback)

    def _tell(self, *_: object) -> None:
        for callback in self._watchers:
            callback()


class Flow(Watched):
    """A source of a stream, which looks for what it needs until it is there, and again when it is lost."""

    _log = Logger()

    def __init__(self) -> None:
        super().__init__()
        self._deliver: Callable[[IDelivery], None] | None = None
        self._flow: Deferred[None] | None = None
        self._said = ""

    def start(self, deliver: Callable[[IDelivery], None]) -> None:
        self._deliver = deliver
        self._flow = Deferred.fromCoroutine(self._run())
        self._flow.addErrback(lambda f: f.trap(CancelledError, ClientClosed) and None)
        self._flow.addErrback(
            lambda f: self._log.failure("a defect while taking messages from JetStream", f, event="defect")
        )

    async def _run(self) -> None:
        """For ever: do the source's work."""
        raise NotImplementedError

    def _cancel(self) -> None:
        if self._flow is not None:
            self._flow.cancel()

    def _say_not_ready(self, reason: str) -> None:
        """Say why messages cannot come in; the same reason once."""
        if reason != self._said:
            self._said = reason
            self._log.error("not ready: {reason}; the connector tries again for ever", reason=reason, event="not_ready")
            self._tell()
