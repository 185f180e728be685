"""What became of callbacks: counts, and log lines. No line has a callback URL in it."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from natsconnector.journal.counts import Counts
from natsconnector.journal.telling import Telling


class ResultsJournal(Telling):
    """Counts and tells what becomes of the results of asynchronous calls."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, counts: Counts) -> None:
        super().__init__(clock)
        self._counts = counts

    def published(self) -> None:
        """A result is where it was to go."""
        self._counts.results += 1

    def refused(self, reason: str, text: str) -> None:
        """A callback was refused. :param reason: a word for its kind; :param text: a sentence for people."""
        self._counts.callbacks_refused[reason] += 1
        line = "refused a callback ({refusal}): {reason}"
        self._repeated(LogLevel.warn, "callback_refused", reason, line, refusal=reason, reason=text)

    def not_published(self, subject: str, text: str) -> None:
        """A result could not be published: the queue-worker is asked to come again."""
        self._counts.results_failed += 1
        line = "a result for {subject} cannot be published, its callback is answered 503: {reason}"
        self._repeated(LogLevel.warn, "result_not_published", "published", line, subject=subject, reason=text)

    def finish(self) -> None:
        """Tell what is counted so far, for the last time."""
        self._repetitions.finish()
