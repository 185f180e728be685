"""Log lines a person, or a log collector, can act on."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import Any

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    PredicateResult,
    formatEvent,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer

from natsconnector.model.shown import shown

# The short name of each part that logs, where it is another one than that of its folder or module.
_PARTS = {
    "dispatch": "calls",
    "journal": "calls",
    "log_legacy": "twisted",
    "planning": "functions",
    "assembly": "connector",
    "tracing": "traces",
}
NOT_OURS = "twisted"
"""The event of lines that name none: those of the framework, and of other libraries."""

# Fields of an event that the observers give a place of their own, or that are the logging library's.
_OWN_FIELDS = frozenset(
    "log_format log_level log_logger log_namespace log_source log_system log_time log_trace log_failure log_legacy"
    " log_io log_text log_id log_flattened log_encoding time message isError system format failure why".split()
)


def observer(stream: Any, log_format: str, log_level: str) -> ILogObserver:
    """An observer that writes events of ``log_level`` and above to ``stream``, as ``console`` or ``json`` lines."""
    format_event = _json_line if log_format == "json" else _console_line
    return FilteringLogObserver(FileLogObserver(stream, format_event), [_AtLeast(log_level)])


_ROTATE_BYTES = 10_000_000
_MOST_OLD_FILES = 10
_chosen = ("-", "console", "info")
_file: LogFile | None = None


def choose(path: str, log_format: str, log_level: str) -> str:
    """
    Make :func:`chosen_observer` write to the file at ``path``, ``-`` for standard output; returns its name.

    twistd takes the name of a function without arguments, so what is to be passed has to wait here.
    """
    global _chosen
    _chosen = (path, log_format, log_level)
    return f"{__name__}.{chosen_observer.__name__}"


def chosen_observer() -> ILogObserver:
    """The observer that :func:`choose` prepared."""
    path, log_format, log_level = _chosen
    if path == "-":
        return observer(sys.stdout, log_format, log_level)
    global _file
    try:
        _file = LogFile.fromFullPath(path, rotateLength=_ROTATE_BYTES, maxRotatedFiles=_MOST_OLD_FILES)
    except OSError as e:
        raise SystemExit(f"natsconnector: --logfile {path}: {e.strerror}") from None
    return observer(_file, log_format, log_level)


def rotate() -> None:
    """Begin a new log file, if the log goes to a file."""
    if _file is not None:
        _file.rotate()


@implementer(ILogFilterPredicate)
class _AtLeast:
    """Passes what is as important as the level, and never drops a failure."""

    def __init__(self, level: str) -> None:
        self._least = LogLevel.lookupByName(level)

    def __call__(self, event: LogEvent) -> Any:
        level = event.get("log_level") or LogLevel.info
        if level is LogLevel.info and event.get("log_namespace") == "log_legacy":
            level = LogLevel.debug  # Twisted's notes of ports that open and close; that interface has no levels
        return PredicateResult.no if level < self._least else PredicateResult.maybe


def part_of(namespace: str) -> str:
    """The short name of what logs under a namespace, which is a module's path: ``nats`` for the NATS client."""
    first, _, rest = namespace.partition(".")
    name = rest.partition(".")[0] if first == "natsconnector" and rest else first
    return _PARTS.get(name, name)


def _console_line(event: LogEvent) -> str:
    level = (event.get("log_level") or LogLevel.info).name
    text = formatEvent(event)
    if "log_failure" in event:
        text = f"{text}\n{_traceback(event)}"
    # A line is an entry: what a peer or a function put into a text must not look like an entry of ours.
    lines = shown(text).rstrip("\n").replace("\n", "\n    ")
    return f"{_time(event)} {level:<5} [{part_of(event.get('log_namespace', '-'))}] {lines}\n"


def _json_line(event: LogEvent) -> str:
    is_ours = isinstance(event.get("event"), str)
    entry: dict[str, Any] = {
        "time": _time(event),
        "level": (event.get("log_level") or LogLevel.info).name,
        "logger": part_of(event.get("log_namespace", "-")),
        "event": event["event"] if is_ours else NOT_OURS,
        "message": formatEvent(event),
    }
    if is_ours:  # the fields of others are anything at all
        for name, value in event.items():
            if value is not None and name not in _OWN_FIELDS:
                entry.setdefault(name, value)
    if "log_failure" in event:
        entry["traceback"] = _traceback(event)
    return json.dumps(entry, default=str) + "\n"


def _time(event: LogEvent) -> str:
    when = datetime.fromtimestamp(event.get("log_time", 0.0), timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


def _traceback(event: LogEvent) -> str:
    return str(event["log_failure"].getTraceback())
