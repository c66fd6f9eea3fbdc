"""The spans of one call's trace. Times are monotonic seconds.

Nothing here is called per frame, only for rare events: a connection, a turn, an end.
"""

from collections.abc import Awaitable, Callable

from services.contracts.endings import EndReason
from services.contracts.ids import ProcessId
from services.contracts.message import Message
from services.contracts.messages import ClaimGranted, Offer, OfferRefused
from services.media.core.commands import CountGateClose, CountGateOpen
from services.runtime import clock
from services.runtime.telemetry import tracing
from services.runtime.telemetry.tracing import NOTHING, LiveSpan, Tracer

_FAILED = frozenset(
    {
        EndReason.PROVIDER_ERROR,
        EndReason.SETUP_TIMEOUT,
        EndReason.DTLS_FAILED,
        EndReason.FLOOD,
        EndReason.INTERNAL,
    }
)
"""Endings that are errors; the others are normal."""

_NO_TURN = frozenset({"hangup", "client_clear", "turn_detection"})


async def traced(
    tracer: Tracer, offer: Offer, process: ProcessId, answer: Callable[[LiveSpan], Awaitable[Message]]
) -> Message:
    """Return the reply of ``answer``. Its span lasts until the call ends, or until the offer is refused."""
    span = tracer.start_span("call", kind="server")
    span.set_attributes(call_id=offer.call, tenant_id=offer.grant.tenant, process=process)
    with span.current():
        reply = await answer(span)
    if isinstance(reply, OfferRefused):
        span.end(error=reply.reason)
    return reply


class CallTrace:
    """The span of a call and its child spans; records nothing without a span."""

    def __init__(self, span: LiveSpan = NOTHING) -> None:
        self._span = span
        self._unix_s = clock.unix_minus_monotonic()
        self._unanswered: LiveSpan | None = None
        self._turns = 0

    def connected(self, *, since: float, now: float) -> None:
        """Record the time from ``since``, when the offer was answered, until ICE and DTLS are done at ``now``."""
        self._span.start_span("connect", start_ns=self._ns(since)).end(at_ns=self._ns(now))

    def add_event(self, name: str) -> None:
        """Add the event ``name`` to the call's span, at the present time."""
        self._span.add_event(name)

    def gate_closed(self, closed: CountGateClose, *, now: float) -> None:
        """Begin the span of a turn at the end of speech; none if nothing is committed."""
        if closed.reason in _NO_TURN or not self._span.recording or self._span.context is None:
            return
        self._turns += 1
        place = self._span.context.derived(tracing.turn_name(closed.index))
        turn = self._span.start_span("turn", start_ns=self._ns(closed.speech_end_at), at=place)
        turn.set_attributes(turn=self._turns, gate_closed_by=closed.reason)
        turn.start_span("hangover", start_ns=self._ns(closed.speech_end_at)).end(at_ns=self._ns(now))
        self._unanswered = turn

    def answered(self, *, now: float) -> None:
        """End the span of the turn: the first packet of the answer is sent at ``now``."""
        if self._unanswered is not None:
            self._end_turn(self._unanswered, "answered", now)

    def gate_opened(self, opened: CountGateOpen, *, now: float) -> None:
        """Handle the onset of an utterance: end an unanswered turn, or record a barge-in."""
        if opened.barge_in_stop_s is not None:
            onset_ns, stop_ms = self._ns(now - opened.barge_in_cut_s), round(opened.barge_in_stop_s * 1000)
            self._span.add_event("barge_in", at_ns=onset_ns, stop_ms=stop_ms)
            silent_at = now - opened.barge_in_cut_s + opened.barge_in_stop_s
            self._span.start_span("barge_in", start_ns=onset_ns).end(at_ns=self._ns(silent_at))
        if self._unanswered is not None:
            self._end_turn(self._unanswered, "spoke_on", now)

    def ended(self, reason: EndReason, owner: ClaimGranted, *, now: float) -> None:
        """End all spans of the call with its ``reason``."""
        if self._unanswered is not None:
            self._end_turn(self._unanswered, "call_ended", now)
        self._span.set_attributes(reason=reason, provider=owner.provider, model=owner.model, turns=self._turns)
        self._span.end(at_ns=self._ns(now), error=reason if reason in _FAILED else "")

    def _end_turn(self, turn: LiveSpan, outcome: str, now: float) -> None:
        turn.set_attributes(outcome=outcome)
        turn.end(at_ns=self._ns(now))
        self._unanswered = None

    def _ns(self, monotonic_s: float) -> int:
        return int((monotonic_s + self._unix_s) * 1e9)
