"""Something that is out of order for a while, and is to be told rarely."""

from __future__ import annotations


class Outage:
    """
    When something has ceased to work, and what was told of it.

    An outage is news when it begins, when its reason changes, and each time it has lasted twice as long: a thousand
    failures of a second give one line, those of a month some twenty.

    :param began_s: the time now.
    :param least_gap_s: between two lines with the same reason.
    """

    def __init__(self, began_s: float, least_gap_s: float = 1.0) -> None:
        self.began_s = began_s
        self._least_gap_s = least_gap_s
        self._told: object = None
        self._again_s = 0.0

    def lasted_s(self, now_s: float) -> float:
        """How long it has lasted."""
        return now_s - self.began_s

    def is_news(self, reason: object, now_s: float) -> bool:
        """Whether to tell this reason now; whoever asks has to tell it then."""
        lasted_s = self.lasted_s(now_s)
        if reason == self._told and lasted_s < self._again_s:
            return False
        self._told = reason
        self._again_s = max(2 * lasted_s, lasted_s + self._least_gap_s)
        return True

    @property
    def told(self) -> bool:
        """Whether anything was told of it."""
        return self._told is not None
