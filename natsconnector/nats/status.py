"""What a client says about itself."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from twisted.logger import Logger


class Status(enum.Enum):
    """Where a client stands."""

    DISCONNECTED = "disconnected"  #: not started, or trying to connect
    CONNECTED = "connected"
    CLOSED = "closed"


#: Called with the old status, the new one and the reason of the change.
StatusCallback = Callable[[Status, Status, str], object]


class CurrentStatus:
    """The status a client has now, and who is told when it changes.

    Everybody hears all changes in order: one that a callback brings about is told when the one before it has been
    told to all.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.value = Status.DISCONNECTED
        self._watchers: dict[object, StatusCallback] = {}
        self._untold: deque[tuple[Status, Status, str]] = deque()
        self._telling = False

    def watch(self, callback: StatusCallback) -> Callable[[], None]:
        """Have the callback told of each change from now on; returns what ends that."""
        key = object()
        self._watchers[key] = callback

        def remove() -> None:
            self._watchers.pop(key, None)

        return remove

    def set(self, new: Status, reason: str) -> None:
        """Change it and tell everybody; what a callback raises is logged."""
        self._untold.append((self.value, new, reason))
        self.value = new
        if self._telling:
            return
        self._telling = True
        while self._untold:
            change = self._untold.popleft()
            for key, callback in list(self._watchers.items()):
                # One that was told before it may have removed it.
                if key in self._watchers:
                    self._tell(callback, change)
        self._telling = False

    def _tell(self, callback: StatusCallback, change: tuple[Status, Status, str]) -> None:
        try:
            callback(*change)
        except Exception:
            self._log.failure("a callback of watch_status has failed")


@dataclass(slots=True)
class Statistics:
    """Counters since the client was made; bytes are those of the connection, not only payloads."""

    in_msgs: int = 0
    in_bytes: int = 0
    out_msgs: int = 0
    out_bytes: int = 0
    reconnects: int = 0
