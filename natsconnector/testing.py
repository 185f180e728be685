"""Fakes for tests of one's own: of the connector's seams, of a NATS server, and a whole connector between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from natsconnector.model.call import FunctionCall
from natsconnector.model.headers import Header
from natsconnector.model.outcome import Outcome, unfinished
from natsconnector.model.reply import Reply
from natsconnector.model.seams import IDeadLetters, IDelivery, IGateway, ISource, ITracer, ReplyTooLarge
from natsconnector.nats.fake import FakeNats

if TYPE_CHECKING:
    from natsconnector.connector import Connector

__all__ = [
    "FakeDeadLetters",
    "FakeDelivery",
    "FakeGateway",
    "FakeNats",
    "FakeSource",
    "FakeTracer",
    "connector_for_tests",
]


def connector_for_tests(nats: FakeNats, gateway: IGateway, **settings: str) -> Connector:
    """
    A whole connector that is ready, between a NATS server in memory and a gateway, a :class:`FakeGateway` for one.

    Envelopes and subjects that name functions work; topics need the gateway's list of functions, and streams a server
    with JetStream, which these fakes have not. End it with ``stopService()``.

    :param settings: as flags have them: ``function_subject="fn.*"``, ``retry_attempts="1"``; a switch is ``"on"``.
    :raises ConfigurationError: what is wrong with the settings.
    """
    # Not at the top: who needs the fakes only does not need the whole house.
    from natsconnector.assembly.connector import make_connector
    from natsconnector.config.reading import read

    flags = {name.replace("_", "-"): value for name, value in settings.items()}
    connector = make_connector(cast(Any, nats.reactor), read({"nats": nats.url, **flags}, {}), gateway)
    connector.startService()
    nats.settle()
    return connector


@implementer(IDelivery)
class FakeDelivery:
    """
    A message that remembers how it was answered.

    :ivar replies: each reply; a message is answered once at the most.
    :ivar acknowledged: ``("ack", None)``, ``("nak", delay_s)`` or ``("term", reason)``; once, too.
    """

    def __init__(
        self,
        payload: bytes = b"",
        subject: str = "function.call",
        headers: Iterable[Header] = (),
        header_error: str | None = None,
        *,
        wants_answer: bool = True,
        max_reply_bytes: int = 1 << 20,
        durable: bool = False,
        attempt: int = 1,
        most_attempts: int | None = None,
        identity: str | None = None,
        published_at_s: float | None = None,
    ) -> None:
        self.payload = payload
        self.size_bytes = len(payload) + sum(len(name) + len(value) for name, value in headers)
        self.subject = subject
        self.headers = tuple(headers)
        self.header_error = header_error
        self.skipped_headers: tuple[str, ...] = ()
        self.wants_answer = wants_answer
        self.reply_subject = "_INBOX.fake" if wants_answer else None
        self.max_reply_bytes = max_reply_bytes
        self.durable = durable
        self.comes_again = durable
        self.held_back = False
        self.attempt = attempt
        self.most_attempts = most_attempts
        self.identity = identity
        self.published_at_s = published_at_s
        self.acknowledged: list[tuple[str, object]] = []
        self.replies: list[Reply] = []

    def answer(self, reply: Reply) -> None:
        if len(reply.body) > self.max_reply_bytes:
            raise ReplyTooLarge(f"{len(reply.body)} bytes are more than {self.max_reply_bytes}")
        self.replies.append(reply)

    def hold_back(self, held_back: bool) -> None:
        self.held_back = held_back

    def ack(self) -> None:
        self.acknowledged.append(("ack", None))

    def nak(self, delay_s: float) -> None:
        self.acknowledged.append(("nak", delay_s))

    def term(self, reason: str) -> None:
        self.acknowledged.append(("term", reason))


@implementer(ISource)
class FakeSource:
    """A source whose messages are whatever a test hands to :attr:`deliver`."""

    def __init__(self) -> None:
        self.description = "a fake source"
        self.endpoints: list[tuple[str, str]] = []
        self.not_ready: str | None = None
        self._watchers: list[Callable[[], object]] = []
        self.deliver: Callable[[IDelivery], None] | None = None
        self.held = False

    def start(self, deliver: Callable[[IDelivery], None]) -> None:
        self.deliver = deliver

    def watch(self, callback: Callable[[], object]) -> None:
        self._watchers.append(callback)

    def become(self, not_ready: str | None) -> None:
        """Let messages be able to come in, or not."""
        self.not_ready = not_ready
        for callback in self._watchers:
            callback()

    def hold(self, held: bool) -> None:
        self.held = held

    def stop(self) -> Deferred[None]:
        self.deliver = None
        return succeed(None)


@implementer(IDeadLetters)
class FakeDeadLetters:
    """
    A place for dead letters.

    :ivar letters: payload and headers of each; :ivar failures: errors for the next ones, used up first.
    """

    def __init__(self) -> None:
        self.description = "its dead letter is kept"
        self.letters: list[tuple[bytes, dict[str, str]]] = []
        self.failures: list[Exception] = []

    def publish(self, payload: bytes, headers: list[Header]) -> Deferred[None]:
        if self.failures:
            return fail(self.failures.pop(0))
        self.letters.append((payload, dict(headers)))
        return succeed(None)


@implementer(IGateway)
class FakeGateway:
    """
    A gateway whose calls end when, and as, a test wants.

    :ivar calls: those that were made, in order.
    :ivar outcomes: outcomes for the next calls, used up first; a call that finds none waits in :attr:`waiting`.
    :ivar answers_probes: whether a probe gets a response; :ivar probes: how many there were.
    """

    def __init__(self) -> None:
        self.calls: list[FunctionCall] = []
        self.outcomes: list[Outcome] = []
        self.waiting: list[Deferred[Outcome]] = []
        self.closed = False
        self.answers_probes = True
        self.probes = 0

    def probe(self) -> Deferred[bool]:
        self.probes += 1
        return succeed(self.answers_probes)

    def call(self, call: FunctionCall) -> Deferred[Outcome]:
        self.calls.append(call)
        if self.outcomes:
            return succeed(self.outcomes.pop(0))
        ended: Deferred[Outcome] = Deferred(self._cancelled)
        self.waiting.append(ended)
        return ended

    def _cancelled(self, call: Deferred[Outcome]) -> None:
        self.waiting.remove(call)
        call.callback(unfinished("gave up", not_executed=False))

    def end(self, outcome: Outcome) -> None:
        """End the call that waits longest."""
        self.waiting.pop(0).callback(outcome)

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)


@implementer(ITracer)
class FakeTracer:
    """
    A tracer that changes nothing.

    :ivar messages: those that it was told of; :ivar gateways: likewise; :ivar is_running: it was started, not stopped.
    """

    def __init__(self) -> None:
        self.messages: list[IDelivery] = []
        self.gateways: list[IGateway] = []
        self.is_running = False

    def start(self) -> None:
        self.is_running = True

    def message(self, delivery: IDelivery) -> IDelivery:
        self.messages.append(delivery)
        return delivery

    def gateway(self, gateway: IGateway) -> IGateway:
        self.gateways.append(gateway)
        return gateway

    def stop(self) -> Deferred[None]:
        self.is_running = False
        return succeed(None)
