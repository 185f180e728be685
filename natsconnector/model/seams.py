"""The seams of the connector: each has a real provider and a fake one in :mod:`natsconnector.testing`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from natsconnector.model.call import FunctionCall
from natsconnector.model.headers import Header
from natsconnector.model.outcome import Outcome


class IDelivery(Interface):
    """One message, from its arrival until it is settled."""

    subject: str = Attribute("the concrete subject the message was published to")
    payload: bytes = Attribute("the message's payload")
    headers: Iterable[Header] = Attribute("the message's headers, in order")
    header_error: str | None = Attribute("what is wrong with the header block; None when it is well-formed")
    wants_answer: bool = Attribute("whether anybody asked for the outcome")
    durable: bool = Attribute(
        "whether it comes again as long as it is not acknowledged: at least once, not at most once"
    )
    attempt: int = Attribute("how often it was delivered, this time included; 1 unless durable")
    most_attempts: int | None = Attribute(
        "after how many deliveries it comes no more; None when there is no such limit"
    )
    shared: bool = Attribute("whether it is one function's part of a message for several, whose retries are made here")
    identity: str | None = Attribute(
        "what names the message wherever and however often it is delivered, if anything does"
    )
    published_at_s: float | None = Attribute("when it was stored, in seconds since 1970; None when it never was")

    def park(parked: bool) -> None:
        """Its call waits for others of the same function, and needs no slot; or no longer does."""

    def answer(payload: bytes, headers: list[Header]) -> None:
        """
        Publish the outcome to whoever asked for it; does nothing when nobody did.

        :raises ReplyNotSent: nothing was published; :class:`ReplyTooLarge` when a smaller one could be.
        """

    def ack() -> None:
        """It is done. Every delivery ends with one of this and the following two; they do nothing unless durable."""

    def nak(delay_s: float) -> None:
        """Deliver it again after a while, here or elsewhere."""

    def term(reason: str) -> None:
        """It is given up: never deliver it again."""


class ISource(Interface):
    """Where messages come from."""

    description: str = Attribute("what it listens on, for the log")

    def take(deliver: Callable[[IDelivery], None]) -> None:
        """Hand every message that arrives to ``deliver``, from now on and over reconnects."""

    def when_ready() -> Deferred[None]:
        """Fires when messages can come in; at once if they can already."""

    def stop_taking() -> Deferred[None]:
        """Take no new message; fires when those already on the way have been delivered."""


class IGateway(Interface):
    """An OpenFaaS gateway."""

    def call(call: FunctionCall) -> Deferred[Outcome]:
        """
        Call a function once.

        The Deferred never fails: what went wrong is an :class:`~natsconnector.outcome.Outcome` too.
        Cancelling it gives the call up and closes its connection.
        """

    def close() -> Deferred[None]:
        """Close the idle connections."""


class IDeadLetters(Interface):
    """Where messages go that can never succeed."""

    def publish(payload: bytes, headers: list[Header]) -> Deferred[None]:
        """
        Put a message there; fires when it is safe there, as far as the place can tell.

        Fails with :class:`ReplyNotSent` when it is not.
        """


class ReplyNotSent(Exception):
    """Something could not be published; the text says why."""


class ReplyTooLarge(ReplyNotSent):
    """An answer is larger than what the NATS server accepts."""
