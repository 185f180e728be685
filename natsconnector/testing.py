"""Fakes of the connector's seams, for tests of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from natsconnector.calls import FunctionCall, Header
from natsconnector.interfaces import AnswerTooLarge, IDelivery, IGateway, ISource
from natsconnector.outcome import OVERLOADED, Outcome, failed


@implementer(IDelivery)
class FakeDelivery:
    """
    A message that remembers how it was answered.

    :ivar answers: payload and headers of each answer; a message is answered once at the most.
    """

    def __init__(
        self,
        payload: bytes = b"",
        subject: str = "function.call",
        headers: Iterable[Header] = (),
        header_error: str | None = None,
        *,
        wants_answer: bool = True,
        max_answer_bytes: int = 1 << 20,
    ) -> None:
        self.payload = payload
        self.subject = subject
        self.headers = tuple(headers)
        self.header_error = header_error
        self.wants_answer = wants_answer
        self.max_answer_bytes = max_answer_bytes
        self.answers: list[tuple[bytes, dict[str, str]]] = []

    def answer(self, payload: bytes, headers: list[Header]) -> None:
        if len(payload) > self.max_answer_bytes:
            raise AnswerTooLarge(f"{len(payload)} bytes are more than {self.max_answer_bytes}")
        self.answers.append((payload, dict(headers)))


@implementer(ISource)
class FakeSource:
    """A source whose messages are whatever a test hands to :attr:`deliver`."""

    def __init__(self, subjects: tuple[str, ...] = ("function.call",)) -> None:
        self.subjects = subjects
        self.deliver: Callable[[IDelivery], None] | None = None

    def take(self, deliver: Callable[[IDelivery], None]) -> None:
        self.deliver = deliver

    def stop_taking(self) -> Deferred[None]:
        self.deliver = None
        return succeed(None)


@implementer(IGateway)
class FakeGateway:
    """
    A gateway whose calls end when, and as, a test wants.

    :ivar calls: those that were made, in order.
    :ivar outcomes: outcomes for the next calls, used up first; a call that finds none waits in :attr:`waiting`.
    """

    def __init__(self) -> None:
        self.calls: list[FunctionCall] = []
        self.outcomes: list[Outcome] = []
        self.waiting: list[Deferred[Outcome]] = []
        self.closed = False

    def call(self, call: FunctionCall) -> Deferred[Outcome]:
        self.calls.append(call)
        if self.outcomes:
            return succeed(self.outcomes.pop(0))
        ended: Deferred[Outcome] = Deferred(self._cancelled)
        self.waiting.append(ended)
        return ended

    def _cancelled(self, call: Deferred[Outcome]) -> None:
        self.waiting.remove(call)
        call.callback(failed(OVERLOADED, "gave up", final=True))

    def end(self, outcome: Outcome) -> None:
        """End the call that waits longest."""
        self.waiting.pop(0).callback(outcome)

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)
