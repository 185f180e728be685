"""The NATS client that settings ask for."""

from __future__ import annotations

from natsconnector.config.settings import Settings
from natsconnector.nats import (
    Credentials,
    CredentialsSource,
    NatsClient,
    Tls,
    creds_file,
    nkey_file,
    password_file,
    token_file,
)
from natsconnector.reactors import Reactor


def nats_client(reactor: Reactor, settings: Settings, name: str) -> NatsClient:
    """
    A client, not started yet.

    :param name: what the server shows as the client's name.
    """
    return NatsClient(
        reactor,
        settings.nats,
        name=name,
        credentials=credentials(settings),
        tls=tls(settings),
        inbox_prefix=settings.inbox_prefix,
    )


def credentials(settings: Settings) -> CredentialsSource | None:
    """Who to be, by the one way that is given; None leaves it to the URLs."""
    if settings.nats_user is not None and settings.nats_password_file is not None:
        return password_file(settings.nats_user, settings.nats_password_file)
    if settings.nats_user is not None and settings.nats_password is not None:
        return Credentials(user=settings.nats_user, password=settings.nats_password)
    if settings.nats_token is not None:
        return Credentials(token=settings.nats_token)
    if settings.nats_token_file is not None:
        return token_file(settings.nats_token_file)
    if settings.nats_nkey_file is not None:
        return nkey_file(settings.nats_nkey_file)
    return creds_file(settings.nats_creds) if settings.nats_creds is not None else None


def tls(settings: Settings) -> Tls | None:
    """How TLS is wanted; None leaves it to the URLs and the servers."""
    ca, cert, key, first = settings.nats_ca, settings.nats_cert, settings.nats_key, settings.nats_tls_first
    return Tls(ca, cert, key, first=first) if ca or cert or first else None
