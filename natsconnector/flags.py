"""The table of all settings: flags, environment names, their aliases and defaults."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from natsconnector import login, values
from natsconnector.nats.errors import BadSubject
from natsconnector.nats.jetstream.api import check_name
from natsconnector.nats.wire.subjects import encode_pattern
from natsconnector.topics import RESERVED, overlaps

PREFIX = "NATSCONNECTOR_"


def _name(text: str) -> str:
    try:
        return check_name(text)
    except ValueError:
        raise ValueError("is not a name: no white space, dots, slashes and wildcards") from None


def _subject(text: str) -> str:
    try:
        encode_pattern(text)
    except BadSubject as e:
        raise ValueError(f"is not a subject: {e.reason}") from None
    for reserved in RESERVED:
        if overlaps(text, reserved):
            raise ValueError(f"would hear {reserved}, which is NATS's own")
    return text


def _concrete_subject(text: str) -> str:
    if {"*", ">"} & set(_subject(text).split(".")):
        raise ValueError("has wildcards: it is published to")
    return text


@dataclass(frozen=True)
class Alias:
    """An environment name that deployments of other connectors use."""

    name: str
    means: Callable[[str], str | None] = lambda text: text
    """The value of ours for its value; None when it says nothing."""
    only_if: str | None = None
    """A variable that has to be on for this one to count."""


def _delimiter(text: str) -> str:
    if len(text) > 5 or any(each.isalnum() or each in ".*>" for each in text):
        raise ValueError("is not a delimiter: it could stand in a subject")
    return text


def _content_type(text: str) -> str:
    if "/" not in text or not text.isprintable():
        raise ValueError("is not a content type like text/plain")
    return text


def _readable(text: str) -> str:
    try:
        with open(text, "rb"):
            return os.path.abspath(text)
    except OSError as e:
        raise ValueError(f"cannot be read: {e.strerror}") from None


def _credentials(text: str) -> str:
    for name in ("basic-auth-user", "basic-auth-password"):
        try:
            _readable(os.path.join(text, name))
        except ValueError as e:
            raise ValueError(f"has no file {name} that can be used: it {e}") from None
    return os.path.abspath(text)


def _debug_level(text: str) -> str | None:
    return "debug" if values.switch(text) else None


@dataclass(frozen=True)
class Flag:
    """One setting: ``--max-inflight`` of the command line, ``NATSCONNECTOR_MAX_INFLIGHT`` of the environment."""

    name: str
    parse: Callable[[str], Any]
    default: str | None
    """As a user would write it; None when the setting is off unless given."""
    meaning: str
    aliases: tuple[Alias, ...] = ()
    field: str = ""
    """The field of :class:`Settings`; as the flag's name unless given."""
    stream_default: str | None = None
    """The default when messages come from a stream; likewise ``topics_default``, when there are topics."""
    topics_default: str | None = None
    secret: bool = False
    """The value may hold a secret: no message repeats it."""

    @property
    def attribute(self) -> str:
        return self.field or self.name.replace("-", "_")

    @property
    def environment_name(self) -> str:
        return PREFIX + self.name.replace("-", "_").upper()

    @property
    def is_switch(self) -> bool:
        return self.parse is values.switch


def _aliases(*names: str) -> tuple[Alias, ...]:
    return tuple(Alias(name) for name in names)


FLAGS: tuple[Flag, ...] = (
    Flag("nats", values.list_of(login.nats_url), "nats://127.0.0.1:4222",
         "NATS servers, URL[,URL]: nats://[USER:PASSWORD@]HOST[:PORT], or tls://; a flag is seen in the process list",
         _aliases("NATS_URL", "NATS_HOST", "broker_host"), secret=True),
    Flag("nats-user", str, None, "user at NATS, with --nats-password-file"),
    Flag("nats-password-file", login.read_password, None, "file that holds the password of --nats-user"),
    Flag("nats-token-file", login.read_token, None, "file that holds a token for NATS"),
    Flag("nats-nkey-file", login.read_nkey, None, "file that holds the seed of an NKey, SU..."),
    Flag("nats-creds", login.read_creds, None, "credentials file (.creds) with a user's JWT and seed"),
    Flag("nats-ca", login.read_ca, None, "PEM file of the authorities trusted for NATS over TLS; unset: the system's"),
    Flag("nats-cert", os.path.abspath, None, "PEM file of the certificate shown to NATS, with --nats-key"),
    Flag("nats-key", os.path.abspath, None, "PEM file of its key"),
    Flag("nats-tls-first", values.switch, None, "begin with TLS, for servers with handshake_first"),
    Flag("inbox-prefix", login.inbox_prefix, "_INBOX", "where replies to us come, if permissions restrict it"),
    Flag("gateway", values.gateway_url, "http://127.0.0.1:8080", "URL of the OpenFaaS gateway",
         _aliases("GATEWAY_URL", "gateway_url", "FAAS_GATEWAY", "FAAS_HOST", "FAAS_HOSt"), secret=True),
    Flag("gateway-credentials", _credentials, None,
         "folder with the files basic-auth-user and basic-auth-password, for the gateway's list of functions",
         (Alias("secret_mount_path", only_if="basic_auth"),)),
    Flag("gateway-auth-scope", values.one_of("system", "all"), "system",
         "where these credentials go: system, the list of functions; all: every call, where functions see them"),
    Flag("gateway-ca", login.read_ca, None, "PEM file of the authorities trusted for an https gateway; unset: system"),
    Flag("stream", _name, None,
         "take messages from this JetStream stream, at least once, instead of core NATS; it has to exist"),
    Flag("topics", values.list_of(_subject), None,
         "subjects whose payload goes to every function annotated with topic, T[,T]", _aliases("topics")),
    Flag("topics-from-annotations", values.switch, None,
         "take whatever topics the deployed functions are annotated with"),
    Flag("topic-queue-group", values.word, "openfaas_nats_worker_group", "queue group of the topics"),
    Flag("topic-delimiter", _delimiter, ",", "splits the annotation topic", _aliases("topic_delimiter")),
    Flag("async", values.switch, None, "calls for topics are asynchronous", _aliases("asynchronous_invocation"),
         field="queued"),
    Flag("rebuild-interval", values.duration, "5s", "refresh of the list of functions", _aliases("rebuild_interval"),
         field="rebuild_interval_s"),
    Flag("content-type", _content_type, None, "of calls for topics", _aliases("content_type")),
    Flag("subject", values.list_of(_subject), "function.call", "subjects where JSON envelopes arrive, S[,S]",
         field="subjects", topics_default="none"),
    Flag("queue-group", values.word, "functions", "queue group of these subjects"),
    Flag("callback-allow", values.list_of(values.host_pattern), None,
         "hosts that callback_url may name, PATTERN[,PATTERN]; unset: any"),
    Flag("allow-function", values.list_of(values.function_pattern), None,
         "functions that may be called, PATTERN[,PATTERN]; unset: any"),
    Flag("timeout", values.duration, "60s", "for one call, body included, time in the backlog not",
         _aliases("upstream_timeout"), field="timeout_s"),
    Flag("max-wait", values.duration, None,
         "a message that waited longer in the backlog is answered 503 instead of called", field="max_wait_s"),
    Flag("max-inflight", values.whole_number(1, 65536), "100", "calls at the gateway at once",
         _aliases("max_inflight")),
    Flag("max-inflight-per-function", values.whole_number(1, 65536), None, "calls of one function at once"),
    Flag("max-pending-messages", values.whole_number(0, 10_000_000), "65536", "backlog, in messages"),
    Flag("max-pending-bytes", values.size, "64MiB", "backlog, in bytes of payload"),
    Flag("max-response-bytes", values.size, "8MiB", "a longer answer of a function is cut off (413)"),
    Flag("retry-attempts", values.whole_number(1, 1000), "3", "attempts in total, the first included",
         _aliases("max_retry_attempts"), stream_default="100"),
    Flag("retry-codes", values.list_of(values.status_code), "429,503",
         "statuses that are tried again, C[,C]; 502 and 504 stand for calls that may have been executed",
         _aliases("retry_http_codes"), stream_default="408,429,500,502,503,504"),
    Flag("retry-wait", values.duration, "500ms", "wait before the second attempt; doubles with each further one",
         _aliases("initial_retry_wait"), field="retry_wait_s"),
    Flag("retry-max-wait", values.duration, "120s", "longest wait, that of a Retry-After included",
         _aliases("max_retry_wait"), field="retry_max_wait_s"),
    Flag("retry-backoff", values.one_of("exponential", "full", "equal"), "full",
         "exponential, or with full or equal jitter", _aliases("backoff")),
    Flag("consumer", _name, "natsconnector", "with --stream: its durable pull consumer; made when it is missing"),
    Flag("ack-wait", values.duration, "30s", "with --stream: of the consumer, if it is made",
         _aliases("ack_wait"), field="ack_wait_s"),
    Flag("js-domain", _name, None, "with --stream: the JetStream domain"),
    Flag("dead-letter", _concrete_subject, None, "subject for messages that can never succeed"),
    Flag("shutdown-timeout", values.duration, "25s", "how long work in progress may take at the end",
         field="shutdown_timeout_s"),
    Flag("print-response", values.switch, None, "log a line for every answer", _aliases("print_response")),
    Flag("print-response-body", values.switch, None, "log the answers' bodies too", _aliases("print_response_body")),
    Flag("print-request-body", values.switch, None, "log the requests' bodies", _aliases("print_request_body")),
    Flag("log-format", values.one_of("console", "json"), "console", "console or json", _aliases("log_encoding")),
    Flag("log-level", values.one_of("debug", "info", "warn", "error"), "info", "debug, info, warn or error",
         (Alias("debug", _debug_level),)),
    Flag("embedded", values.switch, None,
         "start a nats-server and a local gateway as well, where --nats and --gateway say, for trying things out"),
    Flag("functions", str, None,
         "with --embedded: the stack.yml of the functions; unset: stack.yml or examples/stack.yml", field="functions"),
)  # fmt: skip
