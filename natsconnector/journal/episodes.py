"""What happens to the connector as a whole: overload, and the gateway's absence."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from natsconnector.journal.counts import Counts
from natsconnector.journal.telling import Telling


class Episodes(Telling):
    """
    Counts and tells where such an episode begins and ends.

    :ivar is_overloaded: the backlog was full, and is not half empty yet.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__(clock)
        self.counts = Counts()
        self.is_overloaded = False
        self._shed_before = 0

    def shed(self, pending: int, pending_bytes: int, oldest_s: float, busiest: tuple[str, int] | None) -> None:
        """
        A message found the backlog full.

        :param oldest_s: how long the call that waits longest has waited; ``busiest``: the function with the most calls
            in flight, and how many.
        """
        self.counts.shed += 1
        if self.is_overloaded:
            return
        self.is_overloaded, self._shed_before = True, self.counts.shed - 1
        function, slots = busiest or (None, None)
        holder = "" if function is None else ", while {function} holds {slots} slots"
        self._tell(
            LogLevel.warn, "overloaded",
            "overloaded: {pending} messages with {pending_bytes} bytes wait for a call, the oldest for"
            " {oldest_s:.1f} s" + holder + "; the backlog is full, and further messages are answered 503. More slots:"
            " --max-inflight; fewer for one function: --max-inflight-per-function",
            pending=pending, pending_bytes=pending_bytes, oldest_s=round(oldest_s, 3), function=function, slots=slots,
        )  # fmt: skip

    def relieved(self) -> None:
        """The backlog is half empty: an episode of overload is over."""
        if self.is_overloaded:
            self.is_overloaded = False
            self._tell(
                LogLevel.info, "relieved", "no longer overloaded: {count} messages were answered 503",
                count=self.counts.shed - self._shed_before,
            )  # fmt: skip

    def gateway_away(self, reason: str) -> None:
        """The gateway does not answer."""
        self.counts.gateway_outages += 1
        text = "gateway away: {reason}; calls wait for the gateway, and use up no attempts"
        self._tell(LogLevel.warn, "gateway_away", text, reason=reason)

    def gateway_back(self, away_s: float, calls: int) -> None:
        """The gateway answers again. :param calls: how many had met its absence."""
        text = "gateway back after {away_s:.1f} s; {count} calls had found it away, the waiting calls are made now"
        self._tell(LogLevel.info, "gateway_back", text, away_s=round(away_s, 3), count=calls)
