"""Publishing what became of messages."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from natsconnector.messages.replies import publish
from natsconnector.model.headers import Header
from natsconnector.model.seams import IDeadLetters, ReplyNotSent, ReplyTooLarge
from natsconnector.nats import MaxPayloadExceeded, NatsClient, NatsError
from natsconnector.nats.jetstream import HEADERS_TOO_LARGE, MESSAGE_TOO_LARGE, JetStream, JetStreamError


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
        return Deferred.fromCoroutine(self._publish(payload, headers))

    async def _publish(self, payload: bytes, headers: list[Header]) -> None:
        try:
            await self._jetstream.publish(self._subject, payload, headers=headers)
        except MaxPayloadExceeded as e:
            raise ReplyTooLarge(f"the dead letter is larger than the NATS server takes: {e}") from e
        except JetStreamError as e:
            too_large = e.err_code in (MESSAGE_TOO_LARGE, HEADERS_TOO_LARGE)
            raise (ReplyTooLarge if too_large else ReplyNotSent)(f"the stream of dead letters: {e}") from e
        except NatsError as e:
            raise ReplyNotSent(str(e)) from e
