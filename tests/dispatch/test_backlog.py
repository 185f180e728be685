"""Tests of which call is next."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.dispatch.backlog import Backlog, Limits


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

    def test_room_for_a_function(self) -> None:
        """A free slot is no room for a call of a function at its limit, which would wait all the same."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=3, pending_messages=1))
        job = Job("x", max_inflight=1)
        self.assertTrue(backlog.has_room(job))
        for _ in range(2):
            backlog.add(job)
        self.assertEqual(self.taken(backlog), ["x"])
        self.assertFalse(backlog.has_room(job))
        self.assertTrue(backlog.has_room(Job("y", max_inflight=1)))
        for _ in range(2):
            backlog.add(Job("y"))
        self.assertFalse(backlog.has_room(Job("y")), "others are before it")

    def test_relieved(self) -> None:
        """At half of the messages and half of the bytes; where nothing may wait, at half of the slots."""
        backlog: Backlog[Job] = Backlog(Limits(pending_messages=4, pending_bytes=40))
        backlog.set_aside(Job("a", size_bytes=20))
        self.assertTrue(backlog.is_relieved)
        backlog.set_aside(Job("a", size_bytes=1))
        self.assertFalse(backlog.is_relieved)
        backlog = Backlog(Limits(inflight=2, pending_messages=0))
        backlog.begin(Job("a"))
        self.assertTrue(backlog.is_relieved)
        backlog.begin(Job("a"))
        self.assertFalse(backlog.is_relieved)

    def test_skip(self) -> None:
        """A call that is taken but not made gives its turn to the next of its function."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=2))
        jobs = [Job("x", max_inflight=1) for _ in range(3)]
        for job in jobs:
            backlog.add(job)
        self.assertEqual(self.taken(backlog), ["x"])
        backlog.end(jobs[0])
        self.assertEqual(backlog.take(), jobs[1])
        backlog.skip(jobs[1])
        self.assertEqual((backlog.take(), backlog.pending), (jobs[2], 0))

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
