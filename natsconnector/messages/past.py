"""The messages of a stream that a connector had in hand and has no more."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

Name = tuple[int, int]
"""What tells a message from all others: its sequence in the stream, and when it was published, in ns since 1970."""

_MOST_DONE = 65536
_MOST_GIVEN_BACK = 10_000


class Past:
    """
    What was ended here and may come again all the same, since its acknowledgement was lost, or the consumer was removed
    and made again; and what was given back for another attempt, which may be made anywhere.
    """

    def __init__(self) -> None:
        # Sequences in the order in which their messages ended.
        self._done: dict[Name, bytes] = {}
        self._given_back: set[Name] = set()

    def done(self, name: Name, acknowledgement: bytes) -> None:
        """A message was ended by this acknowledgement."""
        self._done[name] = acknowledgement
        if len(self._done) > _MOST_DONE:
            del self._done[next(iter(self._done))]

    def given_back(self, name: Name) -> None:
        """A message goes back to its stream."""
        if len(self._given_back) < _MOST_GIVEN_BACK:
            self._given_back.add(name)

    def came(self, name: Name) -> bytes | None:
        """A message is delivered: the acknowledgement that it was ended by before, if it was."""
        self._given_back.discard(name)
        return self._done.get(name)

    def forget_up_to(self, sequence: int) -> None:
        """The server has all acknowledgements up to this sequence of the stream: those messages do not come again."""
        if self._done:
            self._done = {name: done for name, done in self._done.items() if name[0] > sequence}
        if self._given_back:
            self._given_back = {name for name in self._given_back if name[0] > sequence}

    def forget_given_back(self) -> None:
        """The stream is another one."""
        self._given_back.clear()

    def oldest_ns(self, in_hand: Iterable[Name]) -> int | None:
        """When the oldest message was published that is in hand or was given back, in ns since 1970; None: none."""
        return min((published_ns for _, published_ns in chain(in_hand, self._given_back)), default=None)
