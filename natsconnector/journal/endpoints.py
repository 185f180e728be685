"""How many messages of each subject that is listened on have ended, and how long they took. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from natsconnector.journal.failures import reason
from natsconnector.model.ending import Ending
from natsconnector.model.subjects import SubjectMap

# Publishers choose concrete subjects: only so many are remembered, and none that is longer than that.
_MOST_KNOWN = 1000
_LONGEST_KNOWN = 200


class EndpointCalls:
    """
    What came of the messages of one subscription subject.

    :ivar requests: calls that have ended, and messages that were none; a message for several functions is several.
    :ivar errors: how many of them failed for good.
    :ivar last_error: why the last of those did; empty before the first.
    :ivar elapsed_s: from the message's arrival to the end, of all together.
    """

    __slots__ = ("elapsed_s", "errors", "last_error", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.last_error = ""
        self.elapsed_s = 0.0


class Endpoints:
    """By subscription subject. Nothing is counted before :meth:`listen_on`."""

    def __init__(self) -> None:
        self._calls: dict[str, EndpointCalls] = {}
        self._patterns: SubjectMap[EndpointCalls] | None = None
        self._by_subject: dict[str, EndpointCalls] = {}

    def listen_on(self, patterns: Iterable[str]) -> None:
        """Count by these subscription subjects, and forget what was counted by others."""
        self._by_subject.clear()
        self._calls = {pattern: self._calls.get(pattern) or EndpointCalls() for pattern in patterns}
        self._patterns = SubjectMap()
        for pattern, calls in self._calls.items():
            self._patterns.add(pattern, calls)

    def of(self, pattern: str) -> EndpointCalls:
        """What came of the messages of a subscription subject."""
        return self._calls.get(pattern) or EndpointCalls()

    def ended(self, ending: Ending) -> None:
        """A message reached its end."""
        if self._patterns is None:
            return
        subject = ending.delivery.subject
        calls = self._by_subject.get(subject)
        if calls is None:
            calls = self._find(self._patterns, subject)
        calls.requests += 1
        calls.elapsed_s += ending.elapsed_s
        if not ending.outcome.ok:
            calls.errors += 1
            calls.last_error = reason(ending.outcome, is_call=ending.call is not None)

    def _find(self, patterns: SubjectMap[EndpointCalls], subject: str) -> EndpointCalls:
        # Subjects that overlap count for the one that was named first. What comes late, after its subject has gone,
        # counts for nobody.
        found = patterns.match(subject)
        calls = found[0] if found else EndpointCalls()
        if len(subject) <= _LONGEST_KNOWN:
            if len(self._by_subject) >= _MOST_KNOWN:
                self._by_subject.clear()
            self._by_subject[subject] = calls
        return calls
