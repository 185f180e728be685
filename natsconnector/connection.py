"""The connection to NATS that settings ask for."""

from __future__ import annotations

from typing import Any

from natsconnector import login
from natsconnector.nats import NatsClient
from natsconnector.settings import Settings


def nats_client(reactor: Any, settings: Settings, name: str) -> NatsClient:
    """
    A client, not started yet.

    :param name: what the server shows as the client's name.
    """
    return NatsClient(
        reactor,
        settings.nats,
        name=name,
        credentials=login.credentials(
            settings.nats_user,
            settings.nats_password_file,
            settings.nats_token_file,
            settings.nats_nkey_file,
            settings.nats_creds,
        ),
        tls=login.tls(settings.nats_ca, settings.nats_cert, settings.nats_key, settings.nats_tls_first),
        inbox_prefix=settings.inbox_prefix,
    )
