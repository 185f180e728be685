"""What became of the messages: counts, and log lines that tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from natsconnector.journal.repetitions import Repetitions
from natsconnector.model.call import FunctionCall
from natsconnector.model.ending import Ending
from natsconnector.model.outcome import Outcome

_MOST_PRINTED_BYTES = 4096


class Journal:
    """
    Counts and tells what becomes of messages.

    Failures are always told, since no answer may ever be seen by anybody; a failure that repeats itself is told once
    and then counted. Payloads are told only when asked for.

    :param print_response: tell every answer; :param print_response_body: with its body.
    :param print_request_body: tell every call with its body.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        print_response: bool = False,
        print_response_body: bool = False,
        print_request_body: bool = False,
    ) -> None:
        self._repetitions = Repetitions(clock, self._say_more)
        self._print_response = print_response or print_response_body
        self._print_response_body = print_response_body
        self._print_request_body = print_request_body
        self._shed_in_episode = 0
        self.received = 0
        self.succeeded = 0
        self.failed: Counter[int] = Counter()
        """Messages that ended in a failure, by status."""
        self.retries = 0
        self.answers_lost = 0

    def calling(self, call: FunctionCall) -> None:
        """A call is about to be made."""
        if self._print_request_body:
            self._log.info(
                "calling {function} with {size} bytes: {body} [call {call_id}]",
                function=call.function, size=len(call.body), body=_printed(call.body), call_id=call.call_id,
            )  # fmt: skip

    def retrying(self, call: FunctionCall | None, outcome: Outcome, attempt: int, delay_s: float) -> None:
        """An attempt failed, another one follows."""
        self.retries += 1
        self._log.debug(
            "attempt {attempt} failed, next in {delay_s:.1f} s: {error} [call {call_id}]",
            attempt=attempt, delay_s=delay_s, error=outcome.error(call), call_id=call and call.call_id,
        )  # fmt: skip

    def settled(self, ending: Ending) -> None:
        """A message reached its end."""
        error = ending.outcome.error(ending.call)
        about = _about(ending)
        if error is None:
            self.succeeded += 1
            self._tell_answer(ending.outcome, about)
            return
        self.failed[ending.outcome.status] += 1
        if ending.call is None:
            if self._repetitions.is_first(f"messages on {ending.delivery.subject} refused"):
                self._log.warn("refused a message on {subject}: {error}", error=error, **about)
        elif self._repetitions.is_first(f"calls of {ending.call.function} failed with {ending.outcome.status}"):
            self._log.warn(
                "failed for a message on {subject} after {attempts} attempt(s): {error} [call {call_id}]",
                error=error, **about,
            )  # fmt: skip
        if self._print_response and ending.outcome.failure is None:
            self._tell_answer(ending.outcome, about)

    def lost(self, ending: Ending) -> None:
        """A durable message is given up, and there is no place for dead letters: its name is all that is left of it."""
        self.failed[ending.outcome.status] += 1
        self._log.error(
            "gave up message {identity} on {subject} after {attempts} attempt(s), with no --dead-letter to keep it:"
            " {error} [call {call_id}]",
            error=ending.outcome.error(ending.call), **_about(ending),
        )  # fmt: skip

    def left(self, ending: Ending) -> None:
        """A durable message is left to a later delivery."""
        self._log.debug("left message {identity} to a later delivery", **_about(ending))

    def dead_letter_failed(self, ending: Ending, reason: str) -> None:
        """A message could not be put to the dead letters."""
        if self._repetitions.is_first("dead letters could not be published"):
            self._log.error(
                "could not publish the dead letter of a message on {subject}: {reason} [call {call_id}]",
                reason=reason, **_about(ending),
            )  # fmt: skip

    def _tell_answer(self, outcome: Outcome, about: dict[str, object]) -> None:
        tell = self._log.info if self._print_response else self._log.debug
        body = f": {_printed(outcome.body)}" if self._print_response_body else ""
        tell(
            "{function} answered {status} with {size} bytes after {elapsed_s:.3f} s{body} [call {call_id}]",
            size=len(outcome.body), body=body, **about,
        )  # fmt: skip

    def answer_lost(self, subject: str, reason: str) -> None:
        """Somebody waits for an answer that could not be sent."""
        self.answers_lost += 1
        if self._repetitions.is_first("answers could not be sent"):
            self._log.warn(
                "could not send the answer to a message on {subject}: {reason}", subject=subject, reason=reason
            )

    def shed(self, pending: int, pending_bytes: int) -> None:
        """A message found the backlog full."""
        self._shed_in_episode += 1
        if self._shed_in_episode == 1:
            self._log.warn(
                "overloaded: {pending} messages with {pending_bytes} bytes wait for a call,"
                " what is more than the backlog holds is answered 503",
                pending=pending, pending_bytes=pending_bytes,
            )  # fmt: skip

    def relieved(self) -> None:
        """The backlog is half empty: an episode of overload is over."""
        if self._shed_in_episode:
            self._log.info("no longer overloaded: {shed} messages were answered 503", shed=self._shed_in_episode)
            self._shed_in_episode = 0

    def finish(self) -> None:
        """Tell what is counted so far, for the last time."""
        self._repetitions.finish()
        self._log.info(
            "{received} messages received; calls: {succeeded} succeeded, {failed} failed, {retries} retries",
            received=self.received, succeeded=self.succeeded, failed=self.failed.total(), retries=self.retries,
        )  # fmt: skip

    def _say_more(self, kind: Hashable, again: int) -> None:
        self._log.warn("{again} more {kind}", again=again, kind="failures of other kinds" if kind is None else kind)


def _about(ending: Ending) -> dict[str, object]:
    """The fields that every line about an end has."""
    return {
        "subject": ending.delivery.subject,
        "identity": ending.delivery.identity,
        "function": ending.call and ending.call.function,
        "call_id": ending.call and ending.call.call_id,
        "status": ending.outcome.status,
        "attempts": ending.attempts,
        "elapsed_s": ending.elapsed_s,
    }


def _printed(body: bytes) -> str:
    text = body[:_MOST_PRINTED_BYTES].decode("utf-8", "replace")
    return text if len(body) <= _MOST_PRINTED_BYTES else f"{text}... (cut)"
