"""Tests of tracing, which need the extra ``otel``."""

from __future__ import annotations

from natsconnector.config.traces import wants_traces

SKIP: str | None = wants_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "any"})[1]
"""Why they are skipped; None when they are not."""
