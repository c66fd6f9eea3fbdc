"""Spans of call set-up; the trace of a call begins here.

A client's `traceparent` is ignored: clients must not choose which calls are traced, nor add spans to
another trace. A refused request has no trace: an unauthenticated client could create any number of them.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

from services.contracts.ids import CallId
from services.runtime import clock
from services.runtime.telemetry import tracing
from services.runtime.telemetry.tracing import LiveSpan, Tracer


@contextmanager
def set_up(tracer: Tracer, call: CallId, *, endpoint: Literal["realtime", "whip"], began_ns: int) -> Iterator[None]:
    """Trace the set-up of ``call`` in the block; authentication took from ``began_ns`` until now."""
    with tracer.start_span("set_up", kind="server", start_ns=began_ns).closing() as span:
        span.set_attributes(call_id=call, endpoint=endpoint)
        span.start_span("token", start_ns=began_ns).end(at_ns=clock.unix_ns())
        yield


def stage(name: str) -> AbstractContextManager[LiveSpan]:
    """Trace the block as a stage of the set-up."""
    return tracing.start_child(name).closing()
