"""Turn detection: what a session may ask for within the operator's bounds, and what follows from it.

Media and upstream derive it from the same session with the same terms, so that a call's first frames need no message.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.contracts.audio import FRAME_MS

DEFAULT_THRESHOLD = 0.5
MAX_AHEAD_MS = 1000
"""Longest before the end of a turn that its answer is requested: more gains little, and more turns resume."""
_PATH = "session.audio.input.turn_detection"


class TurnTerms(BaseModel):
    """An operator's defaults and bounds of turn detection, from the settings of media, in ms."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    silence_duration_ms: int = Field(default=500, ge=1)
    min_silence_duration_ms: int = Field(default=100, ge=1)
    max_silence_duration_ms: int = Field(default=10_000, ge=1)
    prefix_padding_ms: int = Field(default=200, ge=0)
    max_prefix_padding_ms: int = Field(default=2_000, ge=0)
    eager_ms: int = Field(default=0, ge=0)
    """Silence after which the answer to a turn that has probably ended is requested; 0: not before its end."""


class DetectsTurns(BaseModel):
    """The turn detection of a call as the gate carries it out; times are multiples of a frame."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    automatic: bool = True
    """False: push to talk. All of the caller's audio is sent, and only the client commits, clears and cancels."""
    threshold: float = Field(default=DEFAULT_THRESHOLD, ge=0, le=1)
    prefix_padding_ms: int = Field(default=200, ge=0)
    silence_duration_ms: int = Field(default=500, ge=FRAME_MS)
    interrupt_response: bool = True
    """Whether speech stops the answer that plays."""
    eager_ms: int = Field(default=0, ge=0)
    """Silence after which the answer is requested, and not played or shown before the turn's end; 0: not before it."""


@dataclass(frozen=True, slots=True)
class OutOfBounds:
    """A field of turn detection whose value this operator does not allow. ``problem``: what is allowed."""

    name: str
    problem: str

    @property
    def param(self) -> str:
        """The path of the field in an update."""
        return f"{_PATH}.{self.name}"


def strictest(terms: Sequence[TurnTerms]) -> TurnTerms | None:
    """Return bounds within which a value is allowed by all ``terms``, and the defaults of the first; None: no terms."""
    if not terms:
        return None
    bounds = {
        "min_silence_duration_ms": max(each.min_silence_duration_ms for each in terms),
        "max_silence_duration_ms": min(each.max_silence_duration_ms for each in terms),
        "max_prefix_padding_ms": min(each.max_prefix_padding_ms for each in terms),
    }
    return terms[0].model_copy(update=bounds)


def out_of_bounds(requested: JsonValue, terms: TurnTerms) -> Iterator[OutOfBounds]:
    """Yield the fields of a requested turn detection, valid by the grammar, that the operator does not allow."""
    bounds = {
        "silence_duration_ms": (terms.min_silence_duration_ms, terms.max_silence_duration_ms),
        "prefix_padding_ms": (0, terms.max_prefix_padding_ms),
    }
    for name, (low, high) in bounds.items():
        value = requested.get(name) if isinstance(requested, dict) else None
        if isinstance(value, int) and not low <= value <= high:
            yield OutOfBounds(name, f"this gateway allows {low} to {high} ms, not {value}")


def turn_detection_in_force(requested: JsonValue, terms: TurnTerms) -> dict[str, JsonValue] | None:
    """Return the whole turn detection of a session that asks for ``requested``, within bounds; None: push to talk.

    It has every field of its type. Times are rounded up to whole frames of 20 ms.
    """
    if not isinstance(requested, dict):
        return None
    given = {name: value for name, value in requested.items() if value is not None}
    answers: dict[str, JsonValue] = {"create_response": True, "interrupt_response": True}
    if given.get("type") == "semantic_vad":
        return {"eagerness": "auto", **answers, **given}
    silence = _milliseconds(given, "silence_duration_ms", terms.silence_duration_ms)
    padding = _milliseconds(given, "prefix_padding_ms", terms.prefix_padding_ms)
    idle = _milliseconds(given, "idle_timeout_ms", 0) or None
    times: dict[str, JsonValue] = {
        "prefix_padding_ms": padding,
        "silence_duration_ms": silence,
        "idle_timeout_ms": idle,
    }
    return {"type": "server_vad", "threshold": DEFAULT_THRESHOLD, **answers, **given, **times}


def turn_detection_of(in_force: Mapping[str, JsonValue] | None, terms: TurnTerms) -> DetectsTurns:
    """Return what the gate carries out where ``in_force`` is the session's turn detection."""
    if in_force is None:
        return DetectsTurns(automatic=False)
    interrupts = in_force.get("interrupt_response") is not False
    if in_force.get("type") == "semantic_vad":
        silence = hangover_of(str(in_force.get("eagerness")), terms)
        padding = round_up(terms.prefix_padding_ms)
        return DetectsTurns(
            prefix_padding_ms=padding,
            silence_duration_ms=silence,
            interrupt_response=interrupts,
            eager_ms=_eager(in_force, terms, silence),
        )
    threshold = in_force.get("threshold")
    silence = _milliseconds(in_force, "silence_duration_ms", terms.silence_duration_ms)
    return DetectsTurns(
        threshold=float(threshold) if isinstance(threshold, (int, float)) else DEFAULT_THRESHOLD,
        prefix_padding_ms=_milliseconds(in_force, "prefix_padding_ms", terms.prefix_padding_ms),
        silence_duration_ms=silence,
        interrupt_response=interrupts,
        eager_ms=_eager(in_force, terms, silence),
    )


def granted_turn_detection(session: Mapping[str, JsonValue], terms: TurnTerms) -> DetectsTurns | None:
    """Return what the gate carries out at the start of a call; None: the session sets nothing, its own defaults."""
    requested = requested_in(session)
    if requested == {}:
        return None
    return turn_detection_of(turn_detection_in_force(allowed(requested, terms), terms), terms)


def requested_in(session: Mapping[str, JsonValue]) -> JsonValue:
    """Return the turn detection that a session sets; an empty one, for which the defaults apply, if it sets none."""
    audio = session.get("audio")
    given = audio.get("input") if isinstance(audio, dict) else None
    return given.get("turn_detection", {}) if isinstance(given, dict) else {}


def allowed(requested: JsonValue, terms: TurnTerms) -> JsonValue:
    """Return the requested turn detection without the fields whose value the operator does not allow."""
    refused = {field.name for field in out_of_bounds(requested, terms)}
    if not isinstance(requested, dict):
        return requested
    return {name: value for name, value in requested.items() if name not in refused}


def hangover_of(eagerness: str, terms: TurnTerms) -> int:
    """Return the silence in ms that ends a turn with `semantic_vad`, within the operator's bounds.

    It is the operator's default for `medium` and `auto`, twice that for `low`, three fifths of it for `high`.
    """
    default = terms.silence_duration_ms
    if eagerness == "low":
        default = min(2 * default, terms.max_silence_duration_ms)
    elif eagerness == "high":
        default = max(default * 3 // 5, terms.min_silence_duration_ms)
    return round_up(default)


def eager_within(eager_ms: int, silence_ms: int) -> int:
    """Return after how many ms of silence an answer is requested where the turn ends after ``silence_ms``.

    At most `MAX_AHEAD_MS` before the end; 0, not ahead of it, if ``eager_ms`` is 0 or no shorter than the end.
    """
    eager = round_up(max(eager_ms, silence_ms - MAX_AHEAD_MS)) if eager_ms else 0
    return eager if eager < silence_ms else 0


def _eager(in_force: Mapping[str, JsonValue], terms: TurnTerms, silence_ms: int) -> int:
    """Return the eager silence: none where no answer is requested, or for a low eagerness; less for a high one."""
    eagerness = in_force.get("eagerness")
    if in_force.get("create_response") is False or eagerness == "low":
        return 0
    return eager_within(terms.eager_ms * 3 // 5 if eagerness == "high" else terms.eager_ms, silence_ms)


def round_up(ms: int) -> int:
    """Return ``ms`` rounded up to whole frames."""
    return -(-ms // FRAME_MS) * FRAME_MS


def _milliseconds(source: Mapping[str, JsonValue], name: str, default: int) -> int:
    value = source.get(name)
    return round_up(value if isinstance(value, int) else default)
