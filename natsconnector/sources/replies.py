"""Publishing what became of messages."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from natsconnector.httpheaders import Header
from natsconnector.interfaces import AnswerNotSent, AnswerTooLarge, IDeadLetters
from natsconnector.nats import MaxPayloadExceeded, NatsClient, NatsError
from natsconnector.nats.jetstream import JetStream, JetStreamError
from natsconnector.nats.jetstream.errors import MESSAGE_TOO_LARGE


def publish(client: NatsClient, subject: str, payload: bytes, headers: list[Header]) -> None:
    """
    Publish an answer.

    :raises AnswerNotSent: nothing was published.
    """
    try:
        client.publish(subject, payload, headers=headers)
    except MaxPayloadExceeded as e:
        raise AnswerTooLarge(f"the answer is larger than the NATS server takes: {e}") from e
    except NatsError as e:
        raise AnswerNotSent(str(e)) from e


@implementer(IDeadLetters)
class CoreDeadLetters:
    """Dead letters on core NATS: whoever listens then gets them."""

    def __init__(self, client: NatsClient, subject: str) -> None:
        self._client = client
        self._subject = subject

    def publish(self, payload: bytes, headers: list[Header]) -> Deferred[None]:
        try:
            publish(self._client, self._subject, payload, headers)
        except AnswerNotSent:
            return fail()
        return succeed(None)


@implementer(IDeadLetters)
class StoredDeadLetters:
    """Dead letters in a stream: each is safe when its publishing succeeds."""

    def __init__(self, jetstream: JetStream, subject: str) -> None:
        self._jetstream = jetstream
        self._subject = subject

    def publish(self, payload: bytes, headers: list[Header]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._publish(payload, headers))

    async def _publish(self, payload: bytes, headers: list[Header]) -> None:
        try:
            await self._jetstream.publish(self._subject, payload, headers=headers)
        except MaxPayloadExceeded as e:
            raise AnswerTooLarge(f"the dead letter is larger than the NATS server takes: {e}") from e
        except JetStreamError as e:
            too_large = e.err_code == MESSAGE_TOO_LARGE
            raise (AnswerTooLarge if too_large else AnswerNotSent)(f"the stream of dead letters: {e}") from e
        except NatsError as e:
            raise AnswerNotSent(str(e)) from e
