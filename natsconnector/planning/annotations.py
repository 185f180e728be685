"""What the annotations of a function say about how it is called. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from natsconnector.config import values
from natsconnector.model.function import DeployedFunction
from natsconnector.model.retries import RetryPolicy
from natsconnector.model.subjects import is_reserved, subject_fault

TOPIC = "topic"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a function is called: as the connector's settings say, except where its annotations say otherwise."""

    retries: RetryPolicy = field(default_factory=RetryPolicy)
    asynchronous: bool | None = None
    """None: as the message and the settings say."""
    timeout_s: float | None = None
    """None: the gateway client's own."""
    max_inflight: int | None = None
    """How many of its calls may be in flight; None: as many as there are slots."""
    content_type: str | None = None
    """Of calls for topics, unless the message says otherwise."""


# By annotation: the field of Terms, or of its RetryPolicy, and how its value is read. The second prefix is that of the
# commercial edition.
_TERMS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "natsconnector.async": ("asynchronous", values.switch),
    "natsconnector.timeout": ("timeout_s", values.duration),
    "natsconnector.max-inflight": ("max_inflight", values.whole_number(1, 65536)),
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


def terms_of(function: DeployedFunction, defaults: Terms) -> tuple[Terms, list[str]]:
    """The terms of a function, and a sentence for each annotation that cannot be understood and is ignored."""
    faults: list[str] = []
    terms, retries = _read(function, _TERMS, faults), _read(function, _RETRIES, faults)
    if retries:
        terms["retries"] = replace(defaults.retries, **retries)
    return replace(defaults, **terms) if terms else defaults, faults


def _read(
    function: DeployedFunction, table: dict[str, tuple[str, Callable[[str], Any]]], faults: list[str]
) -> dict[str, Any]:
    found = {}
    for annotation, (name, parse) in table.items():
        text = function.annotations.get(annotation, "").strip()
        if text:
            try:
                found[name] = parse(text)
            except ValueError as e:
                faults.append(f"function {function.full_name}: annotation {annotation}: {text!r} {e}; it is ignored")
    return found


def topics_of(function: DeployedFunction, delimiter: str) -> tuple[list[str], list[str]]:
    """The topics that a function's annotation names, and a sentence for each that is none and is ignored."""
    topics, faults = [], []
    for text in function.annotations.get(TOPIC, "").split(delimiter):
        topic = text.strip()
        if not topic:
            continue
        fault = "is NATS's own, and never a topic" if is_reserved(topic) else subject_fault(topic)
        if fault is None:
            topics.append(topic)
        else:
            faults.append(f"function {function.full_name}: annotation {TOPIC}: {topic!r} {fault}; it is ignored")
    return topics, faults
