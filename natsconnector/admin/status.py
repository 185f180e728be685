"""What the status page shows: put together once a second at most, and only while somebody looks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from natsconnector.admin.advice import Row, advise, fails
from natsconnector.admin.facts import Facts
from natsconnector.admin.health import Health
from natsconnector.admin.history import History, percentile
from natsconnector.journal.calls import CALL_BOUNDS_S
from natsconnector.journal.counts import OTHER
from natsconnector.journal.failures import Failure
from natsconnector.journal.journal import Journal
from natsconnector.model.limits import Limits
from natsconnector.model.shown import shown

# An event has less than 20 kB, however long names and reasons are.
_MOST_FUNCTIONS = 50
_MOST_NEW_FAILURES = 10
_MOST_STREAMS = 3
_NAME_CHARACTERS = 127  # of a name with a namespace, as Kubernetes has them
_REASON_CHARACTERS = 100
_PART_CHARACTERS = 200


class Status:
    """
    The state as JSON, whole for who comes, and what is new for who has seen it a second ago.

    :param look: gives the facts of this moment.
    """

    def __init__(
        self,
        journal: Journal,
        health: Health,
        history: History,
        look: Callable[[], Facts],
        limits: Limits,
        version: str,
    ) -> None:
        self._journal = journal
        self._health = health
        self._history = history
        self._look = look
        self._limits = limits
        self._version = version
        self._told_at = 0.0
        self._told_failures = 0

    def whole(self) -> bytes:
        """All there is, the history and the last failures included."""
        failures = [_failure(each) for each in self._journal.failures.since(0)]
        return _encoded({**self._state(), "whole": True, "points": list(self._history.points), "failures": failures})

    def news(self) -> bytes:
        """The state, and what came into the history and the failures since this was last asked for."""
        points = [point for point in self._history.points if point.at > self._told_at]
        failures = [_failure(each) for each in self._journal.failures.since(self._told_failures)]
        self.catch_up()
        return _encoded({**self._state(), "points": points, "failures": failures[-_MOST_NEW_FAILURES:]})

    def catch_up(self) -> None:
        """Nobody has looked for a while: what there is now is no news."""
        points = self._history.points
        self._told_at = points[-1].at if points else 0.0
        self._told_failures = self._journal.failures.number

    def _state(self) -> dict[str, Any]:
        facts, counts = self._look(), self._journal.counts
        waiting, _, _ = self._journal.awaiting_another_attempt()
        rows = self._rows(facts)
        health: dict[str, Any] = {**self._health.report(), "fault": self._health.fault()}
        for part in health["parts"]:
            for key in part.keys() & {"name", "reason"}:
                part[key] = _cut(part[key], _PART_CHARACTERS)
        return {
            "version": self._version,
            "at": round(facts.now, 3),
            "health": health,
            "advice": advise(health, facts, self._limits, self._history.mishaps(), rows),
            "work": {
                "inflight": facts.work.inflight,
                "limit": self._limits.inflight,
                "pending": facts.work.pending,
                "pending_limit": self._limits.pending_messages,
                "oldest_s": round(facts.work.oldest_s, 1),
            },
            "streams": [
                {
                    "name": _cut(f"{each.stream} / {each.name}", _NAME_CHARACTERS),
                    "pending": each.pending,
                    "unacknowledged": each.unacknowledged,
                    "redelivered": each.redelivered,
                }
                for each in facts.consumers[:_MOST_STREAMS]
            ],
            "sums": {
                "received": counts.received,
                "succeeded": counts.succeeded,
                "failed": counts.failed.total() - counts.refused.total(),
                "refused": counts.refused.total(),
                "shed": counts.shed,
                "retries": counts.retries,
                "waiting": waiting,
                "dead_letters": counts.dead_letters,
                "dead_letters_failed": counts.dead_letters_failed,
                "given_up": counts.given_up,
                "answers_lost": counts.replies_lost.total(),
                "reconnects": facts.nats.reconnects,
                "outages": counts.gateway_outages,
            },
            "functions": rows[:_MOST_FUNCTIONS],
            "functions_left_off": max(0, len(rows) - _MOST_FUNCTIONS),
        }

    def _rows(self, facts: Facts) -> list[Row]:
        """Those with failures in the last minutes first, then the busiest; only these are shown if there are many."""
        found = []
        running = facts.work.inflight_by_function
        others = facts.work.inflight
        for name, place in self._journal.calls.by_function():
            recent, last = self._history.recent(name, place), place.last_failure
            failed_at, reason = (None, "") if last is None else last
            # What is in flight of functions that have no place of their own counts as of the others, the last of all.
            inflight = others if name == OTHER else running.get(name, 0)
            others -= inflight
            rank = not fails(failed_at, facts.now), -recent.calls, -place.number
            found.append((rank, name, recent, inflight, failed_at, reason))
        found.sort(key=lambda each: each[0])
        rows: list[Row] = []
        for _, name, recent, inflight, failed_at, reason in found:
            # Percentiles are worked out for those alone that are shown.
            durations = recent.durations if len(rows) < _MOST_FUNCTIONS else None
            p50, p95 = (None if durations is None else percentile(durations, CALL_BOUNDS_S, x) for x in (0.5, 0.95))
            at = None if failed_at is None else round(failed_at, 1)
            name, reason = _cut(name, _NAME_CHARACTERS), _cut(reason, _REASON_CHARACTERS)
            rows.append(Row(name, recent.calls, recent.failures, p50, p95, inflight, at, reason))
        return rows


def _failure(failure: Failure) -> Failure:
    return failure._replace(at=round(failure.at, 1), function=_cut(failure.function, _NAME_CHARACTERS))


def _cut(text: str, most: int) -> str:
    return shown(text[:most])[:most]


def _encoded(state: dict[str, Any]) -> bytes:
    """One server-sent event. JSON escapes every line end, which would end the event."""
    return b"data: " + json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
