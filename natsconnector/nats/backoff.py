"""How long to wait between rounds of attempts to connect."""

from __future__ import annotations

from random import Random


class Backoff:
    """Doubling delays up to a cap, each one shortened by up to half at random.

    The jitter keeps a fleet of clients from coming back to a restarted server in one moment.
    """

    def __init__(self, random: Random, first_s: float, max_s: float) -> None:
        self._random = random
        self._first_s = first_s
        self._max_s = max_s
        self._ceiling_s = first_s

    def next_s(self) -> float:
        """The next delay."""
        ceiling_s = self._ceiling_s
        self._ceiling_s = min(ceiling_s * 2, self._max_s)
        return ceiling_s * self._random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin again with the first delay."""
        self._ceiling_s = self._first_s
