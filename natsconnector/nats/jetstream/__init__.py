"""JetStream: streams, durable consumers, acknowledgements."""

from natsconnector.nats.jetstream.acks import Position, position
from natsconnector.nats.jetstream.api import JetStream, PubAck, StoredMessage, check_name
from natsconnector.nats.jetstream.consumer import PullConsumer
from natsconnector.nats.jetstream.errors import InvalidAnswer, JetStreamError, NoJetStream

__all__ = [
    "InvalidAnswer",
    "JetStream",
    "JetStreamError",
    "NoJetStream",
    "Position",
    "PubAck",
    "PullConsumer",
    "StoredMessage",
    "check_name",
    "position",
]
