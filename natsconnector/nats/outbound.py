"""Frames that wait to be sent."""

from __future__ import annotations

from collections import deque

from natsconnector.nats.errors import OutboundBufferFull


class OutboundBuffer:
    """
    Whole frames in order, for a connection that is away or does not read.

    Published messages outlive the connection. Control frames belong to the connection that they were meant for, and are
    not refused: losing a SUB or a PONG would do more harm than its few bytes.

    :param limit: in bytes, of messages.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames: deque[tuple[int | None, bytes]] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: bytes, payload_size: int) -> None:
        """
        Keep a published message if there is room.

        :raises OutboundBufferFull: it would go beyond the limit.
        """
        size = self.size + len(frame)
        if size > self._limit:
            raise OutboundBufferFull(self._limit)
        self.size = size
        self._frames.append((payload_size, frame))

    def add_message(self, frame: bytes, payload_size: int) -> None:
        """Keep a published message, whether there is room or not; ``payload_size`` counts its headers too."""
        self._frames.append((payload_size, frame))
        self.size += len(frame)

    def add_control(self, frame: bytes) -> None:
        """Keep any other frame."""
        self._frames.append((None, frame))
        self.size += len(frame)

    def take(self, size: int) -> list[bytes]:
        """The oldest frames: one at least, and then as many as make up this size in bytes."""
        frames: list[bytes] = []
        taken = 0
        while self._frames and taken < size:
            frame = self._frames.popleft()[1]
            taken += len(frame)
            frames.append(frame)
        self.size -= taken
        return frames

    def take_messages(self) -> list[tuple[int, bytes]]:
        """Empty the buffer: the messages as (size, frame); control frames are dropped."""
        frames, self._frames = self._frames, deque()
        self.size = 0
        return [(size, frame) for size, frame in frames if size is not None]
