"""Log lines with a name each, of which what repeats itself is told once and then counted."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from natsconnector.journal.repetitions import Repetitions


class Telling:
    """What every part of the journal tells with. A field that is None is left out of the event."""

    _log: Logger

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._repetitions = Repetitions(clock)

    def _tell(self, level: Any, event: str, text: str, **fields: object) -> None:
        self._log.emit(level, text, event=event, **{name: value for name, value in fields.items() if value is not None})

    def _repeated(self, level: Any, event: str, kind: Hashable, text: str, **fields: object) -> None:
        """Tell the first of a kind, and how often it came again."""

        def say_more(count: int, window_s: float) -> None:
            more = "{count} more times within {window_s:g} s: "
            self._tell(level, event + "_again", more + text, count=count, window_s=window_s, **fields)

        if self._repetitions.is_first(kind, say_more, self._more_of_other_kinds):
            self._tell(level, event, text, **fields)

    def _more_of_other_kinds(self, count: int, window_s: float) -> None:
        self._tell(
            LogLevel.warn, "other_failures", "{count} more failures of other kinds within {window_s:g} s",
            count=count, window_s=window_s,
        )  # fmt: skip
