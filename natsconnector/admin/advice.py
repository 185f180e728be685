"""What is to be done about the state of the connector. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from natsconnector.admin.facts import Facts
from natsconnector.journal.counts import OTHER
from natsconnector.model.limits import Limits

RECENT_S = 600.0
_MOST_FUNCTIONS = 3
# A function of which fewer calls fail is not told of: its retries make up for that.
_LEAST_SHARE = 0.1
# By the names of counts: what is the matter with so many messages, and what is to be done.
_MISHAPS = (
    (
        "dead_letters_failed",
        "The dead letters of {} could not be stored",
        "Make room in the stream of dead letters. Until then messages of a stream come again; others are lost.",
    ),
    ("given_up", "{} of the stream given up", "These messages are lost. Set --dead-letter to keep such messages."),
    ("answers_lost", "{} without the answer that somebody waits for", "The log has the reason: reply_lost."),
    ("dead_letters", "{} put to the dead letters", "When the cause is mended: python -m natsconnector redrive."),
    ("refused", "{} refused", "The last failures below have the reasons. Publishers have to be corrected."),
)


class Row(NamedTuple):
    """One function in the last minutes."""

    name: str
    calls: int
    failures: int
    p50: float | None
    p95: float | None
    inflight: int
    failed_at: float | None
    """When a call failed the last time."""
    reason: str


class Advice(NamedTuple):
    """What is the matter, and what is to be done."""

    matter: str
    action: str


def advise(
    health: Mapping[str, object], facts: Facts, limits: Limits, mishaps: Mapping[str, int], rows: Sequence[Row]
) -> list[Advice]:
    """
    What somebody who looks has to know first, the gravest first.

    :param health: as :meth:`Health.report` has it, with ``fault``.
    :param mishaps: numbers of the last ten minutes.
    """
    return [
        *_of_parts(health, facts),
        *_of_load(facts, limits, mishaps, rows),
        *(_of_functions(rows, facts.now) if facts.gateway_up else ()),
        *_of_messages(mishaps),
    ]


def fails(failed_at: float | None, now: float) -> bool:
    """Whether a call has failed in the last minutes."""
    return failed_at is not None and now - failed_at <= RECENT_S


def _of_parts(health: Mapping[str, object], facts: Facts) -> Iterator[Advice]:
    if health["fault"]:
        yield Advice(f"The connector cannot go on: {health['fault']}.", "Restart it, if nothing does so by itself.")
    if not facts.nats.is_connected:
        yield Advice(
            "NATS is away.",
            "Look at the nats-server and the way to it; at the credentials, if it refuses them."
            " The connector goes on by itself when NATS is there.",
        )
    elif not facts.is_ready:
        yield Advice(
            "No messages come in: the parts below have the reason.",
            "Unless it is stopping: python -m natsconnector check tries each step, and tells what is missing.",
        )
    if not facts.gateway_up:
        yield Advice(
            "The gateway is away.",
            "Look at its pods and its log. Messages wait, and use up no attempts;"
            " their calls are made when the gateway is there again.",
        )


def _of_load(facts: Facts, limits: Limits, mishaps: Mapping[str, int], rows: Sequence[Row]) -> Iterator[Advice]:
    work, waiting = facts.work, facts.work.pending
    more = "Add replicas, or raise --max-inflight as far as the gateway bears it."
    busiest = max(rows, key=lambda row: row.inflight, default=None)
    if busiest is not None and busiest.name != OTHER and 2 * busiest.inflight > limits.inflight:
        more += f" {busiest.name} has {busiest.inflight} slots: --max-inflight-per-function leaves some to the others."
    if mishaps["shed"]:
        yield Advice(f"{_messages(mishaps['shed'])} found the backlog full and got 503 in the last ten minutes.", more)
    elif facts.gateway_up and work.inflight >= limits.inflight and waiting:
        yield Advice(
            f"All {limits.inflight} slots are in use, and {_messages(waiting)} {'waits' if waiting == 1 else 'wait'},"
            f" the oldest for {work.oldest_s:.0f} s.",
            f"A peak passes by itself. {more}",
        )


def _of_functions(rows: Sequence[Row], now: float) -> Iterator[Advice]:
    failing = [row for row in rows if fails(row.failed_at, now) and row.failures >= max(1, _LEAST_SHARE * row.calls)]
    failing.sort(key=lambda row: -row.failures)
    for row in failing[:_MOST_FUNCTIONS]:
        # Names that no gateway knows, and functions that are one too many.
        is_other = row.name == OTHER
        yield Advice(
            f"{'Other functions' if is_other else row.name}: {row.failures} of {row.calls} calls failed in the last ten"
            f" minutes; the last one: {row.reason}.",
            "The log of the connector has their names." if is_other else "The log of the function tells more.",
        )
    if len(failing) > _MOST_FUNCTIONS:
        number = len(failing) - _MOST_FUNCTIONS
        yield Advice(f"{number} more functions fail.", "Sort the table of functions by failures.")


def _of_messages(mishaps: Mapping[str, int]) -> Iterator[Advice]:
    for kind, matter, action in _MISHAPS:
        if mishaps[kind]:
            yield Advice(f"{matter.format(_messages(mishaps[kind]))} in the last ten minutes.", action)


def _messages(number: int) -> str:
    return "1 message" if number == 1 else f"{number} messages"
