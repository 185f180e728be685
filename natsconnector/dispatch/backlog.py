"""Which call is next, and how much may wait. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What takes room."""

    @property
    def size_bytes(self) -> int: ...


class Waiting(Sized, Protocol):
    """What the backlog has to know of a call that waits."""

    @property
    def function(self) -> str:
        """The function's name, by which its calls are counted."""

    @property
    def max_inflight(self) -> int | None:
        """How many calls of its function may be in flight; None: as many as there are slots."""

    def park(self, parked: bool) -> None:
        """Told when the call begins, and ceases, to wait for others of its function."""


J = TypeVar("J", bound=Waiting)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work is taken on."""

    inflight: int = 100
    """Calls at the gateway at once."""
    pending_messages: int = 65536
    pending_bytes: int = 64 << 20
    """Of payload, among what is pending."""
    max_wait_s: float | None = None
    """In the backlog; a message that waited longer is not called any more."""


class Backlog(Generic[J]):
    """
    Calls that wait for a slot, in the order in which they came.

    A call of a function that has as many in flight as it may is passed over: it waits for one of those, and holds no
    slot meanwhile. What waits for anything else, such as its next attempt, is counted by :meth:`set_aside`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ready: deque[J] = deque()
        self._by_function: dict[str, deque[J]] = {}
        self._running: Counter[str] = Counter()
        self.inflight = 0
        self.pending = 0
        self.pending_bytes = 0

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether another call may come, as far as that can be told before it is known of which function."""
        return self._has_free_slot() or self.may_wait(size_bytes)

    def has_room(self, job: J) -> bool:
        """Whether a call may come: it can be made now, or may wait."""
        is_free = job.max_inflight is None or self._running[job.function] < job.max_inflight
        return (is_free and self._has_free_slot()) or self.may_wait(job.size_bytes)

    @property
    def is_relieved(self) -> bool:
        """Whether at most half of what may be pending is; of what may be in flight, where nothing may wait."""
        limits = self._limits
        if not limits.pending_messages:
            return 2 * self.inflight <= limits.inflight
        return 2 * self.pending <= limits.pending_messages and 2 * self.pending_bytes <= limits.pending_bytes

    def may_wait(self, size_bytes: int) -> bool:
        """Whether what is pending leaves room for more of it."""
        return (
            self.pending < self._limits.pending_messages
            and self.pending_bytes + size_bytes <= self._limits.pending_bytes
        )

    def _has_free_slot(self) -> bool:
        return self.inflight + len(self._ready) < self._limits.inflight

    def add(self, job: J) -> None:
        """Let a call wait for its slot."""
        self.set_aside(job)
        self._ready.append(job)

    def take(self) -> J | None:
        """The next call that may be made, out of the backlog; None when no slot is free, or none may be made."""
        while self._ready and self.inflight < self._limits.inflight:
            job = self._ready.popleft()
            if job.max_inflight is None or self._running[job.function] < job.max_inflight:
                self.take_back(job)
                return job
            self._by_function.setdefault(job.function, deque()).append(job)
            job.park(True)
        return None

    def begin(self, job: J) -> None:
        """A call is made."""
        self.inflight += 1
        self._running[job.function] += 1

    def end(self, job: J) -> None:
        """A call has ended: its slot is free, and so is its place among those of its function."""
        self.inflight -= 1
        self._running[job.function] -= 1
        if not self._running[job.function]:
            del self._running[job.function]
        self.skip(job)

    def skip(self, job: J) -> None:
        """A call that was taken is not made, or has ended: the next of its function is."""
        waiting = self._by_function.get(job.function)
        if waiting:
            # It came before all that is there, or it would not have been passed over.
            next_one = waiting.popleft()
            next_one.park(False)
            self._ready.appendleft(next_one)
            if not waiting:
                del self._by_function[job.function]

    def set_aside(self, job: Sized) -> None:
        """Count a call as pending that waits elsewhere."""
        self.pending += 1
        self.pending_bytes += job.size_bytes

    def take_back(self, job: Sized) -> None:
        """It waits elsewhere no more."""
        self.pending -= 1
        self.pending_bytes -= job.size_bytes

    def clear(self) -> Iterator[J]:
        """Empty the backlog; gives what was in it."""
        left = [*self._ready, *(job for waiting in self._by_function.values() for job in waiting)]
        self._ready.clear()
        self._by_function.clear()
        for job in left:
            self.take_back(job)
            yield job
