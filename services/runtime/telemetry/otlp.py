"""Sends spans to a collector: OTLP over HTTP, in a thread of its own. Imported only when tracing is on.

OpenTelemetry's own batch processor neither counts what it drops nor ends within a given time, so the batching is here;
encoding, HTTP and retries are the library's. A collector that fails never affects a call: a full queue drops spans,
counted, and each export ends after `TIMEOUT_S`.
"""

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from services.runtime.telemetry import metrics, tracing
from services.runtime.telemetry.logging import get_logger
from services.runtime.telemetry.tracing import Span, TraceContext

MAX_WAITING = 4096
"""Spans; a few MB. A call of a minute makes about fifty."""
MAX_BATCH = 512
EVERY_S = 1.0
TIMEOUT_S = 3.0
"""Of one export, including retries."""
FLUSH_S = 1.0
"""How long the end of a process waits for the last spans; `hushgate up` promises to stop within 5 s."""
PATH = "/v1/traces"

_KINDS: Mapping[tracing.SpanKind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
}
_SCOPE = InstrumentationScope("hushgate")
_LIBRARY = logging.getLogger("opentelemetry")


class _LastErrorHandler(logging.Handler):
    """Keeps the library's last error, so that it is logged once, as an event of ours, and not at every retry."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


class Exporter:
    """A `tracing.Sink` that exports in batches. Spans wait for at most `EVERY_S`."""

    def __init__(self, exporter: SpanExporter, *, resource: Mapping[str, str]) -> None:
        self._exporter = exporter
        self._resource = Resource(dict(resource))
        self._waiting: deque[Span] = deque()
        self._work = threading.Event()
        self._closing = False
        self._failing = False
        self._last_words = _LastErrorHandler()
        _LIBRARY.addHandler(self._last_words)
        _LIBRARY.propagate = False
        logged_as = contextvars.copy_context()  # the thread's log lines name the service, too
        self._thread = threading.Thread(target=logged_as.run, args=(self._run,), name="traces", daemon=True)
        self._thread.start()

    def export(self, span: Span) -> None:
        """Queue ``span`` for export, or drop and count it when the queue is full."""
        if self._closing or len(self._waiting) >= MAX_WAITING:
            metrics.SPANS.labels("dropped").inc()
            return
        self._waiting.append(span)
        if len(self._waiting) >= MAX_BATCH:
            self._work.set()

    def close(self) -> None:
        """Export what is queued; blocks for at most `FLUSH_S`. The rest is dropped and counted."""
        self._closing = True
        self._work.set()
        self._thread.join(FLUSH_S)
        self._exporter.shutdown()  # aborts a pending retry
        metrics.SPANS.labels("dropped").inc(len(self._waiting))
        self._waiting.clear()
        _LIBRARY.removeHandler(self._last_words)

    def _run(self) -> None:
        while not self._closing:
            self._work.wait(EVERY_S)
            self._work.clear()
            self._send_waiting()
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and not (self._closing and self._failing):
            batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
            self._noted(len(batch), fine=self._send(batch))

    def _send(self, batch: list[Span]) -> bool:
        try:
            return self._exporter.export([self._readable(span) for span in batch]) is SpanExportResult.SUCCESS
        except Exception as exc:  # noqa: BLE001 - the edge of a thread: the next batch must still be tried
            self._last_words.text = type(exc).__name__
            return False

    def _noted(self, count: int, *, fine: bool) -> None:
        metrics.SPANS.labels("exported" if fine else "failed").inc(count)
        if fine and self._failing:
            get_logger().info("traces_exported_again")
        elif not fine and not self._failing:
            get_logger().warning("traces_not_exported", error=self._last_words.text)
        self._failing = not fine

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            span.name,
            context=_context(span.context),
            parent=_context(span.parent) if span.parent else None,
            resource=self._resource,
            attributes={**span.attributes, **({"error.type": span.error} if span.error else {})},
            events=[Event(event.name, event.attributes, event.at_ns) for event in span.events],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=_SCOPE,
        )


def _context(context: TraceContext) -> SpanContext:
    return SpanContext(context.trace_id, context.span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def open_exporter(endpoint: str, *, headers: Mapping[str, str], resource: Mapping[str, str]) -> Exporter:
    """Create an exporter to the collector at the base URL ``endpoint``."""
    url = endpoint.rstrip("/") + PATH
    return Exporter(OTLPSpanExporter(url, headers=dict(headers), timeout=TIMEOUT_S), resource=resource)
