"""Claims an upstream worker for a call, and releases it if no call is started."""

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.endings import EndReason
from services.contracts.frame import Frame, Kind
from services.contracts.grant import Grant
from services.contracts.ids import CallId, ProcessId
from services.contracts.messages import Claim, ClaimGranted, ClaimRefused, Ended, MalformedMessageError, OfferRefusal
from services.contracts.turn_detection import TurnTerms
from services.media import metrics
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.errors import NoRespondersError, RequestTimeoutError
from services.runtime.telemetry import tracing

CLAIM_S = 1.5
"""Signaling waits 2 s for the answer."""
_TRIES = 3


class ClaimFailedError(Exception):
    """No worker accepted the call; ``reason`` is for the reply to signaling."""

    def __init__(self, reason: OfferRefusal, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


async def claim(bus: Bus, *, call: CallId, process: ProcessId, grant: Grant, turns: TurnTerms) -> ClaimGranted:
    """Claim a worker for a call from the upstream queue group. ``turns``: what a session may set of turn detection.

    Raises:
        ClaimFailedError: no worker replied, or all that were asked refused.
    """
    with tracing.start_child("claim", kind="client").closing() as span:
        owner = await _claim(
            bus,
            Claim(
                call=call,
                process=process,
                grant=grant,
                deadline_unix_ms=clock.unix_ms() + int(CLAIM_S * 1000),
                turns=turns,
            ),
        )
        span.set_attributes(worker=owner.worker)
    return owner


async def _claim(bus: Bus, request: Claim) -> ClaimGranted:
    began = clock.monotonic()
    refused = ClaimFailedError("no_worker", "no upstream worker is free")
    for _ in range(_TRIES):
        left_s = CLAIM_S - (clock.monotonic() - began)
        if left_s <= 0:
            break
        try:
            answer = await bus.request(subjects.claim(request.process), request, timeout_s=left_s)
        except NoRespondersError as exc:
            raise ClaimFailedError("no_worker", "no upstream worker listens") from exc
        except (RequestTimeoutError, MalformedMessageError) as exc:
            raise ClaimFailedError("no_worker", "the upstream worker did not answer") from exc
        if isinstance(answer, ClaimGranted):
            metrics.SETUP_DURATION.labels("claim").observe(clock.monotonic() - began)
            return answer
        reason = answer.reason if isinstance(answer, ClaimRefused) else "internal"
        refused = ClaimFailedError("no_worker", f"the upstream worker refused: {reason}")
        if reason not in {"full", "draining"}:  # the next request may reach another worker of the queue group
            break
    raise refused


async def give_back(bus: Bus, call: CallId, owner: ClaimGranted, *, process: ProcessId) -> None:
    """Release the worker of a call that was not started. Idempotent."""
    ended = Ended(reason=EndReason.INTERNAL, detail="the offer could not be answered")
    frame = Frame(Kind.ENDED, owner.epoch, 0, clock.unix_ms(), payload=ended.encode())
    await bus.publish_bytes(subjects.up(owner.worker, process, call), frames.encode(frame))
