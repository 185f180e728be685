"""What became of a call, whether it is tried again, and how it is answered. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from natsconnector.calls import CALL_ID, FunctionCall
from natsconnector.httpheaders import Header, returned

MALFORMED = 400
FORBIDDEN = 403
TOO_LARGE = 413
BAD_GATEWAY = 502
OVERLOADED = 503
TIMED_OUT = 504


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The end of one attempt: an HTTP answer, or the reason why there is none.

    Use :func:`failed` for one without an answer.
    """

    status: int
    """The answer's HTTP status; without an answer, the status that names the fault best."""
    body: bytes = b""
    headers: tuple[Header, ...] = ()
    failure: str | None = None
    """Why there is no answer, in one sentence; None when there is one."""
    not_executed: bool = False
    """The function surely did not run: trying again cannot run it twice."""
    final: bool = False
    """Trying again cannot help, or would run twice what must not."""
    unfinished: bool = False
    """This connector did not get to it, or did not wait for its end: a durable message is left to a later delivery."""
    retry_after_s: float | None = None
    """How long the answer asks to wait, from its ``Retry-After``."""

    @property
    def ok(self) -> bool:
        """The function answered 2xx, or the gateway accepted an asynchronous call."""
        return self.failure is None and 200 <= self.status < 300

    def error(self, call: FunctionCall | None) -> str | None:
        """What went wrong, in one sentence; None when nothing did."""
        if self.ok:
            return None
        if self.failure is not None or call is None:
            return self.failure
        if not call.asynchronous:
            return f"{call.function} answered {self.status}"
        # The gateway has the route only when its queue is configured; otherwise it looks like a missing page.
        hint = ": has it an asynchronous queue?" if self.status == 404 else ""
        return f"the gateway answered {self.status} to the asynchronous call of {call.function}{hint}"


def failed(status: int, reason: str, *, not_executed: bool = False, final: bool = False) -> Outcome:
    """The outcome of an attempt that got no HTTP answer."""
    return Outcome(status, failure=reason, not_executed=not_executed, final=final)


def unfinished(reason: str, *, not_executed: bool = True, retry_after_s: float | None = None) -> Outcome:
    """The outcome of a message that this connector has no room, or no time left, for."""
    return Outcome(OVERLOADED, failure=reason, not_executed=not_executed, unfinished=True, retry_after_s=retry_after_s)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    When an attempt is followed by another one.

    What was surely not executed is tried again, and so are the statuses in ``codes``. The user who puts 502 or 504
    there accepts that a call whose connection broke, or that timed out, may run twice.
    """

    attempts: int = 3
    """In total, the first included."""
    codes: frozenset[int] = frozenset({429, 503})
    wait_s: float = 0.5
    max_wait_s: float = 120.0
    backoff: str = "full"
    """``exponential``, or with ``full`` or ``equal`` jitter."""

    def delay_s(self, outcome: Outcome, attempt: int, random: Callable[[], float]) -> float | None:
        """
        How long to wait before the next attempt; None when ``outcome`` stands.

        :param attempt: the number of the attempt that ended so, from 1.
        :param random: gives numbers from 0 to 1.
        """
        if outcome.ok or outcome.final or outcome.unfinished or attempt >= self.attempts:
            return None
        if not outcome.not_executed and outcome.status not in self.codes:
            return None
        if outcome.retry_after_s is not None:
            return min(max(outcome.retry_after_s, self.wait_s), self.max_wait_s)
        # The exponent is bounded because a float is not: 2.0 ** 1024 raises.
        delay = min(self.wait_s * 2.0 ** min(attempt - 1, 64), self.max_wait_s)
        if self.backoff == "full":
            return delay * random()
        if self.backoff == "equal":
            return delay / 2 + delay / 2 * random()
        return delay


def answer(outcome: Outcome, call: FunctionCall | None) -> tuple[bytes, list[Header]]:
    """
    The reply that tells ``outcome``: payload and headers; ``call`` is None when the message was none.

    A failure has ``Nats-Service-Error-Code`` and ``Nats-Service-Error`` (ADR-32), so that NATS's own tools show it.
    """
    headers: list[Header] = []
    if outcome.failure is None:
        headers.append(("X-Function-Status", str(outcome.status)))
        headers += returned(outcome.headers)
    if call is not None:
        headers.append((CALL_ID, call.call_id))
    error = outcome.error(call)
    if error is not None:
        headers += [("Nats-Service-Error-Code", str(outcome.status)), ("Nats-Service-Error", error)]
    if outcome.failure is not None:
        return outcome.failure.encode("utf-8", "replace"), [("Content-Type", "text/plain"), *headers]
    return outcome.body, headers
