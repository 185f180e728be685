"""Where messages come from, and where those go that can never succeed."""

from __future__ import annotations

from natsconnector import __version__
from natsconnector.config.settings import Settings
from natsconnector.messages.consumer import Wanted
from natsconnector.messages.core import CoreSource, streams_beside
from natsconnector.messages.dead_letters import CoreDeadLetters, StoredDeadLetters
from natsconnector.messages.following import FollowingSource
from natsconnector.messages.replies import Replies
from natsconnector.messages.room import Room
from natsconnector.messages.stream import JetStreamSource
from natsconnector.model.seams import IDeadLetters, ISource
from natsconnector.nats import NatsClient
from natsconnector.nats.jetstream import JetStream
from natsconnector.planning.catalogue import Catalogue
from natsconnector.reactors import Reactor


def make_sources(
    reactor: Reactor,
    client: NatsClient,
    jetstream: JetStream | None,
    catalogue: Catalogue | None,
    replies: Replies,
    settings: Settings,
) -> list[ISource]:
    """Where messages come from with ``settings``."""
    subjects, topics, ours = _no_topics(settings), settings.topics or (), _ours(settings)
    never = never_topics(settings)
    replies.never((*ours, *topics))
    if jetstream is not None and settings.stream is not None:
        room = Room(settings.max_inflight, settings.max_pending_bytes)

        def consume(consumer: Wanted, *, tells_of_stream: bool = False) -> JetStreamSource:
            return JetStreamSource(
                reactor, client, jetstream, consumer, room=room, replies=replies, tells_of_stream=tells_of_stream
            )

        found: list[ISource] = [consume(wanted(settings), tells_of_stream=True)] if settings.sources else []
        if catalogue is not None and settings.topics_from_annotations:
            following = FollowingSource(
                reactor,
                client,
                jetstream,
                wanted(settings),
                consume,
                fixed=settings.sources,
                grace_s=settings.missing_function_grace_s,
            )
            found.append(following)

            def follow_in_stream() -> None:
                annotated = catalogue.topics_besides((), never)
                replies.never((*ours, *topics, *annotated))
                following.listen_on(annotated, catalogue.before_at)

            catalogue.watch(follow_in_stream)
        return found
    sources = [CoreSource(client, subjects, settings.queue_group, replies)] if subjects else []
    if topics or settings.topics_from_annotations:
        topic_source = CoreSource(client, topics, settings.topic_queue_group, replies)
        sources.append(topic_source)
        if catalogue is not None and settings.topics_from_annotations:

            def follow() -> None:
                wanted_topics = catalogue.topics_besides(topics, never)
                replies.never((*ours, *wanted_topics))
                topic_source.listen_on(wanted_topics)

            catalogue.watch(follow)
    return [*sources]


def never_topics(settings: Settings) -> tuple[str, ...]:
    """Subjects that no function can have for a topic: messages there mean something else."""
    return (*_ours(settings), *(mapping.targets for mapping in settings.reply_subject_for or ()))


def _ours(settings: Settings) -> tuple[str, ...]:
    return (*_no_topics(settings), *([settings.dead_letter] if settings.dead_letter is not None else []))


def _no_topics(settings: Settings) -> tuple[str, ...]:
    return (*(settings.subjects or ()), *(settings.function_subjects or ()))


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
