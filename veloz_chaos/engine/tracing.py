"""Spans by OTLP, with OpenTelemetry's SDK, which reads its own environment variables; an extra, imported only here."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from veloz_chaos import __version__
from veloz_chaos.core.spans import Span
from veloz_chaos.errors import UsageError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

#: Characters of what the SDK says.
_LONGEST = 300
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def export(spans: Sequence[Span], offset: int, timeout: float) -> None:
    """`offset`: nanoseconds from the boot-time clock to the wall's. Raises UsageError with what went wrong."""
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise UsageError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}; veloz-chaos speaks http/protobuf")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import SpanExportResult
    except ImportError:
        raise UsageError(
            "OpenTelemetry is not installed here; install it with: pip install 'veloz-chaos[otel]'"
        ) from None
    words = _Words()
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(words)
    logger.propagate = False
    try:
        made = _made(spans, offset)
        if made and OTLPSpanExporter(timeout=timeout).export(made) is not SpanExportResult.SUCCESS:
            raise UsageError(words.first or "the spans were not taken")
    finally:
        logger.removeHandler(words)


def _made(spans: Sequence[Span], offset: int) -> list[ReadableSpan]:
    """The SDK's own, so that sampling and resource attributes are as everywhere. The first is the others' parent."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import Status, StatusCode

    said = ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES")
    named = os.environ.get(said[0]) or "service.name=" in os.environ.get(said[1], "")
    own = {"service.version": __version__} | ({} if named else {"service.name": "veloz-chaos"})
    kept = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("veloz_chaos", __version__)
    context = None
    for span in spans:
        one = tracer.start_span(span.name, context, attributes=dict(span.attributes), start_time=span.start + offset)
        context = context or trace.set_span_in_context(one)
        for name, at in span.events:
            one.add_event(name, timestamp=at + offset)
        one.set_status(Status(StatusCode.ERROR, span.failed) if span.failed else Status(StatusCode.OK))
        one.end(span.end + offset)
    return list(kept.get_finished_spans())


class _Words(logging.Handler):
    """What the SDK would have printed; the first tells why, the others that it gives up."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()[:_LONGEST]
