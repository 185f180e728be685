"""What the annotations of a function say about how it is called. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from natsconnector.config import values
from natsconnector.model.function import DeployedFunction
from natsconnector.model.limits import MaxInflight
from natsconnector.model.retries import RetryPolicy
from natsconnector.model.subjects import is_reserved, subject_fault

TOPIC = "topic"

# Whoever deploys a function writes its annotations.
_LONGEST = 1024
_LONGEST_TOPICS = 16384
_MOST_TOPICS = 100


@dataclass(frozen=True, slots=True)
class Terms:
    """How a function is called: as the connector's settings say, except where its annotations say otherwise."""

    retries: RetryPolicy = field(default_factory=RetryPolicy)
    asynchronous: bool | None = None
    """None: as the message and the settings say."""
    timeout_s: float | None = None
    """None: the gateway client's own."""
    max_inflight: MaxInflight = None
    content_type: str | None = None
    """Of calls for topics, unless the message says otherwise."""


# By annotation: the field of Terms, or of its RetryPolicy, and how its value is read. The second prefix is that of the
# commercial edition.
_TERMS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "natsconnector.async": ("asynchronous", values.switch),
    "natsconnector.timeout": ("timeout_s", values.duration),
    "natsconnector.max-inflight": ("max_inflight", values.max_inflight),
    "natsconnector.content-type": ("content_type", values.content_type),
}
_RETRIES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "com.openfaas.retry.attempts": ("attempts", values.whole_number(1, 1000)),
    "com.openfaas.retry.codes": ("codes", lambda text: frozenset(values.list_of(values.status_code)(text))),
    "com.openfaas.retry.min_wait": ("wait_s", values.duration),
    "com.openfaas.retry.max_wait": ("max_wait_s", values.duration),
}
ANNOTATIONS = (TOPIC, *_TERMS, *_RETRIES)
"""All annotations that mean something here."""


def terms_of(function: DeployedFunction, defaults: Terms, max_timeout_s: float) -> tuple[Terms, list[str]]:
    """
    The terms of a function, and a sentence for each annotation that cannot be understood, or asks for too much.

    A function may not hold slots for longer, nor be called more often, than the operator allows: its attempts and waits
    are bounded by those of ``defaults``.

    :param max_timeout_s: the longest time-out that an annotation may ask for.
    """
    faults: list[str] = []
    terms, retries = _read(function, _TERMS, faults), _read(function, _RETRIES, faults)
    own = defaults.retries
    for found, annotation, field_name, least, most, unit in (
        (terms, "natsconnector.timeout", "timeout_s", 0.0, max_timeout_s, " s"),
        (retries, "com.openfaas.retry.attempts", "attempts", 1, own.attempts, ""),
        (retries, "com.openfaas.retry.min_wait", "wait_s", own.wait_s, own.max_wait_s, " s"),
        (retries, "com.openfaas.retry.max_wait", "max_wait_s", own.wait_s, own.max_wait_s, " s"),
    ):
        value = found.get(field_name)
        if value is not None and not least <= value <= most:
            found[field_name] = min(max(value, least), most)
            faults.append(
                f"function {function.full_name}: annotation {annotation}: {value:.12g}{unit} is not between {least:g}"
                f" and {most:g}{unit}, which the connector allows; {found[field_name]:g}{unit} counts"
            )
    if retries:
        terms["retries"] = replace(own, **retries)
    return replace(defaults, **terms) if terms else defaults, faults


def _read(
    function: DeployedFunction, table: dict[str, tuple[str, Callable[[str], Any]]], faults: list[str]
) -> dict[str, Any]:
    found = {}
    for annotation, (name, parse) in table.items():
        text = function.annotations.get(annotation, "").strip()
        if text:
            try:
                if len(text) > _LONGEST:
                    raise ValueError(f"and so on has more than {_LONGEST} characters")
                found[name] = parse(text)
            except ValueError as e:
                faults.append(
                    f"function {function.full_name}: annotation {annotation}: {text[:40]!r} {e}; it is ignored"
                )
    return found


def topics_of(function: DeployedFunction, delimiter: str) -> tuple[list[str], list[str]]:
    """The topics that a function's annotation names, and a sentence that tells which others are ignored, if any are."""
    text = function.annotations.get(TOPIC, "")
    about = f"function {function.full_name}: annotation {TOPIC}: "
    if len(text) > _LONGEST_TOPICS:
        return [], [f"{about}it has more than {_LONGEST_TOPICS} characters, and is ignored"]
    topics: dict[str, None] = {}
    faults: list[str] = []
    for item in text.split(delimiter):
        topic = item.strip()
        if not topic or topic in topics:
            continue
        fault = "is NATS's own, and never a topic" if is_reserved(topic) else subject_fault(topic)
        if fault is None and len(topics) >= _MOST_TOPICS:
            fault = f"is one topic too many for one function, which may have {_MOST_TOPICS}"
        if fault is None:
            topics[topic] = None
        else:
            faults.append(f"{topic[:80]!r} {fault}")
    if not faults:
        return [*topics], []
    more = f"; {len(faults) - 1} more items are ignored, too" if len(faults) > 1 else ""
    return [*topics], [f"{about}{faults[0]}; it is ignored{more}"]
