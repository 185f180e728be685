"""How long to wait before something is tried again."""

from __future__ import annotations

from random import Random, SystemRandom


class Backoff:
    """
    Doubling delays up to a cap, each one shortened by up to half at random.

    The jitter keeps a fleet of clients from coming back to a restarted server in one moment. The delay itself is
    doubled, not a power of two computed from a count: a count that grows for weeks would overflow a float.

    :param random: for tests; the operating system's otherwise.
    """

    def __init__(self, first_s: float, max_s: float, random: Random | None = None) -> None:
        self._random = random or SystemRandom()
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
