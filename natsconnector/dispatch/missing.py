"""Functions and topics that are not there, or not yet. Pure."""

from __future__ import annotations

from natsconnector.model.retries import doubled_s

_WAIT_S = (1.0, 30.0)
_MOST_NAMES = 1000


class Missing:
    """
    Remembers since when something is missing, so that a durable message for it is tried again for a while: a function
    that is deployed anew is away for moments.

    :param grace_s: for how long.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._since: dict[str, float] = {}

    def delay_s(self, name: str, attempt: int, now_s: float) -> float | None:
        """
        How long a message is to wait that found ``name`` missing; None when that has been missing for too long.

        :param attempt: the number of the attempt that found it so, from 1.
        :param now_s: the time, in seconds of the clock.
        """
        delay_s = doubled_s(*_WAIT_S, attempt - 1)
        since = self._since.get(name)
        if since is None:
            if len(self._since) >= _MOST_NAMES:
                self._since = {each: at for each, at in self._since.items() if now_s - at < 2 * self._grace_s}
            if len(self._since) >= _MOST_NAMES:
                # There is no place for another name: the message's own attempts tell how long it has waited.
                waited_s = sum(doubled_s(*_WAIT_S, before) for before in range(min(attempt - 1, 100)))
                return delay_s if waited_s < self._grace_s else None
            since = self._since[name] = now_s
        return delay_s if now_s - since < self._grace_s else None

    def found(self, name: str) -> None:
        """It is there."""
        if self._since:
            self._since.pop(name, None)
