"""What is measured: the names, kinds, labels and texts of all figures, and which decision each one is for. Pure."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

PREFIX = "natsconnector_"


class Kind(Enum):
    """How the numbers of a figure behave."""

    GAUGE = "gauge"
    """They go up and down."""
    COUNTER = "counter"
    """They begin at 0 with the process, and only grow."""
    HISTOGRAM = "histogram"
    """Counters, one for each bound."""


class Family(NamedTuple):
    """
    One figure.

    :ivar name: without the prefix, and without the ``_total`` that counters have.
    :ivar text: what it is, in one sentence: the HELP line of an exposition.
    :ivar use: which decision it is for; empty where that goes without saying.
    """

    name: str
    kind: Kind
    text: str
    use: str = ""
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """As it is queried; a histogram's is followed by ``_bucket``, ``_sum`` or ``_count``."""
        return PREFIX + self.name + ("_total" if self.kind is Kind.COUNTER else "")


_GAUGE, _COUNTER, _HISTOGRAM = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM
_BY_FUNCTION, _BY_BOTH, _BY_CODE = ("function",), ("function", "code"), ("code",)
_CONSUMER = ("stream", "consumer")
_SAME = "the same"

FAMILIES: dict[str, tuple[Family, ...]] = {
    "The connector": (
        Family(
            "build_info", _GAUGE, "Always 1; the labels have the versions that run.", "which build runs",
            ("version", "python", "twisted"),
        ),
        Family(
            "ready", _GAUGE, "1 while the connector takes messages, as /readyz says.",
            "look for a missing permission, or a missing stream",
        ),
        Family(
            "reactor_delay_seconds", _GAUGE, "The longest delay of a timer in the last minute.",
            "above 0.1 the connector is short of processor time: add replicas",
        ),
    ),
    "Calls": (
        Family(
            "calls", _COUNTER,
            "Ended attempts to call a function, by HTTP status; without a response 502 (no connection, or a broken"
            " one), 504 (time-out) or 413 (too large).",
            "who has to act: the function's owner, or the platform's", _BY_BOTH,
        ),
        Family(
            "calls_without_response", _COUNTER,
            "Attempts that got no HTTP response: unreachable, timeout, too_large, broken or other.",
            "timeout: a function slower than --timeout; unreachable, broken: the platform", ("reason",),
        ),
        Family(
            "call_duration_seconds", _HISTOGRAM, "Time from sending a call to the gateway until its end.",
            "the function's service level; choose --timeout", _BY_FUNCTION,
        ),
        Family(
            "queue_wait_seconds", _HISTOGRAM, "Time that a call waited for a slot.",
            "add replicas, or raise --max-inflight",
        ),
        Family("calls_inflight", _GAUGE, "Calls in flight at the gateway.", "compare with its limit"),
        Family("calls_inflight_limit", _GAUGE, "Most calls in flight: --max-inflight."),
        Family(
            "function_calls_inflight", _GAUGE, "Calls in flight at the gateway, by function.",
            "which function holds the slots: give it a limit", _BY_FUNCTION,
        ),
        Family(
            "function_calls_inflight_limit", _GAUGE,
            "How many calls of a function there may be at the gateway, where that finds itself; absent before it was"
            " reached, and ten minutes after the last call.",
            "what a function bears: add replicas of it", _BY_FUNCTION,
        ),
        Family(
            "retries", _COUNTER, "Attempts that failed and were followed by another.",
            "look at the function before messages are given up",
        ),
        Family(
            "function_retries", _COUNTER,
            "Attempts that failed and were followed by another, by function and by the status that they failed with.",
            _SAME, _BY_BOTH,
        ),
    ),
    "What waits": (
        Family(
            "backlog_messages", _GAUGE,
            "Messages in memory that wait for a slot, for a retry or for the first list of functions.",
            "add replicas, by hand or by autoscaling",
        ),
        Family("backlog_messages_limit", _GAUGE, "Most messages that may wait: --max-pending-messages."),
        Family("backlog_bytes", _GAUGE, "Bytes of the messages that wait.", "the container's memory"),
        Family("backlog_bytes_limit", _GAUGE, "Most bytes that may wait: --max-pending-bytes."),
        Family(
            "backlog_oldest_age_seconds", _GAUGE, "How long the oldest waiting message has waited; 0 if none waits.",
            "add replicas; choose --max-wait",
        ),
        Family(
            "messages_awaiting_retry", _GAUGE, "Messages that wait for their next attempt.",
            "look at the function before messages are given up",
        ),
        Family(
            "messages_awaiting_retry_oldest_age_seconds", _GAUGE,
            "Time since the first failed attempt, of the message that has awaited a retry longest.", _SAME,
        ),
        Family(
            "messages_awaiting_retry_highest_attempt", _GAUGE,
            "The most attempts that a message awaiting a retry has had.", "how near --retry-attempts is",
        ),
    ),
    "Messages": (
        Family(
            "messages_received", _COUNTER,
            "Messages that came for the first time: envelope, function (the subject names the function) or topic.",
            "the load, by kind of message", ("kind",),
        ),
        Family(
            "messages_redelivered", _COUNTER, "Repeated deliveries of a stream's messages.",
            "retries, or an ack wait that is too short",
        ),
        Family("messages_succeeded", _COUNTER, "Calls that succeeded, one for each message and function."),
        Family(
            "messages_failed", _COUNTER, "Calls that failed for good, one for each message and function.",
            "look at call_failed in the log", _BY_CODE,
        ),
        Family(
            "messages_refused", _COUNTER,
            "Messages for which no call was made: 400 malformed, 403 not allowed, 404 no function for the topic, 503"
            " backlog full or connector stopping, 508 a loop.",
            "a faulty publisher, an attack, a missing function, overload", _BY_CODE,
        ),
        Family(
            "messages_shed", _COUNTER, "Messages that were answered 503, since the backlog was full.",
            "on core NATS they are lost: add replicas, or raise --max-inflight",
        ),
        Family(
            "messages_given_up", _COUNTER, "Messages of a stream that failed for good, without --dead-letter.",
            "these messages are lost: set --dead-letter",
        ),
        Family("dead_letters_stored", _COUNTER, "Dead letters that were stored.", "mend the cause, then redrive"),
        Family(
            "function_dead_letters", _COUNTER,
            "Dead letters that were stored, by function and by the status that the message failed with.",
            "which function to mend", _BY_BOTH,
        ),
        Family(
            "dead_letters_failed", _COUNTER, "Failed attempts to store a dead letter.",
            "make room in the stream of dead letters",
        ),
        Family("results_published", _COUNTER, "Results of asynchronous calls that were published on NATS."),
        Family(
            "results_failed", _COUNTER,
            "Callbacks answered 503, since NATS was away or the stream did not store the result.",
            "look at NATS, and at the stream",
        ),
        Family(
            "callbacks_refused", _COUNTER, "Callbacks that were refused for good.",
            "compare the keys of all connectors; raise --callback-lifetime", ("reason",),
        ),
        Family(
            "answers_not_sent", _COUNTER,
            "Answers that a requester may wait for and that were not sent: too_large for the server, not_published for"
            " want of a connection, refused by the server, not_allowed by --reply-allow.",
            "permissions at NATS, the server's max_payload, --reply-allow", ("reason",),
        ),
    ),
    "NATS": (
        Family(
            "nats_connected", _GAUGE, "1 while the connector is connected to NATS.", "look at NATS, and the network",
        ),
        Family(
            "nats_disconnected_seconds", _GAUGE,
            "Time since the connection to NATS was lost; 0 while the connector is connected.", _SAME,
        ),
        Family("nats_reconnects", _COUNTER, "Connections to NATS after the first.", "an unstable network"),
        Family(
            "nats_received_messages", _COUNTER,
            "Messages from the NATS server, answers to the connector's own requests included.",
        ),
        Family("nats_sent_messages", _COUNTER, "Messages to the NATS server, acknowledgements included."),
        Family("nats_received_bytes", _COUNTER, "Bytes from the NATS server."),
        Family("nats_sent_bytes", _COUNTER, "Bytes to the NATS server."),
    ),
    "The gateway": (
        Family(
            "gateway_up", _GAUGE, "1 while calls and probes reach the gateway.",
            "call whoever runs OpenFaaS",
        ),
        Family("gateway_away_seconds", _GAUGE, "Time since the gateway went away; 0 while it is up.", _SAME),
        Family(
            "gateway_last_answer_age_seconds", _GAUGE,
            "Time since the gateway last answered a call; absent before the first answer, and growing without traffic.",
            _SAME,
        ),
        Family(
            "gateway_outages", _COUNTER, "How often the gateway went away, as a probe confirmed.",
            "an unstable gateway",
        ),
    ),
    "The list of functions, where there is one": (
        Family("functions", _GAUGE, "Functions that the gateway lists.", "whether it is the right gateway"),
        Family(
            "function_list_age_seconds", _GAUGE,
            "Age of the list of functions that the connector goes by; absent before the first list.",
            "new functions and changed annotations are not known",
        ),
        Family(
            "function_list_failures", _COUNTER, "Failed attempts to read the list of functions.",
            "look at --gateway-credentials, and at the gateway",
        ),
        Family(
            "function_annotation_faults", _GAUGE, "Invalid annotations; annotation_fault in the log names them.",
            "correct the function's annotations",
        ),
        Family(
            "topics_without_function", _GAUGE, "Subjects of --topics that no function is annotated with.",
            "deploy the function, or correct its annotation",
        ),
    ),
    "The stream's consumer, with --stream": (
        Family(
            "stream_pending_messages", _GAUGE, "Messages of the stream that were not delivered to a connector yet.",
            "add replicas", _CONSUMER,
        ),
        Family(
            "stream_unacknowledged_messages", _GAUGE, "Messages that were delivered and not acknowledged yet.",
            "at the consumer's max_ack_pending the server delivers no more", _CONSUMER,
        ),
        Family(
            "stream_redelivered_messages", _GAUGE, "Unacknowledged messages that were delivered more than once.",
            "look at the functions that fail", _CONSUMER,
        ),
        Family(
            "stream_oldest_unacknowledged_age_seconds", _GAUGE,
            "Time since the oldest message was published of those that this connector has, or has given back for"
            " another attempt; 0 if there is none.",
            "a stuck consumer, or too few replicas", _CONSUMER,
        ),
    ),
}  # fmt: skip
