"""Publishing what became of messages."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from natsconnector.messages.replies import publish
from natsconnector.messages.storing import store
from natsconnector.model.headers import Header
from natsconnector.model.seams import IDeadLetters, ReplyNotSent
from natsconnector.nats import NatsClient
from natsconnector.nats.jetstream import JetStream


@implementer(IDeadLetters)
class CoreDeadLetters:
    """Dead letters on core NATS: whoever listens then gets them."""

    def __init__(self, client: NatsClient, subject: str) -> None:
        self.description = f"its dead letter was published on {subject}"
        self._client = client
        self._subject = subject

    def publish(self, payload: bytes, headers: list[Header]) -> Deferred[None]:
        try:
            publish(self._client, self._subject, payload, headers)
        except ReplyNotSent:
            return fail()
        return succeed(None)


@implementer(IDeadLetters)
class StoredDeadLetters:
    """Dead letters in a stream: each is safe when its publishing succeeds."""

    def __init__(self, jetstream: JetStream, subject: str) -> None:
        self.description = f"its dead letter is stored, on {subject}"
        self._jetstream = jetstream
        self._subject = subject

    def publish(self, payload: bytes, headers: list[Header]) -> Deferred[None]:
        return Deferred.fromCoroutine(store(self._jetstream, self._subject, payload, headers, "the dead letter"))
