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
            "build_info", _GAUGE, "The versions that run; always 1.", "which build runs",
            ("version", "python", "twisted"),
        ),
        Family(
            "ready", _GAUGE, "1 while messages come in, as /readyz has it.",
            "is it subscribed: a refused right, a missing stream",
        ),
        Family(
            "reactor_delay_seconds", _GAUGE, "How late timers were in the last minute, at worst.",
            "above 0.1 it is short of processor time: add replicas",
        ),
    ),
    "Calls": (
        Family(
            "calls", _COUNTER,
            "Attempts to call a function that have ended, by HTTP status; one without a response has the status"
            " that names its fault.",
            "whose fault it is: the function's owner, or the platform's", _BY_BOTH,
        ),
        Family(
            "calls_without_response", _COUNTER,
            "Attempts that got no HTTP response: unreachable, timeout, too_large, broken or other.",
            "the platform, or a function that is too slow for --timeout", ("reason",),
        ),
        Family(
            "call_duration_seconds", _HISTOGRAM, "How long the gateway had a call.",
            "the function's objective; choose --timeout", _BY_FUNCTION,
        ),
        Family(
            "queue_wait_seconds", _HISTOGRAM, "How long a call waited for its slot.",
            "add replicas, or raise --max-inflight",
        ),
        Family("calls_inflight", _GAUGE, "Calls at the gateway.", "is it at its limit"),
        Family("calls_inflight_limit", _GAUGE, "How many calls there may be at the gateway: --max-inflight."),
        Family(
            "function_calls_inflight", _GAUGE, "Calls at the gateway, by function.",
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
            "a function is sick before anything is given up",
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
            "Messages that wait for a slot, a retry in memory or a first list of functions.",
            "add replicas, autoscaling",
        ),
        Family("backlog_messages_limit", _GAUGE, "How many messages may wait: --max-pending-messages."),
        Family("backlog_bytes", _GAUGE, "Bytes of the messages that wait.", "memory of the container"),
        Family("backlog_bytes_limit", _GAUGE, "How many bytes may wait: --max-pending-bytes."),
        Family(
            "backlog_oldest_age_seconds", _GAUGE, "How long the message waits that waits longest; 0 when none does.",
            "add replicas; choose --max-wait",
        ),
        Family(
            "messages_awaiting_retry", _GAUGE, "Messages whose next attempt is due later.",
            "a function is sick before anything is given up",
        ),
        Family(
            "messages_awaiting_retry_oldest_age_seconds", _GAUGE,
            "How long ago the first attempt failed of the message that awaits another for longest.", _SAME,
        ),
        Family(
            "messages_awaiting_retry_highest_attempt", _GAUGE,
            "The number of the last attempt of that message awaiting another which has had the most.",
            "how near it is to --retry-attempts",
        ),
    ),
    "Messages": (
        Family(
            "messages_received", _COUNTER,
            "Messages that came for the first time: envelope, function (their subject names it) or topic.",

            "how much there is to do, and of which kind", ("kind",),
        ),
        Family(
            "messages_redelivered", _COUNTER, "Deliveries of messages of a stream that came again.",
            "retries, or an ack_wait that is too short",
        ),
        Family("messages_succeeded", _COUNTER, "Calls of messages that ended well."),
        Family(
            "messages_failed", _COUNTER, "Calls of messages that failed for good.",
            "is work lost that publishers count on", _BY_CODE,
        ),
        Family(
            "messages_refused", _COUNTER,
            "Messages that no call was made for: 400 malformed, 403 not allowed, 404 no function for the topic, 503"
            " no room or stopping, 508 a loop.",
            "a faulty publisher, an attack, a missing function, overload", _BY_CODE,
        ),
        Family(
            "messages_shed", _COUNTER, "Messages that found the backlog full.",
            "on core NATS they are lost: more room, or more replicas",
        ),
        Family(
            "messages_given_up", _COUNTER, "Messages of a stream that failed for good where there is no --dead-letter.",
            "they are lost: set --dead-letter",
        ),
        Family("dead_letters_stored", _COUNTER, "Dead letters that were stored.", "repair, then redrive"),
        Family(
            "function_dead_letters", _COUNTER,
            "Dead letters that were stored, by function and by the status that the message failed with.",
            "which function to repair", _BY_BOTH,
        ),
        Family(
            "dead_letters_failed", _COUNTER, "Attempts to store a dead letter that failed.",
            "make room in the dead letters' stream",
        ),
        Family("results_published", _COUNTER, "Results of asynchronous calls that were published on NATS."),
        Family(
            "results_failed", _COUNTER,
            "Callbacks answered 503, since NATS was away or the stream did not take the result.", "NATS, the stream",
        ),
        Family(
            "callbacks_refused", _COUNTER, "Callbacks that were refused for good.",
            "the keys of all connectors, --callback-lifetime; callback_refused in the log", ("reason",),
        ),
        Family(
            "answers_not_sent", _COUNTER,
            "Answers that somebody may wait for and that were not sent: too_large, not_published for want of a"
            " connection, refused by the server, not_allowed by --reply-allow.",
            "rights at NATS, its max_payload, --reply-allow", ("reason",),
        ),
    ),
    "NATS": (
        Family(
            "nats_connected", _GAUGE, "1 while there is a connection to NATS.", "NATS, the network, or the connector",
        ),
        Family(
            "nats_disconnected_seconds", _GAUGE,
            "For how long there has been no connection to NATS; 0 while there is one.", _SAME,
        ),
        Family("nats_reconnects", _COUNTER, "Connections to NATS after the first.", "an unsteady network"),
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
            "gateway_up", _GAUGE, "1 while the gateway can be reached, as far as calls and probes show.",
            "whom to call: the platform's people",
        ),
        Family("gateway_away_seconds", _GAUGE, "For how long the gateway has been away; 0 while it is up.", _SAME),
        Family(
            "gateway_last_answer_age_seconds", _GAUGE,
            "How long ago the gateway last answered a call; absent before the first, and growing without traffic.",
            _SAME,
        ),
        Family(
            "gateway_outages", _COUNTER, "How often the gateway went away for longer than a moment.",
            "an unsteady gateway",
        ),
    ),
    "The list of functions, where there is one": (
        Family("functions", _GAUGE, "Functions that the gateway lists.", "is it the right gateway"),
        Family(
            "function_list_age_seconds", _GAUGE,
            "How old the list of functions is that calls go by; absent before the first.",
            "topics may go to the wrong functions",
        ),
        Family(
            "function_list_failures", _COUNTER, "How often the list of functions could not be had.",
            "the credentials, or the gateway",
        ),
        Family(
            "function_annotation_faults", _GAUGE, "Annotations that cannot be followed; the log names them.",
            "correct the function",
        ),
        Family(
            "topics_without_function", _GAUGE, "Subjects of --topics that no function is annotated with.",
            "deploy the function, or correct its annotation",
        ),
    ),
    "The stream's consumer, with --stream": (
        Family(
            "stream_pending_messages", _GAUGE, "Messages of the stream that no connector has had yet.", "add replicas",
            _CONSUMER,
        ),
        Family(
            "stream_unacknowledged_messages", _GAUGE, "Messages that connectors have had and not acknowledged.",
            "at max_ack_pending nothing more comes", _CONSUMER,
        ),
        Family(
            "stream_redelivered_messages", _GAUGE, "Unacknowledged messages that were delivered more than once.",
            "functions fail", _CONSUMER,
        ),
        Family(
            "stream_oldest_unacknowledged_age_seconds", _GAUGE,
            "Since the oldest message was published that this connector has, or has given back for another attempt;"
            " 0 when there is none.",
            "a consumer that is stuck, or too few replicas", _CONSUMER,
        ),
    ),
}  # fmt: skip
