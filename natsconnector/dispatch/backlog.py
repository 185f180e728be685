"""Which call is next, and how much may wait. Pure."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from natsconnector.model.limits import Limits


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

    @property
    def is_held_back(self) -> bool: ...

    def hold_back(self, held_back: bool) -> None:
        """Told when the function's own limit begins, and ceases, to hold the call back."""


J = TypeVar("J", bound=Waiting)


class Backlog(Generic[J]):
    """
    Calls that wait for a slot. Each free slot goes to the function that has the fewest calls in flight among those
    with calls waiting, so that no function starves another; the calls of one function go in the order of their coming.

    A function that has as many calls in flight as it may is passed over: its calls are held back, and hold no slot.
    What waits for anything else than a slot, such as its next attempt, is counted by :meth:`count_pending`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queues: dict[str, deque[J]] = {}
        self._running: Counter[str] = Counter()
        # Functions with a call that may be made, by the number of their calls in flight, in the order of their turn.
        self._turns: dict[int, dict[str, None]] = {}
        self._turn_of: dict[str, int] = {}
        self._waiting = 0
        self._held_back = 0
        self.inflight = 0
        self._inflight_bytes = 0
        self.pending = 0
        self.pending_bytes = 0

    @property
    def most_bytes(self) -> int:
        """How many bytes may be pending."""
        return self._limits.pending_bytes

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether another call may come, as far as that can be told before it is known of which function."""
        return self._has_free_slot(size_bytes) or self.may_wait(size_bytes)

    def has_room(self, job: J) -> bool:
        """Whether a call may come: it can be made now, or may wait."""
        return (not self._is_at_limit(job) and self._has_free_slot(job.size_bytes)) or self.may_wait(job.size_bytes)

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

    @property
    def busiest(self) -> tuple[str, int] | None:
        """The function with the most calls in flight, and how many; None when there are none."""
        return max(self._running.items(), key=lambda item: item[1], default=None)

    @property
    def inflight_by_function(self) -> Mapping[str, int]:
        """How many calls of each function are in flight, of those that have any."""
        return self._running

    def first_of_each(self) -> Iterator[J]:
        """Of each function with calls waiting the one that waits longest."""
        return (queue[0] for queue in self._queues.values())

    def begin(self, job: J) -> bool:
        """Give a call a slot at once, where none waits; False if it has to wait."""
        if self._turns or not self._fits(job.size_bytes) or job.function in self._queues:
            return False
        running = self._running[job.function]
        if job.max_inflight is not None and running >= job.max_inflight:
            return False
        self._running[job.function] = running + 1
        self.inflight += 1
        self._inflight_bytes += job.size_bytes
        return True

    def add(self, job: J) -> None:
        """Let a call wait for its slot."""
        self.count_pending(job)
        self._waiting += 1
        if self._is_at_limit(job):
            self._hold_back(job, True)
        queue = self._queues.get(job.function)
        if queue is not None:
            queue.append(job)
        else:
            self._queues[job.function] = deque([job])
            self._place(job.function)

    def next_job(self) -> J | None:
        """The next call to be made, in flight from now on; None when no slot is free, or none may be made."""
        if not self._turns:
            return None
        function = next(iter(self._turns[min(self._turns)]))
        queue = self._queues[function]
        if not self._fits(queue[0].size_bytes):
            return None
        job = queue.popleft()
        self._left(job)
        self.inflight += 1
        self._inflight_bytes += job.size_bytes
        self._running[function] += 1
        self._place(function)
        return job

    def end(self, job: J) -> None:
        """A call is no longer in flight: its slot is free, and so is its place in the limit of its function."""
        function = job.function
        self.inflight -= 1
        self._inflight_bytes -= job.size_bytes
        self._running[function] -= 1
        if not self._running[function]:
            del self._running[function]
        queue = self._queues.get(function)
        if queue is not None:
            if queue[0].max_inflight is not None and 0 < (allowed := self._within_limit(queue[0])) <= len(queue):
                self._hold_back(queue[allowed - 1], False)
            self._place(function)

    def limit_changed(self, function: str) -> None:
        """As many calls of a function may be made as its limit allows now."""
        queue = self._queues.get(function)
        if queue is None:
            return
        allowed = self._within_limit(queue[0])
        for number, job in enumerate(queue):
            if number >= allowed and job.is_held_back:
                break  # and so are those behind it
            self._hold_back(job, number >= allowed)
        self._place(function)

    def count_pending(self, job: Sized) -> None:
        """Count what waits elsewhere, for its next attempt for one, against the bounds of what is pending."""
        self.pending += 1
        self.pending_bytes += job.size_bytes

    def uncount_pending(self, job: Sized) -> None:
        """Stop to count what waited elsewhere."""
        self.pending -= 1
        self.pending_bytes -= job.size_bytes

    def take_out(self, which: Callable[[J], bool]) -> list[J]:
        """Remove the calls for which ``which`` is true, and return them."""
        taken: list[J] = []
        for function, queue in list(self._queues.items()):
            out = [job for job in queue if which(job)]
            if out:
                kept = deque(job for job in queue if not which(job))
                if kept:
                    self._queues[function] = kept
                else:
                    del self._queues[function]
                taken += out
                self._release(function)
                self._place(function)
        for job in taken:
            self._left(job)
        return taken

    def _release(self, function: str) -> None:
        """Hold back no call of a function that could be made if it had a slot."""
        queue = self._queues.get(function, ())
        for job in itertools.islice(queue, self._within_limit(queue[0]) if queue else 0):
            self._hold_back(job, False)

    def _within_limit(self, job: J) -> int:
        """How many further calls of a job's function its limit allows."""
        running = self._running[job.function]
        return self._limits.inflight if job.max_inflight is None else max(0, job.max_inflight - running)

    def _left(self, job: J) -> None:
        """A call waits here no more."""
        self._waiting -= 1
        self.uncount_pending(job)
        self._hold_back(job, False)
        if not self._queues.get(job.function, True):
            del self._queues[job.function]

    def _has_free_slot(self, size_bytes: int) -> bool:
        return self.inflight + self._waiting - self._held_back < self._limits.inflight and (
            not (self.inflight or self._waiting)
            or self._inflight_bytes + self.pending_bytes + size_bytes <= self._limits.pending_bytes
        )

    def _fits(self, size_bytes: int) -> bool:
        """Whether a slot is free, and what is in flight leaves room for more of it; a single call always has some."""
        return self.inflight < self._limits.inflight and (
            not self.inflight or self._inflight_bytes + size_bytes <= self._limits.pending_bytes
        )

    def _is_at_limit(self, job: J) -> bool:
        if job.max_inflight is None:
            return False
        return len(self._queues.get(job.function, ())) >= self._within_limit(job)

    def _hold_back(self, job: J, held_back: bool) -> None:
        if held_back is not job.is_held_back:
            self._held_back += 1 if held_back else -1
            job.hold_back(held_back)

    def _place(self, function: str) -> None:
        """Give a function its turn by the number of its calls in flight; none, if no call of it may be made."""
        before = self._turn_of.pop(function, None)
        if before is not None:
            turns = self._turns[before]
            del turns[function]
            if not turns:
                del self._turns[before]
        queue = self._queues.get(function)
        if queue is None:
            return
        if self._within_limit(queue[0]):
            running = self._running[function]
            self._turns.setdefault(running, {})[function] = None
            self._turn_of[function] = running
