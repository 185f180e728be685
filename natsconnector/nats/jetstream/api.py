"""Requests to the JetStream API. Source: ADR-1, ADR-22 and the server."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from natsconnector.nats.client import NatsClient
from natsconnector.nats.errors import NoResponders
from natsconnector.nats.jetstream.errors import NO_MESSAGE, InvalidAnswer, JetStreamError, NoJetStream, error_of
from natsconnector.nats.jetstream.fields import fields_of, integer, text, texts
from natsconnector.nats.wire.events import Msg
from natsconnector.nats.wire.headers import Headers, HeadersLike, parse_block
from natsconnector.nats.wire.subjects import check_inbox_prefix

_NAME = re.compile(r"[^\s.*>/\\\x00]{1,255}")


class PubAck(NamedTuple):
    """The server has stored a message."""

    stream: str
    sequence: int
    duplicate: bool
    """It was there already, by its ``Nats-Msg-Id``."""


class StoredMessage(NamedTuple):
    """A message as it lies in a stream."""

    subject: str
    sequence: int
    payload: bytes
    headers: Headers
    time: str
    """When it was stored, RFC 3339."""


class JetStream:
    """
    The JetStream API of the server, or cluster, that a client is connected to.

    Its Deferreds fail with :class:`JetStreamError` when the server says no, :class:`NoJetStream` when nobody answers,
    :class:`InvalidAnswer`, and whatever :meth:`NatsClient.request` fails with.

    :param domain: the JetStream domain; None is the server's own.
    :param prefix: instead of a domain: where the API of another account is imported, ``$JS.acme.API`` for example.
    :param timeout_s: for each request.
    :param must_be_allowed: whether a request that the server refuses is told in the log, too.
    :raises ValueError: the domain is not a name, the prefix is not a subject, or there are both.
    """

    def __init__(
        self,
        client: NatsClient,
        *,
        domain: str | None = None,
        prefix: str | None = None,
        timeout_s: float = 5.0,
        must_be_allowed: bool = True,
    ) -> None:
        self.client = client
        self.prefix = "$JS.API."
        if domain is not None and prefix is not None:
            raise ValueError("JetStream has a domain or a prefix, not both")
        if domain is not None:
            self.prefix = f"$JS.{check_name(domain)}.API."
        elif prefix is not None:
            self.prefix = f"{check_inbox_prefix(prefix.removesuffix('.'))}."
        self._domain = domain
        self._is_own = prefix is None
        self._timeout_s = timeout_s
        self._must_be_allowed = must_be_allowed

    @property
    def server_version(self) -> str | None:
        """The version of the server that does the work; None when that may be another one, or is not known."""
        info = self.client.server_info
        return info.get("version") if self._is_own and self._domain in (None, info.get("domain")) else None

    def account(self) -> Deferred[dict[str, Any]]:
        """Limits and use of the account."""
        return self._request("INFO", None)

    def stream_names(self, subject: str) -> Deferred[list[str]]:
        """Names of the streams that listen on a subject, or on subjects that it overlaps."""
        return self._request("STREAM.NAMES", {"subject": subject}).addCallback(_stream_names)

    def stream(self, name: str) -> Deferred[dict[str, Any]]:
        """Configuration and state of a stream."""
        return self._request(f"STREAM.INFO.{check_name(name)}", None)

    def create_stream(self, config: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Make a stream, or find that it is there with just this configuration."""
        return self._request(f"STREAM.CREATE.{check_name(config['name'])}", config)

    def delete_stream(self, name: str) -> Deferred[dict[str, Any]]:
        """Remove a stream with all it holds."""
        return self._request(f"STREAM.DELETE.{check_name(name)}", None)

    def consumer(self, stream: str, name: str) -> Deferred[dict[str, Any]]:
        """Configuration and state of a consumer."""
        return self._request(f"CONSUMER.INFO.{check_name(stream)}.{check_name(name)}", None)

    def create_consumer(self, stream: str, config: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Make a durable consumer, named in ``durable_name``; durations are in nanoseconds."""
        # Every server understands this subject; the newer one has a filter in it that must agree with the body.
        subject = f"CONSUMER.DURABLE.CREATE.{check_name(stream)}.{check_name(config['durable_name'])}"
        return self._request(subject, {"stream_name": stream, "config": config})

    def delete_consumer(self, stream: str, name: str) -> Deferred[dict[str, Any]]:
        """Remove a consumer."""
        return self._request(f"CONSUMER.DELETE.{check_name(stream)}.{check_name(name)}", None)

    def message(self, stream: str, sequence: int) -> Deferred[StoredMessage | None]:
        """The first message at or after a sequence number; None when there is none."""
        return Deferred.fromCoroutine(self._message(check_name(stream), sequence))

    async def _message(self, stream: str, sequence: int) -> StoredMessage | None:
        asked = {"seq": sequence, "next_by_subj": ">"}
        try:
            return _stored_message(await self._request(f"STREAM.MSG.GET.{stream}", asked))
        except JetStreamError as e:
            if e.err_code != NO_MESSAGE:
                raise
            return None

    async def messages(self, stream: str) -> AsyncIterator[StoredMessage]:
        """All messages of a stream, in order; what is stored while it is read comes too."""
        sequence = 1
        while (found := await self.message(stream, sequence)) is not None:
            yield found
            sequence = found.sequence + 1

    def delete_message(self, stream: str, sequence: int) -> Deferred[dict[str, Any]]:
        """Remove one message."""
        return self._request(f"STREAM.MSG.DELETE.{check_name(stream)}", {"seq": sequence, "no_erase": True})

    def publish(self, subject: str, payload: bytes = b"", *, headers: HeadersLike | None = None) -> Deferred[PubAck]:
        """
        Publish a message that a stream has to store; fires when it has.

        A time-out is ambiguous: publish again only with the same ``Nats-Msg-Id`` header.
        """
        asked = self.client.request(subject, payload, headers=headers, timeout_s=self._timeout_s)
        return asked.addCallback(_pub_ack)

    def _request(self, what: str, body: Mapping[str, Any] | None) -> Deferred[dict[str, Any]]:
        return Deferred.fromCoroutine(self._ask(what, b"" if body is None else json.dumps(body).encode()))

    async def _ask(self, what: str, payload: bytes) -> dict[str, Any]:
        try:
            request = self.client.request if self._must_be_allowed else self.client.attempt_request
            return _answer(await request(self.prefix + what, payload, timeout_s=self._timeout_s))
        except NoResponders:
            raise NoJetStream from None


def check_name(name: str) -> str:
    """
    A name of a stream, consumer or domain, fit to be part of a subject.

    :raises ValueError: it is not; a dot in it, for one, would make another subject, which nobody answers.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a stream, consumer or domain")
    return name


def _stream_names(answer: Mapping[str, Any]) -> list[str]:
    # Each once, and such as can be asked about: an answer may come from anybody who may publish to the inbox.
    return [name for name in dict.fromkeys(texts(answer, "streams")) if _NAME.fullmatch(name)]


def _answer(msg: Msg) -> dict[str, Any]:
    try:
        fields = json.loads(msg.payload)
    except (ValueError, RecursionError):
        raise InvalidAnswer("the answer of JetStream is not JSON") from None
    if not isinstance(fields, dict):
        raise InvalidAnswer("the answer of JetStream is not a JSON object")
    if (error := error_of(fields)) is not None:
        raise error
    return fields


def _pub_ack(msg: Msg) -> PubAck:
    fields = _answer(msg)
    try:
        return PubAck(text(fields, "stream"), integer(fields, "seq"), fields.get("duplicate") is True)
    except InvalidAnswer:
        raise InvalidAnswer("the answer is not that of a stream which has stored the message") from None


def _stored_message(fields: dict[str, Any]) -> StoredMessage:
    stored = fields_of(fields, "message")
    block = _decoded(stored, "hdrs")
    return StoredMessage(
        text(stored, "subject"),
        integer(stored, "seq", least=1),
        _decoded(stored, "data"),
        parse_block(block).headers if block else Headers(),
        text(stored, "time", ""),
    )


def _decoded(fields: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(text(fields, name, ""), validate=True)
    except ValueError:
        raise InvalidAnswer(f"an answer of JetStream has no base64 in {name}") from None
