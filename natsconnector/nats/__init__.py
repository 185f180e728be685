"""A NATS client in pure Twisted.

``NatsClient`` is the door; everything it raises is a ``NatsError``.
"""

from natsconnector.nats.auth import Credentials, creds_file, nkey_file, password_file, token_file
from natsconnector.nats.client import NatsClient
from natsconnector.nats.errors import (
    AuthorizationError,
    BadCredentials,
    BadHeader,
    BadServerUrl,
    BadSubject,
    ClientClosed,
    ClientDraining,
    ConnectFailed,
    ConnectionLost,
    DrainTimeout,
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
from natsconnector.nats.status import Statistics, Status
from natsconnector.nats.subscription import Subscription
from natsconnector.nats.tls import Tls
from natsconnector.nats.wire.events import Msg
from natsconnector.nats.wire.headers import Headers

__all__ = [
    "AuthorizationError",
    "BadCredentials",
    "BadHeader",
    "BadServerUrl",
    "BadSubject",
    "ClientClosed",
    "ClientDraining",
    "ConnectFailed",
    "ConnectionLost",
    "Credentials",
    "DrainTimeout",
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
    "Tls",
    "creds_file",
    "nkey_file",
    "password_file",
    "token_file",
]
