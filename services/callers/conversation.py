"""A scripted conversation: play each line, wait for the whole answer, measure. Used by `hushgate call`."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from services.callers.caller import Caller
from services.callers.errors import CallerError
from services.callers.events import ServerEvent
from services.callers.speech import Clip
from services.runtime import clock

_TRANSCRIPTION = "conversation.item.input_audio_transcription.completed"
_ANSWER = "response.output_audio_transcript.done"
_BILL_TIMEOUT_S = 8.0  # usage is written every 5 s and at the end


class ResponseFailedError(CallerError):
    """The provider's response failed."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(f"the answer {status}: {detail or 'no reason was given'}")
        self.status = status


@dataclass(frozen=True, slots=True)
class ScriptedLine:
    """A line to play: a name for the report, and the clip."""

    name: str
    clip: Clip


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer. ``latency_ms``: true end of speech to the first packet of the answer."""

    said: str
    heard: str
    """Transcript of the question, if the session transcribes."""
    answer: str
    speech_s: float
    latency_ms: float | None
    """None when the answer had no sound."""
    answer_s: float


@dataclass(frozen=True, slots=True)
class CallReport:
    """The results of a call."""

    url: str
    call_id: str
    token_ms: float
    answer_ms: float
    set_up_ms: float
    """From the start of the offer to the open data channel."""
    turns: tuple[Turn, ...]
    usage: dict[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """Convert to plain JSON values."""
        return asdict(self)


async def converse(
    url: str,
    key: str,
    lines: Sequence[ScriptedLine],
    *,
    session: dict[str, Any],
    answer_timeout_s: float,
    rewrite_answer: Callable[[str], str] = str,
) -> CallReport:
    """Make a call, play each line and wait for its answer, hang up, fetch the bill.

    ``rewrite_answer``: see `Caller.call`.

    Raises:
        CallerError: what went wrong, in one line.
    """
    async with Caller.call(url, key, session=session, rewrite_answer=rewrite_answer) as caller:
        await caller.next_event("session.created", timeout_s=answer_timeout_s)
        turns = [await take_turn(caller, line, timeout_s=answer_timeout_s) for line in lines]
        await caller.hang_up()
        return CallReport(
            url=url,
            call_id=caller.call_id,
            token_ms=_ms(caller.set_up.token_s),
            answer_ms=_ms(caller.set_up.answer_s),
            set_up_ms=_ms(caller.set_up.connected_s),
            turns=tuple(turns),
            usage=await caller.bill(timeout_s=_BILL_TIMEOUT_S),
        )


async def take_turn(caller: Caller, line: ScriptedLine, *, timeout_s: float) -> Turn:
    """Play one line and wait until its answer was played to the end.

    Raises:
        ResponseFailedError: the provider reports a failed response.
        WaitTimeoutError: no answer in time.
        CallEndedError: the call ended first.
    """
    caller.events.skip()
    begun_at = len(caller.events.all)
    spoken = await caller.speak(line.clip)
    response = await _completed_response(caller, timeout_s=timeout_s)
    sounds = []
    if _has_sound(response):
        await caller.next_event("output_audio_buffer.stopped", timeout_s=timeout_s)
        sounds = caller.audio_sink.packets_with_sound(since_s=spoken.ended_s)
    since = caller.events.all[begun_at:]
    return Turn(
        said=line.name,
        heard=" ".join(str(r.event.get("transcript", "")) for r in since if r.type == _TRANSCRIPTION).strip(),
        answer=" ".join(str(r.event.get("transcript", "")) for r in since if r.type == _ANSWER) or _calls(response),
        speech_s=line.clip.speech_s,
        latency_ms=_ms(sounds[0].at_s - spoken.ended_s) if sounds else None,
        answer_s=sounds[-1].at_s - sounds[0].at_s if sounds else 0.0,
    )


async def _completed_response(caller: Caller, *, timeout_s: float) -> ServerEvent:
    """Return the next response that was not cancelled: a pause within a clip makes two turns and cancels one."""
    deadline = clock.monotonic() + timeout_s
    while True:
        left = max(0.0, deadline - clock.monotonic())
        response: ServerEvent = (await caller.next_event("response.done", timeout_s=left)).event.get("response", {})
        status = response.get("status")
        if status in {"failed", "incomplete"}:
            details = response.get("status_details") or {}
            error = details.get("error") or {}
            raise ResponseFailedError(status, str(error.get("message") or details.get("reason") or ""))
        if status != "cancelled":
            return response


def _has_sound(response: ServerEvent) -> bool:
    parts = [part for item in response.get("output", ()) for part in item.get("content") or ()]
    return any(part.get("type") in {"output_audio", "audio"} for part in parts)


def _calls(response: ServerEvent) -> str:
    """The function calls of a response as text."""
    calls = [item for item in response.get("output", ()) if item.get("type") == "function_call"]
    return ", ".join(f"{item.get('name')}({item.get('arguments', '')})" for item in calls)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
