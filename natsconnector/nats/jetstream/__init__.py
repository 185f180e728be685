"""JetStream: streams, durable consumers, acknowledgements."""

from natsconnector.nats.jetstream.acks import ACK, ACK_PREFIX, IN_PROGRESS, Position, nak, position, term, version
from natsconnector.nats.jetstream.api import JetStream, PubAck, StoredMessage, check_name
from natsconnector.nats.jetstream.consumer import PullConsumer
from natsconnector.nats.jetstream.errors import (
    HEADERS_TOO_LARGE,
    MESSAGE_TOO_LARGE,
    NO_CONSUMER,
    NO_STREAM,
    NOT_ENABLED,
    NOT_ENABLED_FOR_ACCOUNT,
    InvalidAnswer,
    JetStreamError,
    NoJetStream,
)
from natsconnector.nats.jetstream.fields import fields_of, flag, integer, integers, seconds, text, texts

__all__ = [
    "ACK",
    "ACK_PREFIX",
    "HEADERS_TOO_LARGE",
    "IN_PROGRESS",
    "MESSAGE_TOO_LARGE",
    "NOT_ENABLED",
    "NOT_ENABLED_FOR_ACCOUNT",
    "NO_CONSUMER",
    "NO_STREAM",
    "InvalidAnswer",
    "JetStream",
    "JetStreamError",
    "NoJetStream",
    "Position",
    "PubAck",
    "PullConsumer",
    "StoredMessage",
    "check_name",
    "fields_of",
    "flag",
    "integer",
    "integers",
    "nak",
    "position",
    "seconds",
    "term",
    "text",
    "texts",
    "version",
]
