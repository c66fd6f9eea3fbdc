"""The control messages and how they are read. Their base is in `message`, the history of calls in `call_history`."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.contracts.call_history import CallEnded, CallPlaced, CallStarted, Watermark
from services.contracts.connect import AnswersLeg, ConnectsLeg
from services.contracts.endings import EndReason
from services.contracts.grant import Grant
from services.contracts.ids import SERVED, CallId, Epoch, KeyId, LegId, ProcessId, SessionId, TenantId, WorkerId
from services.contracts.message import Message, UnixMs
from services.contracts.turn_detection import DetectsTurns, TurnTerms


class MalformedMessageError(ValueError):
    """Bytes that are not a control message, or not the expected one. Never quotes its input: it may contain secrets."""


# --- placement -------------------------------------------------------------------------------------------------


class TenantCalls(BaseModel):
    """The live calls of one tenant in one media process."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    tenant: TenantId
    connected: tuple[CallId, ...] = ()
    half_open: tuple[CallId, ...] = ()
    """Answered, but the client has not connected yet."""


class Heartbeat(Message):
    """A media process reports that it is alive, its load in legs, and its calls: once a second, and when they change.

    ``newest``: the number of its newest call. Numbers grow, also over a restart of the process. ``turns``: what it lets
    a session set of turn detection; a process of an earlier release does not say it.
    """

    type: Literal["media.heartbeat"] = "media.heartbeat"
    process: ProcessId
    zone: str = ""
    version: str
    draining: bool
    active: int = Field(ge=0)
    reserved: int = Field(ge=0)
    capacity: int = Field(ge=1)
    loop_lag_ms: float = Field(ge=0)
    http_url: str
    newest: int = Field(default=0, ge=0)
    calls: tuple[TenantCalls, ...] = ()
    turns: TurnTerms | None = None


class Offer(ConnectsLeg, Message):
    """Requests a media process to answer a leg. Idempotent on (call, leg, attempt)."""

    type: Literal["offer"] = "offer"
    call: CallId
    leg: LegId
    attempt: int = Field(ge=1)
    grant: Grant


class OfferAnswered(AnswersLeg, Message):
    """How the leg connects; it waits for its peer. ``number``: of its call, see `Heartbeat`; 0 for an ICE restart."""

    type: Literal["offer.answered"] = "offer.answered"
    number: int = Field(default=0, ge=0)


OfferRefusal = Literal["full", "draining", "bad_offer", "no_worker", "internal"]
RestartRefusal = Literal["bad_offer", "too_many", "internal"]


class OfferRefused(Message):
    """The process refuses to answer or restart the leg. All reasons but `bad_offer` may be retried."""

    type: Literal["offer.refused"] = "offer.refused"
    reason: OfferRefusal | RestartRefusal
    detail: str = ""


# --- revocation ------------------------------------------------------------------------------------------------

MAX_KEYS = 1000
"""Keys in one message: a tenth of a message's maximum size."""


class TenantKey(BaseModel):
    """A tenant and the key that some of its live calls were made with; hashable."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    tenant: TenantId
    key: KeyId


TenantKeys = Annotated[tuple[TenantKey, ...], Field(max_length=MAX_KEYS)]


class KeyCheck(Message):
    """A media process asks all signaling processes whether keys of its live calls are in the tenants file."""

    type: Literal["key.check"] = "key.check"
    keys: TenantKeys


class KeysChecked(Message):
    """One signaling process answers by its copy of the tenants file."""

    type: Literal["keys.checked"] = "keys.checked"
    known: TenantKeys = ()
    gone: TenantKeys = ()


# --- ownership -------------------------------------------------------------------------------------------------


class Claim(Message):
    """Requests a worker from the upstream queue group. ``turns``: what media lets a session set of turn detection."""

    type: Literal["claim"] = "claim"
    call: CallId
    process: ProcessId
    grant: Grant
    deadline_unix_ms: UnixMs
    turns: TurnTerms = TurnTerms()


class ClaimGranted(Message):
    """The worker holds the lease. It sends nothing down before it has received the first frame from media."""

    type: Literal["claim.granted"] = "claim.granted"
    worker: WorkerId
    epoch: Epoch
    session: SessionId
    provider: str
    model: str


ClaimRefusal = Literal["full", "draining", "lease_taken", "too_late", "internal"]


class ClaimRefused(Message):
    """The worker refuses the call."""

    type: Literal["claim.refused"] = "claim.refused"
    reason: ClaimRefusal
    detail: str = ""


class Hangup(Message):
    """Signaling requests media to hang up a leg; the call ends with its last one."""

    type: Literal["hangup"] = "hangup"
    call: CallId
    leg: LegId = SERVED
    reason: EndReason = EndReason.HANGUP


class Restart(ConnectsLeg, Message):
    """Signaling requests media to answer a new offer of a leg whose network path has changed (ICE restart).

    Answered like an `Offer`, with `OfferAnswered` or `OfferRefused`.
    """

    type: Literal["restart"] = "restart"
    call: CallId
    leg: LegId = SERVED


class Done(Message):
    """The request was carried out."""

    type: Literal["done"] = "done"


# --- in band (payloads of frames) ------------------------------------------------------------------------------

OpenCause = Literal["speech"]
CloseReason = Literal[
    "speech_end", "no_packets", "max_utterance", "hangup", "client_commit", "client_clear", "turn_detection"
]
"""Why an utterance ended. After the last three (by the client, or a change to push to talk) only the client commits."""


class UtteranceStart(Message):
    """The gate opened. ``onset_index``: the first frame of speech, after the pre-roll. Frames follow."""

    type: Literal["utterance.start"] = "utterance.start"
    cause: OpenCause
    onset_index: int = Field(ge=0)


class UtteranceEnd(Message):
    """The gate closed. ``speech_end_index``: the frame after the last speech, before the tail.

    ``hangover_ms``: silence since then that the gate waited out.
    """

    type: Literal["utterance.end"] = "utterance.end"
    reason: CloseReason
    speech_end_index: int = Field(ge=0)
    hangover_ms: int = Field(default=0, ge=0)


class EagerEnd(Message):
    """The turn has probably ended: silence has lasted for ``silence_ms`` since ``speech_end_index``.

    An `UtteranceEnd` confirms it, a frame TURN_RESUMED or audio revokes it; both may be lost, as may this.
    """

    type: Literal["eager.end"] = "eager.end"
    speech_end_index: int = Field(ge=0)
    silence_ms: int = Field(ge=0)


class PlayoutReport(Message):
    """How far the item in the header was played; the header's position is the number of samples sent to the client.

    ``cut``: playout was stopped there and the rest is discarded. ``received``: the number of the last SERVER_EVENT that
    the client could get before the cut, 0 for none; a media process of an earlier release does not say it (-1).
    """

    type: Literal["playout.report"] = "playout.report"
    heard_ms: int = Field(ge=0)
    cut: bool = False
    cause: Literal["barge_in", "client_clear", "worker_clear"] | None = None
    received: int = Field(default=-1, ge=-1)


class TurnDetection(DetectsTurns, Message):
    """The turn detection in force, from the next frame on; the header's position counts the changes of the call."""

    type: Literal["turn_detection"] = "turn_detection"


class Ended(Message):
    """The sender has ended the call; the receiver ends it too. Sent once, without a reply."""

    type: Literal["ended"] = "ended"
    reason: EndReason
    detail: str = ""


AnyMessage = Annotated[
    Heartbeat
    | Offer
    | OfferAnswered
    | OfferRefused
    | KeyCheck
    | KeysChecked
    | Claim
    | ClaimGranted
    | ClaimRefused
    | Hangup
    | Restart
    | Done
    | UtteranceStart
    | UtteranceEnd
    | EagerEnd
    | PlayoutReport
    | TurnDetection
    | Ended
    | CallPlaced
    | CallStarted
    | CallEnded
    | Watermark,
    Field(discriminator="type"),
]

_ADAPTER: TypeAdapter[AnyMessage] = TypeAdapter(AnyMessage)

M = TypeVar("M", bound=Message)


def decode(data: bytes) -> AnyMessage:
    """Read any control message.

    Raises:
        MalformedMessageError: not JSON, no known `type`, or a field is wrong.
    """
    try:
        return _ADAPTER.validate_json(data)
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors(include_input=False))
        raise MalformedMessageError(problems) from None


def expect(kind: type[M], data: bytes) -> M:
    """Read a control message that must be a ``kind``.

    Raises:
        MalformedMessageError: it is malformed or another message.
    """
    message = decode(data)
    if not isinstance(message, kind):
        raise MalformedMessageError(f"{message.type} where {kind.__name__} belongs")
    return message
