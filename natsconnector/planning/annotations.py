"""Deployed functions, and what their annotations say about how they want to be called. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from natsconnector.config import values
from natsconnector.model.function import DeployedFunction
from natsconnector.model.retries import RetryPolicy
from natsconnector.model.subjects import subject_fault

TOPIC = "topic"


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a function is to be called, where that differs from the connector's settings."""

    asynchronous: bool | None = None
    timeout_s: float | None = None
    max_inflight: int | None = None
    content_type: str | None = None
    retry_attempts: int | None = None
    retry_codes: tuple[int, ...] | None = None
    retry_wait_s: float | None = None
    retry_max_wait_s: float | None = None

    def retries(self, policy: RetryPolicy) -> RetryPolicy:
        """``policy`` with what the function wants instead."""
        wanted: dict[str, Any] = {
            "attempts": self.retry_attempts,
            "codes": None if self.retry_codes is None else frozenset(self.retry_codes),
            "wait_s": self.retry_wait_s,
            "max_wait_s": self.retry_max_wait_s,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        return replace(policy, **given) if given else policy


# By annotation: the option's field, and how its value is read. Those of the second prefix are the commercial edition's.
_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "natsconnector.async": ("asynchronous", values.switch),
    "natsconnector.timeout": ("timeout_s", values.duration),
    "natsconnector.max-inflight": ("max_inflight", values.whole_number(1, 65536)),
    "natsconnector.content-type": ("content_type", values.content_type),
    "com.openfaas.retry.attempts": ("retry_attempts", values.whole_number(1, 1000)),
    "com.openfaas.retry.codes": ("retry_codes", values.list_of(values.status_code)),
    "com.openfaas.retry.min_wait": ("retry_wait_s", values.duration),
    "com.openfaas.retry.max_wait": ("retry_max_wait_s", values.duration),
}


def call_options(function: DeployedFunction) -> tuple[CallOptions, list[str]]:
    """What a function's annotations ask for, and a sentence for each that cannot be understood and is ignored."""
    options: dict[str, Any] = {}
    faults = []
    for annotation, (name, parse) in _OPTIONS.items():
        text = function.annotations.get(annotation, "").strip()
        if text:
            try:
                options[name] = parse(text)
            except ValueError as e:
                faults.append(f"function {function.full_name}: annotation {annotation}: {text!r} {e}; it is ignored")
    return CallOptions(**options), faults


def topics_of(function: DeployedFunction, delimiter: str) -> tuple[list[str], list[str]]:
    """The topics that a function's annotation names, and a sentence for each that is none and is ignored."""
    topics, faults = [], []
    for text in function.annotations.get(TOPIC, "").split(delimiter):
        topic = text.strip()
        if not topic:
            continue
        if (fault := subject_fault(topic)) is None:
            topics.append(topic)
        else:
            faults.append(f"function {function.full_name}: annotation {TOPIC}: {topic!r} {fault}; it is ignored")
    return topics, faults
