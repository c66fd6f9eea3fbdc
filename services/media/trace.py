"""What becomes of one call, as spans of its trace. Times are monotonic seconds, as the call has them.

All of it is called when something happens that is rare: a connection, a turn, an end. Never for a frame.
"""

from collections.abc import Awaitable, Callable

from services.contracts.endings import EndReason
from services.contracts.ids import ProcessId
from services.contracts.messages import ClaimGranted, Message, Offer, OfferRefused
from services.media.core.commands import CountGateClose, CountGateOpen
from services.runtime import clock, tracing
from services.runtime.tracing import NOTHING, Live, Tracer

_FAILED = frozenset(
    {
        EndReason.PROVIDER_ERROR,
        EndReason.SETUP_TIMEOUT,
        EndReason.DTLS_FAILED,
        EndReason.FLOOD,
        EndReason.INTERNAL,
    }
)
"""Endings that nobody wanted; by the others calls are meant to end."""


async def traced(
    tracer: Tracer, offer: Offer, process: ProcessId, answer: Callable[[Live], Awaitable[Message]]
) -> Message:
    """The reply of ``answer``. The span it is given lasts until the call's end, or until there will be no call."""
    span = tracer.begin("call", kind="server")
    span.note(call_id=offer.call, tenant_id=offer.grant.tenant, process=process)
    with span.current():
        reply = await answer(span)
    if isinstance(reply, OfferRefused):
        span.end(error=reply.reason)
    return reply


class CallTrace:
    """The span of a call and those in it. Without one, nothing."""

    def __init__(self, span: Live = NOTHING) -> None:
        self._span = span
        self._unix_s = clock.unix_minus_monotonic()
        self._unanswered: Live | None = None
        self._turns = 0

    def connected(self, *, since: float, now: float) -> None:
        """ICE and DTLS are through; ``since``: the answer to the offer."""
        self._span.begin("connect", start_ns=self._ns(since)).end(at_ns=self._ns(now))

    def event(self, name: str) -> None:
        """Something happened to the call."""
        self._span.event(name)

    def gate_closed(self, closed: CountGateClose, *, now: float) -> None:
        """The caller has said something; who hung up in the midst of it waits for no answer."""
        if closed.reason == "hangup" or not self._span.recording or self._span.context is None:
            return
        self._turns += 1
        place = self._span.context.named(tracing.turn_name(closed.index))
        turn = self._span.begin("turn", start_ns=self._ns(closed.speech_end_at), at=place)
        turn.note(turn=self._turns, gate_closed_by=closed.reason)
        turn.begin("hangover", start_ns=self._ns(closed.speech_end_at)).end(at_ns=self._ns(now))
        self._unanswered = turn

    def answered(self, *, now: float) -> None:
        """The first packet of the answer leaves."""
        if self._unanswered is not None:
            self._over(self._unanswered, "answered", now)

    def gate_opened(self, opened: CountGateOpen, *, now: float) -> None:
        """The caller speaks: before there was an answer, or over it."""
        if opened.barge_in_stop_s is not None:
            onset_ns, stop_ms = self._ns(now - opened.barge_in_stop_s), round(opened.barge_in_stop_s * 1000)
            self._span.event("barge_in", at_ns=onset_ns, stop_ms=stop_ms)
            self._span.begin("barge_in", start_ns=onset_ns).end(at_ns=self._ns(now))
        if self._unanswered is not None:
            self._over(self._unanswered, "spoke_on", now)

    def ended(self, reason: EndReason, owner: ClaimGranted, *, now: float) -> None:
        """The call is over."""
        if self._unanswered is not None:
            self._over(self._unanswered, "call_ended", now)
        self._span.note(reason=reason, provider=owner.provider, model=owner.model, turns=self._turns)
        self._span.end(at_ns=self._ns(now), error=reason if reason in _FAILED else "")

    def _over(self, turn: Live, outcome: str, now: float) -> None:
        turn.note(outcome=outcome)
        turn.end(at_ns=self._ns(now))
        self._unanswered = None

    def _ns(self, monotonic_s: float) -> int:
        return int((monotonic_s + self._unix_s) * 1e9)
