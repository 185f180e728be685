"""Whether the gateway can be reached: its outage is not a message's fault, and must not use up its attempts."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from natsconnector.journal.journal import Journal
from natsconnector.model.outcome import Outcome
from natsconnector.model.retries import doubled_s

# The longest time between two probes: calls that wait for the gateway are to go within two seconds of its return.
_PROBE_WAIT_S = (0.1, 1.0)
# A trial call that takes longer has reached a function.
_TRIAL_S = 1.0
# For how long a function that alone looks as if the gateway were away is taken for the one at fault.
_EXCUSED_S = 60.0
_MOST_SUSPECTS = 1000


class Probe(Protocol):
    """Asks the gateway for any response at all."""

    def __call__(self) -> Deferred[bool]: ...


class State(enum.Enum):
    """Where the gateway stands."""

    UP = "up"
    AWAY = "away"
    """No call is made; one probe at a time goes out."""
    TRIAL = "on trial"
    """The gateway answers probes, but its calls have failed as if it, or what is behind it, were away: one call at a
    time shows whether they do still."""


class GatewayWatch:
    """
    Follows the gateway by the outcomes of calls and, while it is away, by probes.

    Requests that cannot be sent put it away, and so do responses that show that its provider is away or that something
    in front of the gateway answers for it. The latter may be the fault of one function: a function that goes on to fail
    so, after a call of another one has got through, is at fault itself.

    :param probe: asks the gateway for a response, whatever it says.
    :param changed: called whenever :attr:`allows_call` may have changed.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        journal: Journal,
        probe: Probe,
        changed: Callable[[], object],
        random: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._probe = probe
        self._changed = changed
        self._random = random
        self._failures = 0
        self._timer: IDelayedCall | None = None
        self._trials = 0
        self._needs_trial = False
        self._calls = 0
        self._suspects: set[str] = set()
        self._excused: dict[str, float] = {}
        self.state = State.UP
        self.reason = ""
        """Why the gateway is not up."""
        self.since = clock.seconds()
        """When the gateway was up for the last time, or has come up, in seconds of the clock."""
        self._is_told = False

    @property
    def is_up(self) -> bool:
        return self.state is State.UP

    @property
    def allows_call(self) -> bool:
        """Whether a call may begin."""
        return self.state is State.UP or (self.state is State.TRIAL and not self._trials)

    def call_begins(self) -> None:
        """A call is made."""
        if self.state is State.TRIAL:
            self._trials += 1
            self._wait(_TRIAL_S, self._is_back)

    def call_ended(self, function: str, outcome: Outcome) -> bool:
        """
        Take note of what became of a call.

        :return: whether the gateway is at fault, and not the call.
        """
        if not outcome.gateway_down:
            if self.state is not State.UP:
                self._got_through(function)
            return False
        if outcome.failure is None and self._excused.get(function, 0.0) > self._clock.seconds():
            return False
        if len(self._suspects) < _MOST_SUSPECTS:
            self._suspects.add(function)
        self._needs_trial = outcome.failure is None
        self._calls += 1
        self._lost(outcome.error(None) or f"it answered {outcome.status} for its provider")
        return True

    def stop(self) -> None:
        """Probe no more; calls may be made."""
        self.state = State.UP
        self._cancel()

    def _lost(self, reason: str) -> None:
        if self.state is State.UP:
            self.since = self._clock.seconds()
        elif self.state is State.TRIAL:
            self._tell(reason)
        was_away = self.state is State.AWAY
        self.state, self.reason = State.AWAY, reason
        if not was_away:
            self._wait(self._pause_s() if self._is_told else 0.0, self._ask)
            self._changed()

    def _ask(self) -> None:
        probing = Deferred.fromCoroutine(self._one_probe())
        probing.addErrback(lambda f: self._log.failure("a defect while probing the gateway", f, event="defect"))

    async def _one_probe(self) -> None:
        answered = await self._probe()
        if self.state is not State.AWAY:
            return
        if not answered:
            self._tell(self.reason)
            self._wait(self._pause_s(), self._ask)
        elif self._needs_trial:
            self.state, self._trials = State.TRIAL, 0
            self._cancel()
            self._changed()
        else:
            self._is_back()

    def _got_through(self, function: str) -> None:
        """A call of ``function`` got through: what else has failed so has failed by itself."""
        if self.state is State.AWAY and self._needs_trial:
            return  # it began before the gateway was away, and shows nothing
        until = self._clock.seconds() + _EXCUSED_S
        self._excused = {name: end for name, end in self._excused.items() if end > self._clock.seconds()}
        self._excused.update((name, until) for name in self._suspects - {function})
        self._is_back()

    def _is_back(self) -> None:
        self._cancel()
        self.state = State.UP
        self._suspects.clear()
        if self._is_told:
            self._journal.gateway_back(self._clock.seconds() - self.since, self._calls)
        self._is_told = False
        self.since = self._clock.seconds()
        self._failures = self._calls = 0
        self._changed()

    def _tell(self, reason: str) -> None:
        """Say that the gateway is away, once that is sure: a single call may have met a connection just closed."""
        if not self._is_told:
            self._is_told = True
            self._journal.gateway_away(reason)

    def _pause_s(self) -> float:
        self._failures += 1
        return doubled_s(*_PROBE_WAIT_S, self._failures - 1) * (0.75 + self._random() / 4)

    def _wait(self, delay_s: float, then: Callable[[], None]) -> None:
        self._cancel()
        self._timer = self._clock.callLater(delay_s, then)

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
