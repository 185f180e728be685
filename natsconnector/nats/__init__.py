"""A NATS client in pure Twisted.

``NatsClient`` is the door; everything it raises is a ``NatsError``.
"""

from natsconnector.nats.client import NatsClient
from natsconnector.nats.errors import (
    AuthorizationError,
    BadHeader,
    BadServerUrl,
    BadSubject,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    FlushTimeout,
    HeadersNotSupported,
    MaxPayloadExceeded,
    NatsError,
    NoResponders,
    OutboundBufferFull,
    PermissionsViolation,
    ProtocolViolation,
    RequestRefused,
    RequestTimeout,
    ServerError,
)
from natsconnector.nats.events import Msg
from natsconnector.nats.headers import Headers
from natsconnector.nats.status import Statistics, Status
from natsconnector.nats.subscription import Subscription

__all__ = [
    "AuthorizationError",
    "BadHeader",
    "BadServerUrl",
    "BadSubject",
    "ClientClosed",
    "ConnectFailed",
    "ConnectionLost",
    "FlushTimeout",
    "Headers",
    "HeadersNotSupported",
    "MaxPayloadExceeded",
    "Msg",
    "NatsClient",
    "NatsError",
    "NoResponders",
    "OutboundBufferFull",
    "PermissionsViolation",
    "ProtocolViolation",
    "RequestRefused",
    "RequestTimeout",
    "ServerError",
    "Statistics",
    "Status",
    "Subscription",
]
