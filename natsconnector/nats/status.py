"""What a client says about itself."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from natsconnector.nats.watchers import Watchers


class Status(enum.Enum):
    """Where a client stands."""

    DISCONNECTED = "disconnected"  #: not started, or trying to connect
    CONNECTED = "connected"
    CLOSED = "closed"


#: Called with the old status, the new one and the reason of the change.
StatusCallback = Callable[[Status, Status, str], object]


class CurrentStatus:
    """The status that a client has now, and the callbacks that are told of changes."""

    def __init__(self) -> None:
        self.value = Status.DISCONNECTED
        self._watchers: Watchers[[Status, Status, str]] = Watchers("watch_status")

    def watch(self, callback: StatusCallback) -> Callable[[], None]:
        """Have the callback told of each change from now on; returns what ends that."""
        return self._watchers.add(callback)

    def set(self, new: Status, reason: str) -> None:
        """Change the status and tell all callbacks."""
        old, self.value = self.value, new
        self._watchers.tell(old, new, reason)


@dataclass(slots=True)
class Statistics:
    """Counters since the client was made; bytes are those of the connection, not only payloads."""

    in_msgs: int = 0
    in_bytes: int = 0
    out_msgs: int = 0
    out_bytes: int = 0
    reconnects: int = 0
