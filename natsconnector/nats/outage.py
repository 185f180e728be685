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


class _Group:
    def __init__(self, now_s: float, least_gap_s: float) -> None:
        self.outage = Outage(now_s, least_gap_s)
        self.count = 0
        self.last_s = now_s


class Tally:
    """
    Counts, by kind, what may happen thousands of times, and says when to tell it.

    The kinds come from outside, so only some are kept apart; all others are counted together.

    :param least_gap_s: between two lines about one kind.
    """

    _MOST_KINDS = 8
    _FORGET_S = 600.0
    _OTHERS = ""

    def __init__(self, least_gap_s: float = 60.0) -> None:
        self._least_gap_s = least_gap_s
        self._groups: dict[str, _Group] = {}

    def count(self, kind: str, now_s: float) -> int | None:
        """Count one; how many there were since the last line, if there is to be a line now."""
        group = self._group(kind, now_s)
        group.count += 1
        group.last_s = now_s
        if not group.outage.is_news("", now_s):
            return None
        counted, group.count = group.count, 0
        return counted

    def _group(self, kind: str, now_s: float) -> _Group:
        if kind not in self._groups:
            if len(self._groups) >= self._MOST_KINDS:
                old = [name for name, group in self._groups.items() if now_s - group.last_s > self._FORGET_S]
                for name in old:
                    del self._groups[name]
            if len(self._groups) >= self._MOST_KINDS:
                kind = self._OTHERS
        return self._groups.setdefault(kind, _Group(now_s, self._least_gap_s))
