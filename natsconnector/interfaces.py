"""The seams of the connector: each has a real provider and a fake one in :mod:`natsconnector.testing`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from natsconnector.calls import FunctionCall
from natsconnector.outcome import Outcome


class IDelivery(Interface):
    """One message, from its arrival until it is settled."""

    subject: str = Attribute("the concrete subject the message was published to")
    payload: bytes = Attribute("the message's payload")
    headers: Iterable[tuple[str, str]] = Attribute("the message's headers, in order")
    header_error: str | None = Attribute("what is wrong with the header block; None when it is well-formed")
    wants_answer: bool = Attribute("whether anybody asked for the outcome")

    def answer(payload: bytes, headers: list[tuple[str, str]]) -> None:
        """
        Publish the outcome to whoever asked for it; does nothing when nobody did.

        :raises AnswerNotSent: nothing was published; :class:`AnswerTooLarge` when a smaller one could be.
        """


class ISource(Interface):
    """Where messages come from."""

    subjects: tuple[str, ...] = Attribute("what it listens on")

    def take(deliver: Callable[[IDelivery], None]) -> None:
        """Hand every message that arrives to ``deliver``, from now on and over reconnects."""

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


class AnswerNotSent(Exception):
    """An answer could not be published; the text says why."""


class AnswerTooLarge(AnswerNotSent):
    """An answer is larger than what the NATS server accepts."""
