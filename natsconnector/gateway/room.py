"""How much of the responses that are still coming is held in memory, of all connections together. Pure."""

from __future__ import annotations

from typing import Protocol

# A response is held without being counted up to here, so that no large one ever stands in the way of a small one.
FREE_BYTES = 65536


class Reader(Protocol):
    """What reads a response."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Read on."""


class ResponseRoom:
    """
    Room for responses that are not whole yet. Who has much of one when it is full reads on when others are done.

    None is refused for want of room, since its function has run: it waits, and its deadline with it. The one that came
    first is always read on, so that they never wait for each other; what it may have comes on top.

    :param most_bytes: of all together; None: as many as come.
    """

    def __init__(self, most_bytes: int | None) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        # In the order of their coming.
        self._held: dict[Reader, int] = {}
        self._paused: dict[Reader, None] = {}

    def hold(self, reader: Reader, size_bytes: int) -> None:
        """A reader has so much of a response by now."""
        if self._most_bytes is None or size_bytes <= FREE_BYTES:
            return
        self._bytes += size_bytes - self._held.get(reader, 0)
        self._held[reader] = size_bytes
        if self._bytes > self._most_bytes and reader is not next(iter(self._held)) and reader not in self._paused:
            self._paused[reader] = None
            reader.pause()

    def leave(self, reader: Reader) -> None:
        """The reader's response is handed on, or given up."""
        size_bytes = self._held.pop(reader, None)
        if size_bytes is None or self._most_bytes is None:
            return
        self._bytes -= size_bytes
        if reader in self._paused:  # TLS had decrypted the rest of it already
            del self._paused[reader]
            reader.resume()
        if self._bytes <= self._most_bytes:
            paused, self._paused = self._paused, {}
            for each in paused:
                each.resume()
        elif (first := next(iter(self._held))) in self._paused:
            del self._paused[first]
            first.resume()
