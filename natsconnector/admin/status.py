"""What the status page shows: put together once a second at most, and only while somebody looks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from natsconnector.admin.facts import Facts
from natsconnector.admin.health import Health
from natsconnector.admin.history import History, failures_in, percentile
from natsconnector.journal.journal import Journal
from natsconnector.model.limits import Limits
from natsconnector.model.shown import shown

_MOST_FUNCTIONS = 50
# So many a second are as many as somebody can read, and keep an event small.
_MOST_NEW_FAILURES = 20


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
        failures = list(self._journal.failures.since(0))
        return _encoded({**self._state(), "whole": True, "points": list(self._history.points), "failures": failures})

    def news(self) -> bytes:
        """The state, and what came into the history and the failures since this was last asked for."""
        points = [point for point in self._history.points if point.at > self._told_at]
        failures = list(self._journal.failures.since(self._told_failures))[-_MOST_NEW_FAILURES:]
        self.catch_up()
        return _encoded({**self._state(), "points": points, "failures": failures})

    def catch_up(self) -> None:
        """Nobody has looked for a while: what there is now is no news."""
        points = self._history.points
        self._told_at = points[-1].at if points else 0.0
        self._told_failures = self._journal.failures.number

    def _state(self) -> dict[str, Any]:
        facts, counts = self._look(), self._journal.counts
        waiting, waiting_s, _ = self._journal.awaiting_another_attempt()
        functions = self._functions()
        return {
            "version": self._version,
            "at": round(facts.now, 3),
            "health": {**self._health.report(), "fault": self._health.fault()},
            "nats": {
                "up": facts.nats.is_connected,
                "for_s": round(max(0.0, facts.now - facts.nats.changed_at), 1),
                "reconnects": facts.nats.reconnects,
            },
            "gateway": {"up": facts.gateway_up, "outages": counts.gateway_outages},
            "work": {
                "inflight": facts.work.inflight,
                "limit": self._limits.inflight,
                "pending": facts.work.pending,
                "pending_limit": self._limits.pending_messages,
                "oldest_s": round(facts.work.oldest_s, 1),
            },
            "streams": [
                {
                    "name": f"{each.stream} / {each.name}",
                    "pending": each.pending,
                    "unacknowledged": each.unacknowledged,
                    "redelivered": each.redelivered,
                }
                for each in facts.consumers
            ],
            "sums": {
                "received": counts.received,
                "succeeded": counts.succeeded,
                "failed": counts.failed.total() - counts.refused.total(),
                "refused": counts.refused.total(),
                "shed": counts.shed,
                "retries": counts.retries,
                "waiting": waiting,
                "waiting_s": round(waiting_s, 1),
                "dead_letters": counts.dead_letters,
                "dead_letters_failed": counts.dead_letters_failed,
                "given_up": counts.given_up,
                "answers_lost": counts.replies_lost.total(),
            },
            "functions": functions[:_MOST_FUNCTIONS],
            "functions_left_off": max(0, len(functions) - _MOST_FUNCTIONS),
        }

    def _functions(self) -> list[tuple[str, int, int, float | None, float | None]]:
        """Name, calls, failures and two percentiles, the busiest first; those that share durations have none."""
        calls = self._journal.calls
        busiest = sorted(calls.by_function(), key=lambda found: -sum(found[1].codes.values()))
        # Percentiles are worked out for those alone that are shown.
        rows: list[tuple[str, int, int, float | None, float | None]] = []
        for name, place in busiest:
            durations = place.durations
            has_own = len(rows) < _MOST_FUNCTIONS and calls.has_details(place)
            p50, p95 = (percentile(durations.counts, durations.bounds, x) if has_own else None for x in (0.5, 0.95))
            rows.append((shown(name), sum(place.codes.values()), failures_in(place.codes.items()), p50, p95))
        return rows


def _encoded(state: dict[str, Any]) -> bytes:
    """One server-sent event. JSON escapes every line end, which would end the event."""
    return b"data: " + json.dumps(state, separators=(",", ":")).encode() + b"\n\n"
