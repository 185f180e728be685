"""Messages that have to get into a stream."""

from __future__ import annotations

from natsconnector.model.headers import Header
from natsconnector.model.seams import ReplyNotSent, ReplyTooLarge
from natsconnector.nats import MaxPayloadExceeded, NatsError
from natsconnector.nats.jetstream import HEADERS_TOO_LARGE, MESSAGE_TOO_LARGE, JetStream, JetStreamError


async def store(jetstream: JetStream, subject: str, payload: bytes, headers: list[Header], what: str) -> None:
    """
    Publish a message, and wait until a stream has stored it.

    :param what: it is, for the error: ``the dead letter``.
    :raises ReplyNotSent: it is not known to be stored; :class:`ReplyTooLarge` where a smaller one could be.
    """
    try:
        await jetstream.publish(subject, payload, headers=headers)
    except MaxPayloadExceeded as e:
        raise ReplyTooLarge(f"{what} is larger than the NATS server takes: {e}") from e
    except JetStreamError as e:
        too_large = e.err_code in (MESSAGE_TOO_LARGE, HEADERS_TOO_LARGE)
        raise (ReplyTooLarge if too_large else ReplyNotSent)(f"the stream does not take {what}: {e}") from e
    except NatsError as e:
        raise ReplyNotSent(str(e)) from e
