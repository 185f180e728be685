"""Where messages come from, and where those go that can never succeed."""

from __future__ import annotations

from typing import Any

from natsconnector import __version__
from natsconnector.config.settings import Settings
from natsconnector.messages.consumer import Wanted
from natsconnector.messages.core import CoreSource, streams_beside
from natsconnector.messages.dead_letters import CoreDeadLetters, StoredDeadLetters
from natsconnector.messages.replies import Replies
from natsconnector.messages.stream import JetStreamSource
from natsconnector.model.seams import IDeadLetters, ISource
from natsconnector.nats import NatsClient
from natsconnector.nats.jetstream import JetStream
from natsconnector.planning.catalogue import Catalogue


def make_sources(
    reactor: Any,
    client: NatsClient,
    jetstream: JetStream | None,
    catalogue: Catalogue | None,
    replies: Replies,
    settings: Settings,
) -> list[ISource]:
    """Where messages come from with ``settings``."""
    subjects, topics = (*(settings.subjects or ()), *(settings.function_subjects or ())), settings.topics or ()
    ours = (*subjects, *([settings.dead_letter] if settings.dead_letter is not None else []))
    answers = [mapping.targets for mapping in settings.reply_subject_for or ()]
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
                wanted_topics = catalogue.topics_besides(topics, (*ours, *answers))
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
    told = await streams_beside(client, settings.sources)
    if settings.ordered_by is not None:
        told.append(
            "--ordered-by on core NATS: each connector of a queue group gets some of a key's messages, and knows"
            " nothing of the others: run a single one, or take the messages from a stream"
        )
    return told


def wanted(settings: Settings) -> Wanted:
    """The consumer that messages come from, where there is a stream."""
    return Wanted(
        settings.stream or "",
        settings.consumer,
        settings.sources,
        settings.ack_wait_s,
        settings.deliver,
        settings.dead_letter,
        settings.update_consumer,
        f"natsconnector {__version__}",
        settings.ordered_by is not None,
    )


def make_dead_letters(client: NatsClient, jetstream: JetStream | None, settings: Settings) -> IDeadLetters | None:
    """Where messages go that can never succeed; with a stream to lose nothing, they have to get into one."""
    if settings.dead_letter is None:
        return None
    if jetstream is None:
        return CoreDeadLetters(client, settings.dead_letter)
    return StoredDeadLetters(jetstream, settings.dead_letter)
