"""What a service says of itself on ``$SRV`` (ADR-32). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

VERBS = ("PING", "INFO", "STATS")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NUMBER = r"(?:0|[1-9][0-9]*)"
_LABEL = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_LABEL}(?:\.{_LABEL})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """
    One endpoint of a service, and its statistics.

    :param name: of letters, digits, ``-`` and ``_``.
    :param processing_s: of all its requests together.
    :param data: what else there is to say, for JSON.
    """

    name: str
    subject: str
    queue_group: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    num_requests: int = 0
    num_errors: int = 0
    last_error: str = ""
    processing_s: float = 0.0
    data: object = None


@dataclass(frozen=True, slots=True)
class Identification:
    """
    What is the same in each answer of one instance of a service.

    :param name: shared by all instances, of letters, digits, ``-`` and ``_``.
    :param version: as semver.org has it, such as ``1.2.3``.
    :raises ValueError: name or version are not of that form.
    """

    name: str
    version: str
    id: str
    description: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)
        if not _VERSION.fullmatch(self.version):
            raise ValueError(f"{self.version[:80]!r} is not a version such as 1.2.3 (semver.org)")


def check_name(name: str) -> None:
    """:raises ValueError: this is no name of a service or of an endpoint."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is not a name: letters, digits, - and _, at most 128 of them")


def ping(service: Identification) -> dict[str, Any]:
    """The answer to PING."""
    return _response("ping", service)


def info(service: Identification, endpoints: Iterable[EndpointFacts]) -> dict[str, Any]:
    """The answer to INFO."""
    return {
        **_response("info", service),
        "description": service.description,
        "endpoints": [
            {
                "name": each.name,
                "subject": each.subject,
                "queue_group": each.queue_group,
                "metadata": dict(each.metadata),
            }
            for each in endpoints
        ],
    }


def stats(service: Identification, endpoints: Iterable[EndpointFacts], started_s: float) -> dict[str, Any]:
    """The answer to STATS. :param started_s: since 1970."""
    started = datetime.fromtimestamp(started_s, timezone.utc).isoformat(timespec="milliseconds")
    return {
        **_response("stats", service),
        "started": started.replace("+00:00", "Z"),
        "endpoints": [_stats_of(each) for each in endpoints],
    }


def encoded(response: dict[str, Any], limit_bytes: int) -> bytes:
    """
    The JSON of an answer. What is too large for the server loses, one after the other, the data of its endpoints,
    their metadata, and as many of the last endpoints as has to be.
    """
    payload = _json(response)
    for name in ("data", "metadata"):
        if len(payload) > limit_bytes:
            endpoints = [{key: each[key] for key in each if key != name} for each in response.get("endpoints", ())]
            response = {**response, "endpoints": endpoints}
            payload = _json(response)
    while len(payload) > limit_bytes and response.get("endpoints"):
        response = {**response, "endpoints": response["endpoints"][: len(response["endpoints"]) // 2]}
        payload = _json(response)
    return payload


def _response(kind: str, service: Identification) -> dict[str, Any]:
    return {
        "type": f"io.nats.micro.v1.{kind}_response",
        "name": service.name,
        "id": service.id,
        "version": service.version,
        "metadata": dict(service.metadata),
    }


def _stats_of(endpoint: EndpointFacts) -> dict[str, Any]:
    processing_ns = round(endpoint.processing_s * _NS)
    found: dict[str, Any] = {
        "name": endpoint.name,
        "subject": endpoint.subject,
        "queue_group": endpoint.queue_group,
        "num_requests": endpoint.num_requests,
        "num_errors": endpoint.num_errors,
        "last_error": endpoint.last_error,
        "processing_time": processing_ns,
        "average_processing_time": processing_ns // max(endpoint.num_requests, 1),
    }
    if endpoint.data is not None:
        found["data"] = endpoint.data
    return found


def _json(response: dict[str, Any]) -> bytes:
    return json.dumps(response, separators=(",", ":")).encode()
