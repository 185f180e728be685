"""The connector as a graph of parts."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from natsconnector import __version__
from natsconnector.assembly.micro import make_micro
from natsconnector.assembly.sources import look_around, make_dead_letters, make_jetstream, make_sources
from natsconnector.callbacks.listener import Listener
from natsconnector.callbacks.parts import callback_parts
from natsconnector.callbacks.sealing import Sealing
from natsconnector.config.files import callback_keys
from natsconnector.config.nats_client import nats_client
from natsconnector.config.settings import Settings
from natsconnector.connector import Connector
from natsconnector.dispatch.dispatcher import Dispatcher
from natsconnector.dispatch.settlement import Settlement
from natsconnector.gateway import BasicAuth, GatewayClient, SystemClient
from natsconnector.journal.journal import Journal
from natsconnector.journal.results import ResultsJournal
from natsconnector.messages.replies import Replies
from natsconnector.messages.results import Results
from natsconnector.model.limits import Limits
from natsconnector.model.retries import RetryPolicy
from natsconnector.model.seams import IGateway, ITracer
from natsconnector.nats import NatsClient
from natsconnector.nats.jetstream import JetStream
from natsconnector.planning.annotations import Terms
from natsconnector.planning.catalogue import Catalogue
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.planner import Planner
from natsconnector.reactors import Reactor


def make_connector(reactor: Reactor, settings: Settings, gateway: IGateway | None = None) -> Connector:
    """The graph of parts that runs with ``settings``. :param gateway: in place of the one that they name."""
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
    tracer = make_tracer(reactor, settings)
    gateway = gateway or GatewayClient(
        reactor,
        settings.gateway,
        timeout_s=settings.timeout_s,
        max_connections=settings.max_inflight,
        max_response_bytes=settings.max_response_bytes,
        max_held_bytes=settings.max_pending_bytes,
        credentials=credentials if settings.gateway_auth_scope == "all" else None,
        ca_file=settings.gateway_ca,
    )
    if tracer is not None:
        gateway = tracer.gateway(gateway)
    replies = Replies(
        client, settings.reply_allow or (), settings.reply_subject_for or (), journal.counts.answer_not_sent
    )
    client.watch_refused_publishes(replies.refused)
    sealing, callbacks = make_callbacks(reactor, client, replies, journal, settings)
    dispatcher = Dispatcher(
        gateway,
        reactor,
        journal,
        Planner(
            Permissions(settings.allow_function, settings.callback_allow, settings.callback_address),
            settings.subjects or (),
            catalogue,
            function_subjects=settings.function_subjects or (),
            terms=terms,
            queued=settings.queued,
            results=sealing,
        ),
        Settlement(reactor, journal, make_dead_letters(client, jetstream, settings)),
        limits=make_limits(settings),
        retries=retries,
        max_wait_s=settings.max_wait_s,
        ordered_by=settings.ordered_by,
        missing_grace_s=settings.missing_function_grace_s,
    )
    journal.report.work = lambda: (dispatcher.inflight, dispatcher.pending)
    if catalogue is not None:
        catalogue.watch(dispatcher.functions_are_known)
        journal.calls.is_known = catalogue.has
    sources = make_sources(reactor, client, jetstream, catalogue, replies, settings)
    return Connector(
        reactor,
        client,
        sources,
        dispatcher,
        gateway,
        journal,
        gateway_name=settings.gateway,
        catalogue=catalogue,
        callbacks=callbacks,
        service=make_micro(reactor, client, sources, journal, replies, settings),
        given=settings.given,
        warnings=settings.warnings,
        cautions=lambda: Deferred.fromCoroutine(look_around(client, settings)),
        tracer=tracer,
        shutdown_timeout_s=settings.shutdown_timeout_s,
    )


def make_tracer(reactor: Reactor, settings: Settings) -> ITracer | None:
    """What sends traces, where they are wanted."""
    if not settings.sends_traces:
        return None
    # The import is not at the top: the libraries are loaded only where traces are sent.
    from natsconnector.tracing.export import Export
    from natsconnector.tracing.spans import OpenTelemetry

    return OpenTelemetry(Export(reactor, __version__), settings.gateway, settings.sources)


def make_callbacks(
    reactor: Reactor, client: NatsClient, replies: Replies, journal: Journal, settings: Settings
) -> tuple[Sealing | None, Listener | None]:
    """What makes callback URLs of our own, and what listens there; None where results are not to come back."""
    address, key_file = settings.callback_address, settings.callback_key_file
    if settings.callback_listen is None or address is None or key_file is None:
        return None, None
    return callback_parts(
        reactor,
        Results(reactor, client, replies, JetStream(client, domain=settings.js_domain, must_be_allowed=False)),
        ResultsJournal(reactor, journal.counts),
        endpoint=settings.callback_listen.text,
        address=address,
        read_keys=lambda: callback_keys(key_file),
        lifetime_s=settings.callback_lifetime_s,
        max_result_bytes=settings.max_response_bytes,
    )


def make_catalogue(
    reactor: Reactor, credentials: BasicAuth | None, terms: Terms, settings: Settings
) -> Catalogue | None:
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


def make_limits(settings: Settings) -> Limits:
    """How much work is taken on with ``settings``."""
    return Limits(settings.max_inflight, settings.max_pending_messages, settings.max_pending_bytes)
