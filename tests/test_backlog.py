"""Tests of which call is next."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.backlog import Backlog, Limits


@dataclass(eq=False)
class Job:
    function: str
    size_bytes: int = 10
    max_inflight: int | None = None
    parked: bool = False

    def park(self, parked: bool) -> None:
        self.parked = parked


class BacklogTests(SynchronousTestCase):
    """Slots, order, limits."""

    def taken(self, backlog: Backlog[Job]) -> list[str]:
        """Take and begin all that may be made."""
        functions = []
        while (job := backlog.take()) is not None:
            backlog.begin(job)
            functions.append(job.function)
        return functions

    def test_order_and_slots(self) -> None:
        """First come, first called, as slots get free."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=2))
        jobs = [Job(name) for name in "abc"]
        for job in jobs:
            backlog.add(job)
        self.assertEqual((self.taken(backlog), backlog.pending, backlog.pending_bytes), (["a", "b"], 1, 10))
        backlog.end(jobs[0])
        self.assertEqual((self.taken(backlog), backlog.pending, backlog.pending_bytes), (["c"], 0, 0))

    def test_function_at_its_limit(self) -> None:
        """Its calls are passed over, hold no slot, and come in their order when one of them has ended."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=3))
        limited = [Job("x", size_bytes=n, max_inflight=1) for n in range(3)]
        for job in (*limited, Job("a"), Job("b")):
            backlog.add(job)
        self.assertEqual(self.taken(backlog), ["x", "a", "b"])
        self.assertEqual([job.parked for job in limited], [False, True, True])
        backlog.end(limited[0])
        self.assertEqual(backlog.take(), limited[1])
        backlog.begin(limited[1])
        self.assertEqual([job.parked for job in limited], [False, False, True])
        self.assertIsNone(backlog.take())

    def test_room(self) -> None:
        """Bounded in messages and bytes; a free slot takes anything."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=1, pending_messages=2, pending_bytes=25))
        self.assertTrue(backlog.has_room_for(1000))
        backlog.begin(Job("a"))
        self.assertFalse(backlog.has_room_for(1000))
        backlog.add(Job("b"))
        self.assertTrue(backlog.has_room_for(15))
        self.assertFalse(backlog.has_room_for(16))
        backlog.set_aside(Job("c"))
        self.assertFalse(backlog.has_room_for(1))

    def test_clear(self) -> None:
        """Everything that waits comes out once, whatever it waits for, and the counts are right."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=2))
        for function in "xxa":
            backlog.add(Job(function, max_inflight=1))
        self.assertEqual(self.taken(backlog), ["x", "a"])
        for function in "xb":
            backlog.add(Job(function, max_inflight=1))
        self.assertEqual(sorted(job.function for job in backlog.clear()), ["b", "x", "x"])
        self.assertEqual((backlog.pending, backlog.pending_bytes), (0, 0))
