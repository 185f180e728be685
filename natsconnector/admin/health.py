"""Which parts of the connector are ready, since when, and why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, Protocol


class Clock(Protocol):
    """What tells the time, in seconds since 1970."""

    def seconds(self) -> float: ...


class Part:
    """
    One part, and since when it is ready, or not.

    :param name: tells what to call it.
    :param look: tells why it is not ready; None: it is.
    :param since: tells since when it is, or is not; None: as far as :meth:`note` has seen.
    :param is_needed: whether the connector is not ready without it.
    """

    def __init__(
        self,
        clock: Clock,
        name: Callable[[], str],
        look: Callable[[], str | None],
        *,
        since: Callable[[], float] | None = None,
        is_needed: bool = True,
    ) -> None:
        self._clock = clock
        self._name = name
        self._look = look
        self._since = since
        self.is_needed = is_needed
        self._was_ready = look() is None
        self._changed_at = clock.seconds()

    def note(self) -> str | None:
        """Look at it, and keep in mind since when it is as it is; returns why it is not ready."""
        reason = self._look()
        if (reason is None) is not self._was_ready:
            self._was_ready = reason is None
            self._changed_at = self._clock.seconds()
        return reason

    def report(self) -> dict[str, Any]:
        """The part as a JSON object."""
        reason, now = self.note(), self._clock.seconds()
        since = self._changed_at if self._since is None else self._since()
        found: dict[str, Any] = {
            "name": self._name(),
            "ready": reason is None,
            "needed": self.is_needed,
            "since": datetime.fromtimestamp(since, timezone.utc).isoformat(timespec="milliseconds"),
            "for_s": round(max(0.0, now - since), 3),
        }
        return found if reason is None else {**found, "reason": reason}


class Health:
    """
    Whether the connector lives, and whether it takes messages.

    That the gateway is away makes the connector neither dead nor unready: messages come in and wait, a restart would
    lose those of core NATS, and every replica would be unready at once.

    :param fault: tells why the connector can only be started anew; None: it can go on.
    """

    def __init__(self, parts: Sequence[Part], fault: Callable[[], str | None]) -> None:
        self._parts = tuple(parts)
        self.fault = fault

    def note(self) -> None:
        """Something may have changed: keep in mind since when each part is as it is."""
        for part in self._parts:
            part.note()

    @property
    def is_ready(self) -> bool:
        """Whether messages come in, and more are wanted."""
        return all(part.note() is None for part in self._parts if part.is_needed)

    def report(self) -> dict[str, Any]:
        """All parts as a JSON object."""
        return {"ready": self.is_ready, "parts": [part.report() for part in self._parts]}
