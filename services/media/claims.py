"""Asks the upstream workers for one that takes a call, and lets it go if there will be none."""

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.endings import EndReason
from services.contracts.frame import Frame, Kind
from services.contracts.grant import Grant
from services.contracts.ids import CallId, ProcessId
from services.contracts.messages import Claim, ClaimGranted, ClaimRefused, Ended, MalformedMessageError, OfferRefusal
from services.media import metrics
from services.runtime import clock, tracing
from services.runtime.bus import Bus
from services.runtime.errors import NoRespondersError, RequestTimeoutError

CLAIM_S = 1.5
"""Signaling waits 2 s for the answer."""
_TRIES = 3
_REFUSALS: dict[str, OfferRefusal] = {"unknown_provider": "provider_refused"}


class ClaimFailedError(Exception):
    """No worker took the call."""

    def __init__(self, reason: OfferRefusal, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


async def claim(bus: Bus, *, call: CallId, process: ProcessId, grant: Grant) -> ClaimGranted:
    """Find the worker of a call.

    Raises:
        ClaimFailedError: there is none, or all that were asked refused.
    """
    with tracing.stage("claim", kind="client").whole() as span:
        owner = await _claim(bus, call=call, process=process, grant=grant)
        span.note(worker=owner.worker)
    return owner


async def _claim(bus: Bus, *, call: CallId, process: ProcessId, grant: Grant) -> ClaimGranted:
    began = clock.monotonic()
    request = Claim(call=call, process=process, grant=grant, deadline_unix_ms=clock.unix_ms() + int(CLAIM_S * 1000))
    refused = ClaimFailedError("no_worker", "no upstream worker is free")
    for _ in range(_TRIES):
        left_s = CLAIM_S - (clock.monotonic() - began)
        if left_s <= 0:
            break
        try:
            answer = await bus.request(subjects.claim(process), request, timeout_s=left_s)
        except NoRespondersError as exc:
            raise ClaimFailedError("no_worker", "no upstream worker listens") from exc
        except (RequestTimeoutError, MalformedMessageError) as exc:
            raise ClaimFailedError("no_worker", "the upstream worker did not answer") from exc
        if isinstance(answer, ClaimGranted):
            metrics.SETUP_DURATION.labels("claim").observe(clock.monotonic() - began)
            return answer
        reason = answer.reason if isinstance(answer, ClaimRefused) else "internal"
        refused = ClaimFailedError(_REFUSALS.get(reason, "no_worker"), f"the upstream worker refused: {reason}")
        if reason not in {"full", "draining"}:  # the next draw may hit another worker of the queue group
            break
    raise refused


async def give_back(bus: Bus, call: CallId, owner: ClaimGranted, *, process: ProcessId) -> None:
    """Tell the worker of a call that no call came of the offer."""
    ended = Ended(reason=EndReason.INTERNAL, detail="the offer could not be answered")
    frame = Frame(Kind.ENDED, owner.epoch, 0, clock.unix_ms(), payload=ended.encode())
    await bus.send(subjects.up(owner.worker, process, call), frames.encode(frame))
