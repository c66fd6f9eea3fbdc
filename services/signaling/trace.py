"""The set-up of a call as spans: this is where its trace begins.

A `traceparent` of the client is not read: who may call must not choose which calls are traced, nor put them into
another's trace. Requests that are turned away at the door have no trace, or strangers could make any number.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

from services.contracts.ids import CallId
from services.runtime import clock, tracing
from services.runtime.tracing import Live, Tracer


@contextmanager
def set_up(tracer: Tracer, call: CallId, *, door: Literal["realtime", "whip"], began_ns: int) -> Iterator[None]:
    """The block sets ``call`` up; its token was looked at from ``began_ns`` until now."""
    with tracer.begin("set_up", kind="server", start_ns=began_ns).whole() as span:
        span.note(call_id=call, door=door)
        span.begin("token", start_ns=began_ns).end(at_ns=clock.unix_ns())
        yield


def stage(name: str) -> AbstractContextManager[Live]:
    """The block is a part of it."""
    return tracing.stage(name).whole()
