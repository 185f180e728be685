"""A NATS client in pure Twisted.

``NatsClient`` is the door; everything it raises is a ``NatsError``.
"""

from natsconnector.nats.auth import Credentials, CredentialsSource, creds_file, nkey_file, password_file, token_file
from natsconnector.nats.backoff import Backoff
from natsconnector.nats.client import NatsClient
from natsconnector.nats.connecting import connect
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
    NoReplySubject,
    NoResponders,
    OutboundBufferFull,
    PermissionsViolation,
    ProtocolViolation,
    RequestRefused,
    RequestTimeout,
    ServerError,
    SubscriptionEnded,
    SubscriptionRefused,
)
from natsconnector.nats.messages import Messages
from natsconnector.nats.micro import Endpoint, MicroService, ServiceError
from natsconnector.nats.micro_answers import EndpointFacts
from natsconnector.nats.servers import Server, parse_server
from natsconnector.nats.service import NatsService
from natsconnector.nats.status import Statistics, Status
from natsconnector.nats.subscription import Subscription
from natsconnector.nats.tls import Tls
from natsconnector.nats.wire.events import Msg
from natsconnector.nats.wire.headers import Headers
from natsconnector.nats.wire.subjects import check_inbox_prefix

__all__ = [
    "AuthorizationError",
    "Backoff",
    "BadCredentials",
    "BadHeader",
    "BadServerUrl",
    "BadSubject",
    "ClientClosed",
    "ClientDraining",
    "ConnectFailed",
    "ConnectionLost",
    "Credentials",
    "CredentialsSource",
    "DrainTimeout",
    "Endpoint",
    "EndpointFacts",
    "FlushTimeout",
    "Headers",
    "HeadersNotSupported",
    "MaxPayloadExceeded",
    "Messages",
    "MicroService",
    "Msg",
    "NatsClient",
    "NatsError",
    "NatsService",
    "NoReplySubject",
    "NoResponders",
    "OutboundBufferFull",
    "PermissionsViolation",
    "ProtocolViolation",
    "RequestRefused",
    "RequestTimeout",
    "Server",
    "ServerError",
    "ServiceError",
    "Statistics",
    "Status",
    "Subscription",
    "SubscriptionEnded",
    "SubscriptionRefused",
    "Tls",
    "check_inbox_prefix",
    "connect",
    "creds_file",
    "nkey_file",
    "parse_server",
    "password_file",
    "token_file",
]
