"""Traces: spans as plain data, and the context that links those of several processes (W3C Trace Context).

Nothing here imports OpenTelemetry; `telemetry/otlp.py` does, and only when tracing is on. When it is off, or a trace
is not sampled, the same calls only propagate the context that came with a request.
"""

import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol

from services.runtime import clock

HEADER = "traceparent"
MAX_EVENTS = 128
"""Per span, OpenTelemetry's own limit: a long call keeps the first ones and counts the rest."""
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?\Z")
_HALF = 1 << 64

SpanKind = Literal["internal", "server", "client"]
Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Trace id, span id and sampling flag."""

    trace_id: int
    span_id: int
    sampled: bool = True

    def header(self) -> str:
        """Format it as a `traceparent` header."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"

    def child(self) -> "TraceContext":
        """Return a context with a new span id in the same trace."""
        return TraceContext(self.trace_id, _new_id(64), self.sampled)

    def derived(self, name: str) -> "TraceContext":
        """Return the context whose span id is derived from ``name``: every process computes the same one."""
        digest = hashlib.blake2b(f"{self.trace_id:032x}/{name}".encode(), digest_size=8).digest()
        return TraceContext(self.trace_id, int.from_bytes(digest, "big") or 1, self.sampled)


def turn_name(index: int) -> str:
    """The name shared by media and upstream of the turn that ends before the caller's frame ``index``."""
    return f"turn/{index}"


def parse(header: str | None) -> TraceContext | None:
    """Parse a `traceparent` header; None if it is absent or malformed (W3C: start a new trace)."""
    found = _TRACEPARENT.match(header or "")
    if found is None:
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    return TraceContext(trace_id, span_id, bool(int(found[3], 16) & 1)) if trace_id and span_id else None


def _new_id(bits: int) -> int:
    return secrets.randbits(bits) or 1  # zero is invalid


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """An event within a span."""

    name: str
    at_ns: int
    attributes: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Span:
    """A finished span, from ``start_ns`` to ``end_ns`` (Unix ns). ``error``: the reason if it failed."""

    name: str
    context: TraceContext
    parent: TraceContext | None
    kind: SpanKind
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    events: tuple[SpanEvent, ...] = ()
    error: str = ""


class Sink(Protocol):
    """Receives finished spans."""

    def export(self, span: Span) -> None:
        """Accept ``span``; must neither block nor raise."""


class LiveSpan:
    """A span that has not ended. Without a ``sink`` it records nothing and only propagates its context."""

    def __init__(
        self,
        sink: Sink | None,
        context: TraceContext | None,
        *,
        name: str = "",
        parent: TraceContext | None = None,
        kind: SpanKind = "internal",
        start_ns: int = 0,
    ) -> None:
        self._sink = sink
        self.context = context
        self._name = name
        self._parent = parent
        self._kind: SpanKind = kind
        self._start_ns = start_ns
        self._attributes: dict[str, Value] = {}
        self._events: list[SpanEvent] = []
        self._left_out = 0

    @property
    def recording(self) -> bool:
        """Whether the span is recorded."""
        return self._sink is not None

    def set_attributes(self, **attributes: Value) -> None:
        """Set attributes; `call_id` becomes `hushgate.call_id`."""
        if self.recording:
            self._attributes |= _named(attributes)

    def add_event(self, name: str, *, at_ns: int = 0, **attributes: Value) -> None:
        """Add an event, by default now."""
        if len(self._events) >= MAX_EVENTS:
            self._left_out += 1
        elif self.recording:
            self._events.append(SpanEvent(name, at_ns or clock.unix_ns(), _named(attributes)))

    def start_span(
        self,
        name: str,
        *,
        kind: SpanKind = "internal",
        start_ns: int = 0,
        at: TraceContext | None = None,
        under: TraceContext | None = None,
    ) -> "LiveSpan":
        """Start a span of the same trace, by default now and as a child of this; returns itself when not recording.

        ``at``: its context, if fixed. ``under``: its parent, if in another process.
        """
        if self._sink is None or self.context is None:
            return self
        context = at or self.context.child()
        start = start_ns or clock.unix_ns()
        return LiveSpan(self._sink, context, name=name, parent=under or self.context, kind=kind, start_ns=start)

    def end(self, *, at_ns: int = 0, error: str = "") -> None:
        """End the span, by default now. Safe to call twice."""
        if self._sink is None or self.context is None:
            return
        sink, self._sink = self._sink, None
        if self._left_out:
            self._attributes["hushgate.events_left_out"] = self._left_out
        end_ns = max(self._start_ns, at_ns or clock.unix_ns())  # the wall clock may have been set back
        span = Span(
            self._name,
            self.context,
            self._parent,
            self._kind,
            self._start_ns,
            end_ns,
            self._attributes,
            tuple(self._events),
            error,
        )
        sink.export(span)

    @contextmanager
    def current(self) -> Iterator["LiveSpan"]:
        """Make it the current span of the block; requests on the bus propagate it."""
        token = _CURRENT.set(self)
        try:
            yield self
        finally:
            _CURRENT.reset(token)

    @contextmanager
    def closing(self) -> Iterator["LiveSpan"]:
        """Make it current and end it with the block; an exception is recorded by name: its message may be secret."""
        with self.current():
            try:
                yield self
            except BaseException as exc:
                self.end(error=str(getattr(exc, "code", None) or type(exc).__name__))
                raise
        self.end()


NOTHING = LiveSpan(None, None)
_CURRENT: ContextVar[LiveSpan] = ContextVar("hushgate_span", default=NOTHING)


def start_child(name: str, *, kind: SpanKind = "internal") -> LiveSpan:
    """Start a child of the task's current span."""
    return _CURRENT.get().start_span(name, kind=kind)


def current() -> LiveSpan:
    """The task's current span; one that records nothing if there is none."""
    return _CURRENT.get()


def outgoing_headers() -> dict[str, str] | None:
    """Headers that propagate the current context with a request on the bus."""
    context = _CURRENT.get().context
    return {HEADER: context.header()} if context else None


def remote_parent(headers: Mapping[str, str] | None) -> LiveSpan:
    """The remote parent span of a request with these ``headers``."""
    context = parse(headers.get(HEADER)) if headers else None
    return LiveSpan(None, context) if context else NOTHING


def set_remote_parent(headers: Mapping[str, str] | None) -> None:
    """Make the sender of ``headers`` the parent of this task's spans."""
    _CURRENT.set(remote_parent(headers))


@dataclass(frozen=True, slots=True)
class Tracer:
    """Starts the spans of one process. Without a sink, nothing is recorded.

    ``ratio``: the share of traces that is sampled; a context that came with a request keeps its sampling decision.
    """

    sink: Sink | None = None
    ratio: float = 1.0

    def start_span(self, name: str, *, kind: SpanKind = "internal", start_ns: int = 0) -> LiveSpan:
        """Start a span, by default now, in the trace of the request that this task handles, or in a new one."""
        current_span = _CURRENT.get()
        parent = current_span.context
        if self.sink is None or (parent is not None and not parent.sampled):
            return current_span
        if parent is None:
            trace_id = _new_id(128)
            context = TraceContext(trace_id, _new_id(64), sampled=trace_id % _HALF < self.ratio * _HALF)
        else:
            context = parent.child()
        if not context.sampled:
            return LiveSpan(None, context)  # the receivers follow this sampling decision
        start = start_ns or clock.unix_ns()
        return LiveSpan(self.sink, context, name=name, parent=parent, kind=kind, start_ns=start)


def _named(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {f"hushgate.{name}": value for name, value in attributes.items()}
