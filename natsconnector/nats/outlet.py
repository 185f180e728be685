"""The one ordered way out of a connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from natsconnector.nats.outbound import OutboundBuffer
from natsconnector.nats.status import Statistics

#: What one turn of the reactor may collect; more is given to the transport at once, so that it can say stop.
_MOST_PENDING_BYTES = 65536


@implementer(IPushProducer)
class Outlet:
    """
    Takes whole frames to a transport, in order.

    What is sent in one turn of the reactor is written as one piece, at its end: the transport's own work for each write
    costs more than everything before it.

    The outlet is a push producer of its transport: while the peer does not read, frames wait in the buffer. The buffer
    outlives the connection; what waits there when the connection ends is for the next one.
    """

    def __init__(self, clock: IReactorTime, buffer: OutboundBuffer, statistics: Statistics) -> None:
        self._clock = clock
        self._buffer = buffer
        self._statistics = statistics
        self._transport: Any = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._flushing: IDelayedCall | None = None
        self._waiting = False
        self._closed = False
        #: Whether the peer does not read.
        self.paused = False

    def open(self, transport: Any) -> None:
        """The transport is there."""
        self._transport = transport
        transport.registerProducer(self, True)

    def publish(self, frame: bytes, size_bytes: int) -> None:
        """
        Send a message after everything before it.

        :param size_bytes: of headers and payload.
        :raises OutboundBufferFull: the peer does not read, and the buffer is full.
        """
        if self._waiting:
            self._buffer.add(frame, size_bytes)
            return
        # These lines are those of _write, without the cost of a call.
        self._pending.append(frame)
        self._pending_bytes += len(frame)
        if self._flushing is None or self._pending_bytes >= _MOST_PENDING_BYTES:
            self._soon()

    def forward(self, frame: bytes, size_bytes: int) -> None:
        """Send a message that has waited already, and is not to be refused now."""
        if self._waiting:
            self._buffer.add_message(frame, size_bytes)
        else:
            self._write(frame)

    def send(self, frame: bytes) -> None:
        """Send any other frame after everything before it; nothing once the outlet is closed."""
        if not self._waiting:
            self._write(frame)
        elif not self._closed:
            self._buffer.add_control(frame)

    def flush(self) -> None:
        """Give to the transport what was sent in this turn."""
        if self._flushing is not None:
            if self._flushing.active():
                self._flushing.cancel()
            self._flushing = None
        if self._pending:
            pending, self._pending = self._pending, []
            self._pending_bytes = 0
            self._write_all(pending)

    def stop(self) -> None:
        """Write nothing more: messages wait for the next connection, all other frames are dropped."""
        self.flush()
        self._closed = self._waiting = True

    def close(self) -> None:
        """Hand everything to the transport that still waits, and stop."""
        self.stop()
        self._transport.unregisterProducer()
        while self._buffer:
            self._write_all(self._buffer.take(_MOST_PENDING_BYTES))

    # What the transport says

    def pauseProducing(self) -> None:
        self.paused = self._waiting = True

    def resumeProducing(self) -> None:
        if self._closed:
            return
        self.paused = self._waiting = False
        # A write may pause this producer again.
        while self._buffer and not self.paused:
            self._write_all(self._buffer.take(_MOST_PENDING_BYTES))

    def stopProducing(self) -> None:
        """The transport is gone; the connection is told by connectionLost."""

    def _write(self, frame: bytes) -> None:
        self._pending.append(frame)
        self._pending_bytes += len(frame)
        if self._flushing is None or self._pending_bytes >= _MOST_PENDING_BYTES:
            self._soon()

    def _soon(self) -> None:
        if self._pending_bytes >= _MOST_PENDING_BYTES:
            self.flush()
        else:
            self._flushing = self._clock.callLater(0, self.flush)

    def _write_all(self, frames: list[bytes]) -> None:
        data = b"".join(frames)
        self._statistics.out_bytes += len(data)
        self._transport.write(data)
