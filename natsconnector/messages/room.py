"""How many messages of a stream are taken at once."""

from __future__ import annotations

from collections.abc import Callable

# How many times the slots may be held by messages that their functions' limits hold back.
_MOST_HELD_BACK = 10
_MOST_HELD_BACK_BYTES = 64 << 20


class Room:
    """
    What unsettled messages may take up, of all the consumers that share it.

    Each consumer asks for its part of what is free, and for one message at least, so that those that have much to do
    get on while the pulls of the others wait. As the pulls wait at once, twice the messages may come in the end.

    :param messages: how many may be unsettled at once, besides those that are held back; ``size_bytes``: likewise.
    """

    def __init__(self, messages: int, size_bytes: int = 64 << 20) -> None:
        self.messages = messages
        self.size_bytes = size_bytes
        self._taken = self.taken_bytes = 0
        self._held_back = self._held_back_bytes = 0
        self._consumers = 0
        self._waiting: dict[Callable[[], object], None] = {}

    def enter(self) -> None:
        """One more consumer shares it."""
        self._consumers += 1

    def leave(self, has_room: Callable[[], object]) -> None:
        """A consumer asks for no more; what it has taken is given back later."""
        self._consumers -= 1
        self._waiting.pop(has_room, None)

    @property
    def free(self) -> int:
        """How many messages may come, like those that are here; none or less when there is no room."""
        held_back = 0
        if self._held_back_bytes <= _MOST_HELD_BACK_BYTES:
            held_back = min(self._held_back, _MOST_HELD_BACK * self.messages)
        free, taken_bytes = self.messages + held_back - self._taken, self.taken_bytes - self._held_back_bytes
        room = (self.size_bytes - taken_bytes) * self._taken // self.taken_bytes if taken_bytes > 0 else free
        return min(free, room)

    def share(self, has_room: Callable[[], object]) -> int:
        """How many messages a consumer may ask for; when there is none, ``has_room`` is called once there is."""
        free = self.free
        if free <= 0:
            self._waiting[has_room] = None
            return 0
        return max(1, free // max(1, self._consumers))

    def take(self, size_bytes: int) -> None:
        """A message has come."""
        self._taken += 1
        self.taken_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """A message is settled."""
        self._taken -= 1
        self.taken_bytes -= size_bytes
        self._wake()

    def hold_back(self, size_bytes: int) -> None:
        """A message waits for its function's own limit."""
        self._held_back += 1
        self._held_back_bytes += size_bytes
        self._wake()

    def go_on(self, size_bytes: int) -> None:
        """A message waits no more for that."""
        self._held_back -= 1
        self._held_back_bytes -= size_bytes

    def _wake(self) -> None:
        if self._waiting and self.free > 0:
            waiting, self._waiting = self._waiting, {}
            for has_room in waiting:
                has_room()
