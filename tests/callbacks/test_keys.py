"""Tests of the keys of callback URLs."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.callbacks.keys import Keys
from natsconnector.callbacks.seal import Key

ONE, TWO, THREE = b"1" * 32, b"2" * 32, b"3" * 32


class KeysTests(SynchronousTestCase):
    """A file that changes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.secrets: list[tuple[bytes, ...] | str] = [(ONE,)]
        self.keys = Keys(self.clock, self.read)

    def read(self) -> tuple[bytes, ...]:
        found = self.secrets[-1]
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def ids(self) -> list[bytes]:
        return [key.id for key in self.keys.all]

    def test_rotation(self) -> None:
        """A changed file counts after a few seconds: the first key seals, all open."""
        self.secrets.append((TWO, ONE))
        self.assertEqual(self.ids(), [Key(ONE).id])
        self.clock.advance(5)
        self.assertEqual(self.ids(), [Key(TWO).id, Key(ONE).id])
        self.assertEqual(self.keys.first.id, Key(TWO).id)

    def test_unusable(self) -> None:
        """While the file cannot be used the keys of before count; it is told once."""
        with capturedLogs() as logged:
            for text in ("cannot be read: gone", "cannot be read: gone", "has no key in it"):
                self.secrets.append(text)
                self.clock.advance(5)
                self.assertEqual(self.ids(), [Key(ONE).id])
        self.assertEqual(
            [formatEvent(event) for event in logged],
            [
                "the file of callback keys cannot be read: gone; the connector goes on with the keys read before",
                "the file of callback keys has no key in it; the connector goes on with the keys read before",
            ],
        )
        self.secrets.append((THREE,))
        self.clock.advance(5)
        self.assertEqual(self.ids(), [Key(THREE).id])

    def test_at_first(self) -> None:
        """At the start there has to be a key."""
        self.secrets.append("has no key in it")
        self.assertRaises(ValueError, Keys, self.clock, self.read)
