"""Traces: spans as plain data, and the context that joins those of several processes (W3C Trace Context).

Nothing here imports OpenTelemetry; `runtime/otlp.py` does, and only where traces are on. Where they are off, or a trace
is not sampled, the same calls do nothing but hand on the context that came with a request.
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
"""Of one span, as OpenTelemetry's own limit: a long call keeps the first ones and counts the rest."""
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?\Z")
_HALF = 1 << 64

Kind = Literal["internal", "server", "client"]
Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Context:
    """A place in a trace."""

    trace_id: int
    span_id: int
    sampled: bool = True

    def header(self) -> str:
        """As the header `traceparent` says it."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"

    def child(self) -> "Context":
        """A new place in the same trace."""
        return Context(self.trace_id, _new_id(64), self.sampled)

    def named(self, name: str) -> "Context":
        """The place in this trace that every process calls ``name``: they agree on it without a word."""
        digest = hashlib.blake2b(f"{self.trace_id:032x}/{name}".encode(), digest_size=8).digest()
        return Context(self.trace_id, int.from_bytes(digest, "big") or 1, self.sampled)


def turn_name(index: int) -> str:
    """What media and upstream both call the turn that ends before the caller's frame ``index``."""
    return f"turn/{index}"


def parse(header: str | None) -> Context | None:
    """The context of a `traceparent`; None if there is none or it is malformed, as the W3C wants it."""
    found = _TRACEPARENT.match(header or "")
    if found is None:
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    return Context(trace_id, span_id, bool(int(found[3], 16) & 1)) if trace_id and span_id else None


def _new_id(bits: int) -> int:
    return secrets.randbits(bits) or 1  # zero means none


@dataclass(frozen=True, slots=True)
class Event:
    """A moment of a span."""

    name: str
    at_ns: int
    attributes: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Span:
    """What took from ``start_ns`` to ``end_ns`` (since 1970). ``error``: the reason if it failed."""

    name: str
    context: Context
    parent: Context | None
    kind: Kind
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    events: tuple[Event, ...] = ()
    error: str = ""


class Sink(Protocol):
    """Where spans go that are over."""

    def put(self, span: Span) -> None:
        """Take ``span``; never waits, never fails."""


class Live:
    """A span that is not over, or nothing at all (``sink`` is None): then only its context is handed on."""

    def __init__(
        self,
        sink: Sink | None,
        context: Context | None,
        *,
        name: str = "",
        parent: Context | None = None,
        kind: Kind = "internal",
        start_ns: int = 0,
    ) -> None:
        self._sink = sink
        self.context = context
        self._name = name
        self._parent = parent
        self._kind: Kind = kind
        self._start_ns = start_ns
        self._attributes: dict[str, Value] = {}
        self._events: list[Event] = []
        self._left_out = 0

    @property
    def recording(self) -> bool:
        """Whether anything becomes of it."""
        return self._sink is not None

    def note(self, **attributes: Value) -> None:
        """Add attributes; `call_id` becomes `hushgate.call_id`."""
        if self.recording:
            self._attributes |= _named(attributes)

    def event(self, name: str, *, at_ns: int = 0, **attributes: Value) -> None:
        """Add a moment, by default now."""
        if len(self._events) >= MAX_EVENTS:
            self._left_out += 1
        elif self.recording:
            self._events.append(Event(name, at_ns or clock.unix_ns(), _named(attributes)))

    def begin(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        start_ns: int = 0,
        at: Context | None = None,
        under: Context | None = None,
    ) -> "Live":
        """A span of the same trace, by default from now on and a child of this; itself where nothing is recorded.

        ``at``: its place, if that is fixed. ``under``: its parent, if that is another process's.
        """
        if self._sink is None or self.context is None:
            return self
        context = at or self.context.child()
        start = start_ns or clock.unix_ns()
        return Live(self._sink, context, name=name, parent=under or self.context, kind=kind, start_ns=start)

    def end(self, *, at_ns: int = 0, error: str = "") -> None:
        """It is over, by default now. Safe to call twice."""
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
        sink.put(span)

    @contextmanager
    def current(self) -> Iterator["Live"]:
        """What happens in the block happens within it; what is asked on the bus carries it along."""
        token = _CURRENT.set(self)
        try:
            yield self
        finally:
            _CURRENT.reset(token)

    @contextmanager
    def whole(self) -> Iterator["Live"]:
        """The block is all of it; an exception is its error, by name: what it says may be secret."""
        with self.current():
            try:
                yield self
            except BaseException as exc:
                self.end(error=str(getattr(exc, "code", None) or type(exc).__name__))
                raise
        self.end()


NOTHING = Live(None, None)
_CURRENT: ContextVar[Live] = ContextVar("hushgate_span", default=NOTHING)


def stage(name: str, *, kind: Kind = "internal") -> Live:
    """A part, from now on, of what this task is doing."""
    return _CURRENT.get().begin(name, kind=kind)


def current() -> Live:
    """What this task is doing."""
    return _CURRENT.get()


def outgoing() -> dict[str, str] | None:
    """The headers of a request on the bus."""
    context = _CURRENT.get().context
    return {HEADER: context.header()} if context else None


def asked_by(headers: Mapping[str, str] | None) -> Live:
    """The span, in another process, of the one who sent ``headers``."""
    context = parse(headers.get(HEADER)) if headers else None
    return Live(None, context) if context else NOTHING


def accept(headers: Mapping[str, str] | None) -> None:
    """From here on this task works for the one who sent ``headers``."""
    _CURRENT.set(asked_by(headers))


@dataclass(frozen=True, slots=True)
class Tracer:
    """Begins the spans of one process. Without a sink, nothing is recorded.

    ``ratio``: the share of traces that is kept; who gets a context decides as the one who sent it.
    """

    sink: Sink | None = None
    ratio: float = 1.0

    def begin(self, name: str, *, kind: Kind = "internal", start_ns: int = 0) -> Live:
        """A span, by default from now on, in the trace of the request that this task answers, or in a new one."""
        asked = _CURRENT.get()
        parent = asked.context
        if self.sink is None or (parent is not None and not parent.sampled):
            return asked
        if parent is None:
            trace_id = _new_id(128)
            context = Context(trace_id, _new_id(64), sampled=trace_id % _HALF < self.ratio * _HALF)
        else:
            context = parent.child()
        if not context.sampled:
            return Live(None, context)  # those who are asked need not draw lots again
        start = start_ns or clock.unix_ns()
        return Live(self.sink, context, name=name, parent=parent, kind=kind, start_ns=start)


def _named(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {f"hushgate.{name}": value for name, value in attributes.items()}
