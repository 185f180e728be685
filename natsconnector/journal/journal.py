"""What became of the messages: counts, and log lines that tell it."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from natsconnector.journal.calls import Calls
from natsconnector.journal.counts import OTHER, AnotherAttempt, Awaiting, FunctionNames
from natsconnector.journal.endpoints import Endpoints
from natsconnector.journal.episodes import Episodes
from natsconnector.journal.failures import Failures
from natsconnector.journal.report import Report
from natsconnector.journal.words import about, counted, printed
from natsconnector.model.call import FunctionCall
from natsconnector.model.ending import Ending
from natsconnector.model.headers import trace_id_of
from natsconnector.model.outcome import Outcome
from natsconnector.model.seams import IDelivery, ReplyNotSent

# Behind the reason for which a message failed, if its dead letter is somewhere.
_NAMED_LETTER = {False: "", True: "; {dead_letter}"}


class Journal(Episodes):
    """
    Counts and tells what becomes of messages.

    Failures are always told, since a reply may never be seen by anybody; a failure that repeats itself is told once and
    then counted. Payloads are told only when asked for. Each line has a field ``event`` that names it.

    :param print_response: tell every response; :param print_response_body: with its body.
    :param print_request_body: tell every call with its body.
    :param debug: tell successes, and messages that are left to a later delivery, too, at that level.
    :param most_functions: how many functions have counts of their own.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        print_response: bool = False,
        print_response_body: bool = False,
        print_request_body: bool = False,
        debug: bool = False,
        most_functions: int = 500,
    ) -> None:
        super().__init__(clock)
        self._print_response = print_response or print_response_body
        self._print_response_body = print_response_body
        self._print_request_body = print_request_body
        self._is_debug = debug
        self._tells_successes = self._print_response or debug
        self._waiting = AnotherAttempt()
        self._names = FunctionNames()
        self.calls = Calls(most_functions)
        self.failures, self.endpoints = Failures(), Endpoints()
        self.report = Report(clock, self.counts, self._waiting, self._tell)

    # What happens to a message

    def received(self, delivery: IDelivery, way: str) -> None:
        """A message was delivered. :param way: by which way it asks for calls."""
        self.counts.delivered(delivery.attempt == 1, way)
        self.report.begin()

    def calling(self, call: FunctionCall) -> None:
        """A call is about to be made."""
        if self._print_request_body:
            self._tell(
                LogLevel.info, "calling", "calling {function} with {size_bytes} bytes: {body} [call {call_id}]",
                function=call.function, size_bytes=len(call.body), body=printed(call.body), call_id=call.call_id,
            )  # fmt: skip

    def retrying(
        self, delivery: IDelivery, call: FunctionCall, outcome: Outcome, attempt: int, delay_s: float, full_name: str
    ) -> None:
        """An attempt failed, another one follows. :param full_name: the function's."""
        self.counts.retries += 1
        self.calls.retried(full_name, outcome.status)
        self._waiting.waits(call.call_id, self._clock.seconds(), delay_s, attempt)
        if not delivery.durable:  # its end is near, and will be told
            return
        function = self._name(call, outcome)

        def say_more(count: int, window_s: float) -> None:
            waiting, oldest_s, _ = self.awaiting_another_attempt()
            self._tell(
                LogLevel.warn, "attempts_failed",
                "{count} more attempts to call {function} failed with {status} within {window_s:g} s;"
                " {waiting} messages wait for another attempt, the oldest for {oldest_s:.0f} s",
                count=count, function=function, status=outcome.status, window_s=window_s, waiting=waiting,
                oldest_s=round(oldest_s, 3),
            )  # fmt: skip

        if self._repetitions.is_first(("attempt", function, outcome.status), say_more):
            self._tell(
                LogLevel.warn, "attempt_failed",
                "attempt {attempt} for a message on {subject} failed, the next follows in {delay_s:.1f} s: {reason}"
                " [call {call_id}]",
                attempt=attempt, subject=delivery.subject, delay_s=round(delay_s, 3), reason=outcome.error(call),
                function=call.function, status=outcome.status, call_id=call.call_id, trace_id=trace_id_of(call.headers),
            )  # fmt: skip

    def ended(self, ending: Ending, stored: str | None = None) -> None:
        """
        A message reached its end.

        :param stored: where its dead letter is, if there is one.
        """
        call, outcome = ending.call, ending.outcome
        self.endpoints.ended(ending)
        if call is not None:
            self._waiting.ended(call.call_id)
        error = outcome.error(call)
        if error is None:
            self.counts.succeeded += 1
            if call is not None:
                self._names.learn(call.function, is_proven=True)
            if self._tells_successes:
                self._tell_response(ending)
            return
        self.counts.failed[outcome.status] += 1
        if call is None:
            self._refused(ending, error, stored)
        else:
            self._failed(ending, call, error, stored)
        if self._print_response and outcome.failure is None:
            self._tell_response(ending)

    def _refused(self, ending: Ending, error: str, stored: str | None) -> None:
        subject, status = ending.delivery.subject, ending.outcome.status
        self.counts.refused[status] += 1
        self.failures.add(self._clock.seconds(), "", ending.outcome)

        def say_more(count: int, window_s: float) -> None:
            self._tell(
                LogLevel.warn, "messages_refused",
                "{count} more messages on {subject} were refused with {status} within {window_s:g} s",
                count=count, subject=subject, status=status, window_s=window_s,
            )  # fmt: skip

        if self._repetitions.is_first(("refused", subject, status), say_more, self._more_of_other_kinds):
            text = "refused a message on {subject} with {status}: {reason}" + _NAMED_LETTER[stored is not None]
            self._tell(LogLevel.warn, "message_refused", text, reason=error, dead_letter=stored, **about(ending))

    def _failed(self, ending: Ending, call: FunctionCall, error: str, stored: str | None) -> None:
        outcome = ending.outcome
        function = self._name(call, outcome)
        self.failures.add(self._clock.seconds(), function, outcome)

        def say_more(count: int, window_s: float) -> None:
            self._tell(
                LogLevel.warn, "calls_failed",
                "{count} more calls of {function} failed with {status} within {window_s:g} s",
                count=count, function=function, status=outcome.status, window_s=window_s,
            )  # fmt: skip

        if self._repetitions.is_first(("failed", function, outcome.status), say_more, self._more_of_other_kinds):
            tries = f" after {counted(ending.attempts, 'attempt')}" if ending.attempts else ""
            text = "call of {function} failed for a message on {subject}" + tries + ": {reason}"
            self._tell(
                LogLevel.warn, "call_failed", text + _NAMED_LETTER[stored is not None] + " [call {call_id}]",
                reason=error, dead_letter=stored, **about(ending),
            )  # fmt: skip

    def headers_skipped(self, subject: str, faults: Sequence[str]) -> None:
        """Headers of a message cannot be read; the others count."""
        text = "a message on {subject} has headers that cannot be read and are left out: {reason}"
        self._repeated(LogLevel.warn, "headers_skipped", ("headers", subject), text, subject=subject, reason=faults[0])

    def nobody_wants(self, subject: str) -> None:
        """A durable message came on a topic that no function wants at the moment."""
        text = "no function is annotated with the topic {subject}; retries last for --missing-function-grace"
        self._repeated(LogLevel.warn, "topic_without_function", ("nobody", subject), text, subject=subject)

    def lost(self, ending: Ending) -> None:
        """A durable message is given up, and there is no place for dead letters: its name is all that is left of it."""
        self.endpoints.ended(ending)
        self.counts.failed[ending.outcome.status] += 1
        self.counts.given_up += 1
        function = ""
        if ending.call is not None:
            self._waiting.ended(ending.call.call_id)
            function = self._name(ending.call, ending.outcome)
        else:
            self.counts.refused[ending.outcome.status] += 1
        self.failures.add(self._clock.seconds(), function, ending.outcome)
        self._tell(
            LogLevel.error, "message_given_up",
            "gave up message {identity} on {subject} after " + counted(ending.attempts, "attempt")
            + "; without --dead-letter it is lost: {reason}" + ("" if ending.call is None else " [call {call_id}]"),
            reason=ending.outcome.error(ending.call), **about(ending),
        )  # fmt: skip

    def left(self, ending: Ending) -> None:
        """A durable message is left to a later delivery."""
        if self._is_debug:
            self._tell(LogLevel.debug, "message_left", "left message {identity} to a later delivery", **about(ending))

    def stored(self, ending: Ending) -> None:
        """A dead letter is safe."""
        self.counts.dead_letters += 1
        self.calls.dead_letter(ending.function, ending.outcome.status)

    def not_stored(self, ending: Ending, reason: str) -> None:
        """A message could not be put to the dead letters."""
        self.counts.dead_letters_failed += 1
        then = "the message stays in its stream and comes again" if ending.delivery.durable else "the message is lost"
        text = "could not store the dead letter of a message on {subject}; " + then + ": {reason}"
        self._repeated(LogLevel.error, "dead_letter_not_stored", "dead letter", text, reason=reason, **about(ending))

    def reply_lost(self, subject: str, error: ReplyNotSent) -> None:
        """Somebody waits for a reply that could not be sent."""
        self.counts.answer_not_sent(error.kind)
        text = "could not send the reply to a message on {subject}: {reason}"
        self._repeated(LogLevel.warn, "reply_lost", "reply", text, subject=subject, reason=str(error))

    def awaiting_another_attempt(self) -> Awaiting:
        """The messages that wait for another attempt."""
        return self._waiting.look(self._clock.seconds())

    def finish(self) -> None:
        """Tell what is counted so far, for the last time."""
        self._repetitions.finish()
        self.report.stop()
        counts = self.counts
        self._tell(
            LogLevel.info, "finished",
            "{received} messages received; calls: {succeeded} succeeded, {failed} failed, {retried} tried again",
            received=counts.received, succeeded=counts.succeeded, failed=counts.failed.total(), retried=counts.retries,
        )  # fmt: skip

    # Inside

    def _name(self, call: FunctionCall, outcome: Outcome) -> str:
        """The name under which a failed call is told: functions that are not there share one."""
        if outcome.status == 404 or outcome.not_deployed:
            name = self._names.name(call.function)
            return "functions that are not deployed" if name == OTHER else name
        self._names.learn(call.function, is_proven=outcome.failure is None)
        return self._names.name(call.function)

    def _tell_response(self, ending: Ending) -> None:
        text = "{function} answered {status} with {size_bytes} bytes after {duration_s:.3f} s"
        fields = about(ending)
        if self._print_response_body:
            text += ": {body}"
            fields["body"] = printed(ending.outcome.body)
        level = LogLevel.info if self._print_response else LogLevel.debug
        self._tell(level, "response", text + " [call {call_id}]", size_bytes=len(ending.outcome.body), **fields)
