"""``python -m natsconnector check``: tries the connector's configuration without starting it."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from natsconnector.assembly.sources import look_around, make_jetstream, never_topics, wanted
from natsconnector.commands.arguments import add_flags, command, connected, read
from natsconnector.config.nats_client import nats_client
from natsconnector.config.reading import ConfigurationError
from natsconnector.config.settings import FLAGS, Settings
from natsconnector.gateway import BasicAuth, GatewayFault, SystemClient
from natsconnector.messages.consumer import (
    check_dead_letters,
    consumer_cautions,
    look_at_stream,
    open_consumer,
    stream_cautions,
)
from natsconnector.messages.facts import ConsumerFacts, NotUsable, StreamFacts
from natsconnector.messages.topics import choose, consumer_name
from natsconnector.model.function import DeployedFunction
from natsconnector.model.subjects import overlaps
from natsconnector.nats import Msg, NatsClient, NatsError, PermissionsViolation
from natsconnector.nats.jetstream import JetStream
from natsconnector.planning.annotations import topics_of
from natsconnector.planning.catalogue import clash_of
from natsconnector.reactors import Reactor

NAME = "check"
_FLAGS = tuple(flag.name for flag in FLAGS if flag.name not in ("embedded", "functions"))
_DESCRIPTION = """\
Tries the configuration of a connector, from flags and environment, without taking a message or calling a function:
a line for each thing that has to be there, and an exit code of 1 when one of them is not.
"""
_GATEWAY_TIMEOUT_S = 10.0


class Failed(Exception):
    """Something is not as it has to be; the text says what."""


class CannotTell(Exception):
    """Whether something is as it has to be shows only when the connector starts; the text says why."""


def add_to(commands: Any) -> None:
    """Make it one of the commands of a command line."""
    parser = commands.add_parser(NAME, help="try the configuration of the connector", description=_DESCRIPTION)
    add_flags(parser, _FLAGS, "as the connector has it")
    parser.set_defaults(run=run)


@command
async def run(reactor: Reactor, arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Do it; fails with ``SystemExit`` when anything is missing."""
    try:
        settings = read(arguments, _FLAGS, environment, is_whole=True)
    except ConfigurationError as e:
        for fault in e.faults:
            print(f"FAIL  configuration: {fault}")
        raise SystemExit(1) from None
    for warning in settings.warnings:
        print(f"warn  {warning}")
    client = nats_client(reactor, settings, "natsconnector check")
    credentials = BasicAuth(settings.gateway_credentials) if settings.gateway_credentials is not None else None
    system = SystemClient(
        reactor, settings.gateway, credentials=credentials, timeout_s=_GATEWAY_TIMEOUT_S, ca_file=settings.gateway_ca
    )
    check = _Check(reactor, settings, client, system, arguments.wait)
    try:
        await check.all()
    finally:
        await client.close()
        await system.close()
    if check.failures:
        raise SystemExit(1)


class _Check:
    def __init__(
        self, reactor: Reactor, settings: Settings, client: NatsClient, system: SystemClient, wait_s: float
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._client = client
        self._system = system
        self._wait_s = wait_s
        self._functions: list[DeployedFunction] = []
        self._stream: StreamFacts | None = None
        self.failures = 0

    async def all(self) -> None:
        """Everything that can be tried; what needs something that failed is left out."""
        if await self._try("NATS", self._nats):
            for subject in self._subjects():
                await self._try(f"subject {subject}", partial(self._subscribe, subject))
            for caution in await look_around(self._client, self._settings):
                print(f"warn  {caution}")
            if self._settings.stream is not None:
                if await self._try(f"stream {self._settings.stream}", self._look_at_stream) and self._settings.sources:
                    await self._try(f"consumer {self._settings.consumer}", self._consumer)
                if self._settings.dead_letter is not None:
                    await self._try(f"dead letters {self._settings.dead_letter}", self._dead_letters)
        if not await self._try(f"gateway {self._settings.gateway}", self._gateway) or not self._needs_functions():
            return
        if await self._try("functions", self._list_functions):
            for topic in self._settings.topics or ():
                await self._try(f"topic {topic}", partial(self._topic, topic))
            if self._stream is not None and self._settings.topics_from_annotations:
                await self._try("topics of functions", partial(self._followed, self._stream))

    async def _try(self, what: str, attempt: Callable[[], Awaitable[str]]) -> bool:
        try:
            told = await attempt()
        except (Failed, NatsError, NotUsable, GatewayFault, SystemExit) as e:
            self.failures += 1
            print(f"FAIL  {what}: {e}")
            return False
        except CannotTell as e:
            print(f"warn  {what}: {e}")
            return True
        print(f"ok    {what}: {told}")
        return True

    def _subjects(self) -> tuple[str, ...]:
        return self._settings.sources if self._settings.stream is None else ()

    def _needs_functions(self) -> bool:
        settings = self._settings
        return bool(settings.topics or settings.topics_from_annotations or settings.gateway_credentials)

    async def _nats(self) -> str:
        self._client.start()
        await connected(self._reactor, self._client, self._wait_s)
        version = self._client.server_info.get("version")
        return f"connected to {self._client.server}, nats-server {version}"

    async def _subscribe(self, subject: str) -> str:
        """Whether the user may; in a queue group of its own, and for so short a time, it takes nobody's messages."""

        def ignore(msg: Msg) -> None:
            pass

        subscription = self._client.subscribe(subject, ignore, queue=f"natsconnector-check-{id(self)}")
        try:
            await self._client.flush()
            error = subscription.error
        finally:
            subscription.unsubscribe()
        if isinstance(error, PermissionsViolation):
            raise CannotTell(f"may not be subscribed to, unless the permission names the queue group: {error}")
        if error is not None:
            raise Failed(str(error))
        return "may be subscribed to"

    async def _look_at_stream(self) -> str:
        stream = self._stream = await look_at_stream(self._jetstream(), self._settings.stream or "")
        held = ", ".join(stream.held) or "subjects of other streams"
        return f"there, with {stream.messages} messages of {held}, {stream.retention} retention"

    async def _consumer(self) -> str:
        settings = self._settings
        opened = await open_consumer(self._jetstream(), wanted(settings), make=False)
        for caution in stream_cautions(opened.stream, settings.sources):
            print(f"warn  {caution}")
        return self._of_consumer(opened.consumer)

    def _of_consumer(self, found: ConsumerFacts | None) -> str:
        if found is None:
            return "missing; the connector will make it"
        for caution in consumer_cautions(found, self._settings.max_inflight, self._settings.ordered_by is not None):
            print(f"warn  {caution}")
        return f"there, {found.pending} messages wait, {found.outstanding} are being worked on"

    async def _dead_letters(self) -> str:
        streams = await check_dead_letters(self._jetstream(), self._settings.dead_letter or "")
        return f"go to stream {', '.join(stream.name for stream in streams)}" if streams else "go to a stream"

    def _jetstream(self) -> JetStream:
        return make_jetstream(self._client, self._settings)

    async def _gateway(self) -> str:
        await self._system.healthy()
        return "healthy"

    async def _list_functions(self) -> str:
        self._functions = await self._system.functions()
        return ", ".join(function.full_name for function in self._functions) or "none"

    async def _followed(self, stream: StreamFacts) -> str:
        """What the connector takes for the annotations of functions, each topic by a consumer of its own."""
        settings = self._settings
        topics: list[str] = []
        never = never_topics(settings)
        for topic in dict.fromkeys(
            topic for each in self._functions for topic in topics_of(each, settings.topic_delimiter)[0]
        ):
            clash = clash_of(topic, never)
            if clash is None:
                topics.append(topic)
            else:
                print(f"warn  topic {topic}: is not taken, it overlaps with {clash}")
        choice = choose(topics, stream, settings.sources)
        for topic, reason in choice.left_out.items():
            print(f"warn  topic {topic}: is not taken from stream {stream.name}: {reason}")
        for topic in choice.topics:
            await self._try(f"topic {topic}", partial(self._consumer_of, topic))
        if not choice.topics and not settings.sources:
            raise Failed(f"no function is annotated with a topic of stream {stream.name}")
        return f"{len(choice.topics)} with a consumer of their own"

    async def _consumer_of(self, topic: str) -> str:
        name = consumer_name(self._settings.consumer, topic)
        consumer = replace(wanted(self._settings), consumer=name, subjects=(topic,), update=False)
        opened = await open_consumer(self._jetstream(), consumer, make=False)
        return f"consumer {name}: {self._of_consumer(opened.consumer)}"

    async def _topic(self, topic: str) -> str:
        wanting = [
            function.full_name
            for function in self._functions
            if any(overlaps(topic, own) for own in topics_of(function, self._settings.topic_delimiter)[0])
        ]
        if not wanting:
            raise Failed("no function is annotated with it")
        return f"goes to {', '.join(wanting)}"
