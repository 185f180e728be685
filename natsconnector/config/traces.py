"""Whether traces are sent: what the usual variables of OpenTelemetry say about that."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTERS = "OTEL_TRACES_EXPORTER"
_OURS = "http/protobuf"
_LIBRARIES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")


def wants_traces(environment: Mapping[str, str]) -> tuple[bool, str | None]:
    """
    Whether traces are to be sent, and why not where it looks as if they should be.

    They are when an endpoint is set: without one nobody waits for them, and no library is loaded.
    """
    endpoint = _first(environment, _ENDPOINTS)
    exporters = environment.get(_EXPORTERS, "").replace(" ", "").lower().split(",")
    if endpoint is None or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or "none" in exporters:
        return False, None
    if exporters != [""] and "otlp" not in exporters:
        return False, f"no traces are sent: {_EXPORTERS} names other exporters than otlp"
    protocol = _first(environment, _PROTOCOLS)
    if protocol is not None and environment[protocol].strip() != _OURS:
        return False, f"no traces are sent: {protocol} is another one than {_OURS}"
    if not all(_is_there(library) for library in _LIBRARIES):
        return False, f"{endpoint} is set, but to send traces takes pip install 'natsconnector[otel]'"
    return True, None


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if environment.get(name, "").strip()), None)


def _is_there(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:
        return False
