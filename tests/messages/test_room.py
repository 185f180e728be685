"""Tests of the room that consumers share."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.messages.room import Room


class RoomTests(SynchronousTestCase):
    """Two consumers."""

    def setUp(self) -> None:
        self.woken: list[str] = []
        self.one, self.other = lambda: self.woken.append("one"), lambda: self.woken.append("other")
        self.room = Room(4)
        self.room.enter()
        self.room.enter()

    def test_shares(self) -> None:
        """Each may ask for its part of what is free, and for one at least."""
        self.assertEqual(self.room.share(self.one), 2)
        for _ in range(3):
            self.room.take(1)
        self.assertEqual((self.room.share(self.one), self.room.share(self.other)), (1, 1))

    def test_waits(self) -> None:
        """Who finds no room is told when there is, once."""
        for _ in range(5):
            self.room.take(1)
        self.assertEqual((self.room.share(self.one), self.room.share(self.other)), (0, 0))
        self.room.give_back(1)
        self.assertEqual(self.woken, [])
        self.room.give_back(1)
        self.assertEqual(self.woken, ["one", "other"])
        self.room.give_back(1)
        self.assertEqual(self.woken, ["one", "other"])

    def test_leaves(self) -> None:
        """Who asks for no more is not told, and the others have its part."""
        for _ in range(4):
            self.room.take(1)
        self.room.share(self.one)
        self.room.share(self.other)
        self.room.leave(self.one)
        self.room.give_back(1)
        self.room.give_back(1)
        self.assertEqual(self.woken, ["other"])
        self.assertEqual(self.room.share(self.other), 2)

    def test_held_back(self) -> None:
        """What waits for its function's limit makes room, for all."""
        for _ in range(4):
            self.room.take(1)
        self.room.share(self.one)
        self.room.hold_back(1)
        self.assertEqual((self.woken, self.room.free), (["one"], 1))
        self.room.go_on(1)
        self.assertEqual(self.room.free, 0)
