"""The seams of the connector: each has a real provider and a fake one in :mod:`natsconnector.testing`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from natsconnector.model.call import FunctionCall
from natsconnector.model.headers import Header
from natsconnector.model.outcome import Outcome
from natsconnector.model.reply import Reply


class IDelivery(Interface):
    """One message, from its arrival until it is settled."""

    subject: str = Attribute("the concrete subject the message was published to")
    payload: bytes = Attribute("the message's payload")
    size_bytes: int = Attribute("of payload and headers")
    headers: Collection[Header] = Attribute("the message's headers, in order")
    header_error: str | None = Attribute("what is wrong with the header block; None when it can be read")
    skipped_headers: Sequence[str] = Attribute("what is wrong with each header that was left out of ``headers``")
    reply_subject: str | None = Attribute(
        "where an answer goes; None when nobody asked for one, or it may not go there"
    )
    wants_answer: bool = Attribute("whether anybody asked for the outcome")
    durable: bool = Attribute(
        "whether it comes again as long as it is not acknowledged: at least once, not at most once"
    )
    attempt: int = Attribute("how often it was delivered, this time included; 1 unless durable")
    most_attempts: int | None = Attribute(
        "after how many deliveries it comes no more; None when there is no such limit"
    )
    comes_again: bool = Attribute(
        "whether a nak brings it again by itself; a part of a message for several functions is durable, but does not"
    )
    identity: str | None = Attribute(
        "what names the message wherever and however often it is delivered, if anything does"
    )
    published_at_s: float | None = Attribute("when it was stored, in seconds since 1970; None when it never was")

    def hold_back(held_back: bool) -> None:
        """
        Called with True while the function's own limit holds the call back, and with False when it no longer does. A
        source may fetch another message meanwhile.
        """

    def answer(reply: Reply) -> None:
        """
        Publish the outcome to whoever asked for it; does nothing when nobody did.

        :raises ReplyNotSent: nothing was published; :class:`ReplyTooLarge` when a smaller one could be.
        """

    def ack() -> None:
        """
        The message is done. Every delivery ends with one of ``ack``, ``nak`` and ``term``, which do nothing unless it
        is durable.
        """

    def nak(delay_s: float) -> None:
        """Deliver the message again after a while, here or elsewhere."""

    def term(reason: str) -> None:
        """The message is given up: never deliver it again."""


class ISource(Interface):
    """Where messages come from."""

    description: str = Attribute("what it listens on, for the log")

    endpoints: Sequence[tuple[str, str]] = Attribute(
        "each subject whose messages it takes, with its queue group, empty where a stream deals them out"
    )

    def start(deliver: Callable[[IDelivery], None]) -> None:
        """Hand every message that arrives to ``deliver``, from now on and over reconnects."""

    not_ready: str | None = Attribute("why messages cannot come in, as the server has confirmed; None when they can")

    def watch(callback: Callable[[], object]) -> None:
        """Have ``callback`` called whenever ``not_ready`` may have changed."""

    def hold(held: bool) -> None:
        """
        Called with True while no call can be made, so that a source that can wait fetches nothing, and with False when
        calls can be made again.
        """

    def stop() -> Deferred[None]:
        """Take no new message; fires when those already on the way have been delivered."""


class IGateway(Interface):
    """An OpenFaaS gateway."""

    def probe() -> Deferred[bool]:
        """Ask the gateway for any response at all; fires with whether there was one. The Deferred never fails."""

    def call(call: FunctionCall) -> Deferred[Outcome]:
        """
        Call a function once.

        The Deferred never fails: what went wrong is an :class:`~natsconnector.model.outcome.Outcome` too.
        Cancelling it gives the call up and closes its connection.
        """

    def close() -> Deferred[None]:
        """Close the idle connections."""


class ITracer(Interface):
    """A tracing system."""

    def start() -> None:
        """Called once, before the first message."""

    def message(delivery: IDelivery) -> IDelivery:
        """Begin to follow a message: the delivery that is to be taken for it, so that its end is seen."""

    def gateway(gateway: IGateway) -> IGateway:
        """A gateway whose calls are followed."""

    def stop() -> Deferred[None]:
        """Send what is left. Fires soon in any case; it never fails."""


class ICallbacks(Interface):
    """Takes the callbacks of the gateway's queue-worker."""

    def open() -> None:
        """
        Listen.

        :raises SystemExit: the endpoint cannot be had; the text says why.
        """

    def start() -> None:
        """Tell where it listens."""

    def stop() -> Deferred[None]:
        """Take no more, and finish what is in hand; fires when all connections are closed."""


class IDeadLetters(Interface):
    """Where messages go that can never succeed."""

    description: str = Attribute("where that is, for the log")

    def publish(payload: bytes, headers: list[Header]) -> Deferred[None]:
        """
        Put a message there; fires when it is safe there, as far as the place can tell.

        Fails with :class:`ReplyNotSent` when it is not.
        """


class ReplyNotSent(Exception):
    """A reply, or a dead letter, could not be published; the text says why."""

    kind = "not_published"


class ReplyTooLarge(ReplyNotSent):
    """A reply, or a dead letter, is larger than what the NATS server accepts."""

    kind = "too_large"
