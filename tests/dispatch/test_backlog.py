"""Tests of which call is next."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.dispatch.backlog import Backlog
from natsconnector.model.limits import Limits


@dataclass(eq=False)
class Job:
    function: str
    size_bytes: int = 10
    max_inflight: int | None = None
    is_held_back: bool = False

    def hold_back(self, held_back: bool) -> None:
        self.is_held_back = held_back


class BacklogTests(SynchronousTestCase):
    """Slots, order, limits."""

    def taken(self, backlog: Backlog[Job]) -> list[str]:
        """Take all that may be made."""
        functions = []
        while (job := backlog.next_job()) is not None:
            functions.append(job.function)
        return functions

    def begin(self, backlog: Backlog[Job], job: Job) -> None:
        """Make one call."""
        backlog.add(job)
        self.assertIs(backlog.next_job(), job)

    def test_order_and_slots(self) -> None:
        """First come, first called, as slots get free."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=2))
        jobs = [Job(name) for name in "abc"]
        for job in jobs:
            backlog.add(job)
        self.assertEqual((self.taken(backlog), backlog.pending, backlog.pending_bytes), (["a", "b"], 1, 10))
        backlog.end(jobs[0])
        self.assertEqual((self.taken(backlog), backlog.pending, backlog.pending_bytes), (["c"], 0, 0))

    def test_bytes_in_flight(self) -> None:
        """What is in flight is bounded in bytes, too; one call is always made, and a small one finds a place."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=9, pending_bytes=100))
        large, other, small = Job("a", size_bytes=101), Job("a", size_bytes=60), Job("b", size_bytes=40)
        self.assertTrue(backlog.begin(large))
        self.assertFalse(backlog.begin(other))
        backlog.add(other)
        self.assertEqual((self.taken(backlog), backlog.has_room(Job("c", size_bytes=41))), ([], False))
        backlog.end(large)
        self.assertEqual(self.taken(backlog), ["a"])
        self.assertTrue(backlog.begin(small))
        self.assertFalse(backlog.begin(Job("c", size_bytes=1)))
        backlog.end(small)
        backlog.end(other)
        self.assertTrue(backlog.begin(Job("c", size_bytes=100)), "the count is back at nothing")

    def test_bytes_while_nothing_is_in_flight(self) -> None:
        """What waits for a gateway that is away is bounded in bytes as well."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=9, pending_bytes=100))
        backlog.add(Job("a", size_bytes=90))
        self.assertTrue(backlog.has_room(Job("a", size_bytes=10)))
        self.assertFalse(backlog.has_room(Job("a", size_bytes=11)))

    def test_without_a_limit(self) -> None:
        """What waits for a slot only is not held back, however many there are."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=2))
        jobs = [Job("a") for _ in range(5)]
        for job in jobs:
            backlog.add(job)
        self.assertEqual(self.taken(backlog), ["a", "a"])
        self.assertEqual([job.is_held_back for job in jobs], [False] * 5)

    def test_function_at_its_limit(self) -> None:
        """Its calls are passed over, hold no slot, and come in their order when one of them has ended."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=3))
        limited = [Job("x", size_bytes=n, max_inflight=1) for n in range(3)]
        for job in (*limited, Job("a"), Job("b")):
            backlog.add(job)
        self.assertEqual(self.taken(backlog), ["x", "a", "b"])
        self.assertEqual([job.is_held_back for job in limited], [False, True, True])
        backlog.end(limited[0])
        self.assertEqual(backlog.next_job(), limited[1])
        self.assertEqual([job.is_held_back for job in limited], [False, False, True])
        self.assertIsNone(backlog.next_job())

    def test_room(self) -> None:
        """Bounded in messages and bytes; a free slot takes anything."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=1, pending_messages=2, pending_bytes=25))
        self.assertTrue(backlog.has_room_for(1000))
        self.begin(backlog, Job("a"))
        self.assertFalse(backlog.has_room_for(1000))
        backlog.add(Job("b"))
        self.assertTrue(backlog.has_room_for(15))
        self.assertFalse(backlog.has_room_for(16))
        backlog.count_pending(Job("c"))
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

    def test_room_beside_calls_held_back(self) -> None:
        """What its function holds back takes no slot from the others."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=2, pending_messages=2))
        for _ in range(3):
            backlog.add(Job("x", max_inflight=1))
        self.assertEqual(self.taken(backlog), ["x"])
        self.assertTrue(backlog.has_room(Job("y")))
        self.begin(backlog, Job("y"))
        self.assertFalse(backlog.has_room(Job("y")))

    def test_relieved(self) -> None:
        """At half of the messages and half of the bytes; where nothing may wait, at half of the slots."""
        backlog: Backlog[Job] = Backlog(Limits(pending_messages=4, pending_bytes=40))
        backlog.count_pending(Job("a", size_bytes=20))
        self.assertTrue(backlog.is_relieved)
        backlog.count_pending(Job("a", size_bytes=1))
        self.assertFalse(backlog.is_relieved)
        backlog = Backlog(Limits(pending_messages=4, pending_bytes=4000))
        for relieved in (True, True, False, False):
            backlog.count_pending(Job("a"))
            self.assertIs(backlog.is_relieved, relieved)
        backlog = Backlog(Limits(inflight=2, pending_messages=0))
        self.begin(backlog, Job("a"))
        self.assertTrue(backlog.is_relieved)
        self.begin(backlog, Job("a"))
        self.assertFalse(backlog.is_relieved)

    def test_taken_but_not_made(self) -> None:
        """A call that is taken but not made gives its turn to the next of its function."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=2))
        jobs = [Job("x", max_inflight=1) for _ in range(3)]
        for job in jobs:
            backlog.add(job)
        for job in jobs:
            self.assertIs(backlog.next_job(), job)
            self.assertIsNone(backlog.next_job())
            backlog.end(job)
        self.assertEqual((backlog.inflight, backlog.pending), (0, 0))

    def test_fair_shares(self) -> None:
        """A free slot goes to the function with the fewest calls in flight: a slow one starves nobody."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=4))
        slow = [Job("slow") for _ in range(9)]
        for job in slow:
            backlog.add(job)
        self.assertEqual(self.taken(backlog), ["slow"] * 4)
        for name in ("fast", "fast", "other"):
            backlog.add(Job(name))
        backlog.end(slow[0])
        self.assertEqual(self.taken(backlog), ["fast"])
        backlog.end(slow[1])
        self.assertEqual(self.taken(backlog), ["other"])
        backlog.end(slow[2])
        self.assertEqual(self.taken(backlog), ["fast"], "one call in flight each: the turn is that of who waits longer")
        self.assertEqual(backlog.busiest, ("fast", 2))
        backlog.end(slow[3])
        self.assertEqual(self.taken(backlog), ["slow"])

    def test_raised_limit(self) -> None:
        """Calls that a function's limit holds back are made one by one as its calls end, in their order."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=9))
        jobs = [Job("x", size_bytes=n, max_inflight=2) for n in range(6)]
        for job in jobs:
            backlog.add(job)
        self.assertEqual(self.taken(backlog), ["x", "x"])
        self.assertEqual([job.is_held_back for job in jobs], [False] * 2 + [True] * 4)
        backlog.end(jobs[0])
        self.assertEqual([job.is_held_back for job in jobs], [False] * 3 + [True] * 3)
        self.assertIs(backlog.next_job(), jobs[2])
        backlog.end(jobs[1])
        backlog.end(jobs[2])
        self.assertEqual([job.is_held_back for job in jobs], [False] * 5 + [True])

    def test_limit_that_changes(self) -> None:
        """Of the calls that wait just those are held back that the limit of the moment does not allow."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=9))
        jobs = [Job("x", max_inflight=2) for _ in range(9)]
        for job in jobs:
            backlog.add(job)
        self.assertEqual(self.taken(backlog), ["x", "x"])
        for limit, held in ((5, 4), (3, 6), (1, 7), (0, 7), (9, 0), (2, 7)):
            for job in jobs:
                job.max_inflight = limit
            backlog.limit_changed("x")
            self.assertEqual([job.is_held_back for job in jobs[2:]], [False] * (7 - held) + [True] * held, limit)
            self.assertEqual(backlog._held_back, held)
            self.assertIs(bool(backlog._turns), limit > 2)
        backlog.end(jobs[0])
        for job in jobs:
            job.max_inflight = 4
        backlog.limit_changed("x")
        self.assertEqual(self.taken(backlog), ["x"] * 3)
        backlog.limit_changed("nothing waits of it")

    def test_more_allowed_than_wait(self) -> None:
        """Calls that end with fewer waiting than may be made hold nothing back."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=9))
        jobs = [Job("x", max_inflight=3) for _ in range(4)]
        for job in jobs:
            backlog.add(job)
        self.assertEqual(self.taken(backlog), ["x"] * 3)
        backlog.end(jobs[0])
        backlog.end(jobs[1])
        self.assertFalse(jobs[3].is_held_back)
        self.assertEqual(self.taken(backlog), ["x"])

    def test_names_are_forgotten(self) -> None:
        """Functions that have no call any more leave nothing behind: publishers invent names."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=2))
        for number in range(20):
            job = Job(f"f{number}", max_inflight=1)
            self.begin(backlog, job)
            backlog.end(job)
        for table in (backlog._queues, backlog._running, backlog._turns, backlog._turn_of):
            self.assertEqual(len(table), 0)

    def test_take_out_some(self) -> None:
        """Those that stay keep their order, and as many of them as may be made are held back no longer."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=9))
        jobs = [Job("x", size_bytes=n, max_inflight=2) for n in range(6)]
        for job in jobs:
            backlog.add(job)
        self.assertEqual(backlog.take_out(lambda job: job.size_bytes in (0, 2)), [jobs[0], jobs[2]])
        self.assertEqual([job.is_held_back for job in jobs], [False] * 4 + [True] * 2)
        self.assertEqual([backlog.next_job(), backlog.next_job(), backlog.next_job()], [jobs[1], jobs[3], None])

    def test_take_out(self) -> None:
        """Everything that waits comes out once, whatever it waits for, and the counts are right."""
        backlog: Backlog[Job] = Backlog(Limits(inflight=2))
        for function in "xxa":
            backlog.add(Job(function, max_inflight=1))
        self.assertEqual(self.taken(backlog), ["x", "a"])
        for function in "xb":
            backlog.add(Job(function, max_inflight=1))
        self.assertEqual(sorted(job.function for job in backlog.take_out(lambda job: True)), ["b", "x", "x"])
        self.assertEqual((backlog.pending, backlog.pending_bytes), (0, 0))
