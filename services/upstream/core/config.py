"""The session as the client sees it, and as the provider is driven: our gate decides the turns, our wire is PCM."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from services.contracts.audio import DOWN_HZ
from services.contracts.grant import Grant
from services.contracts.ids import SessionId
from services.upstream.core.shape import Json, fields, text

_PCM: Json = {"type": "audio/pcm", "rate": DOWN_HZ}
_SERVER_VAD: Json = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "create_response": True,
    "interrupt_response": True,
}
_SERVER_FIELDS = ("id", "object", "expires_at", "client_secret", "type", "model")
_MERGED = frozenset({"audio", "audio.input", "audio.output"})
_NULLABLE = frozenset(
    {"tracing", "prompt", "audio.input.turn_detection", "audio.input.noise_reduction", "audio.input.transcription"}
)
_BETA_FIELDS = frozenset(
    {
        "modalities",
        "voice",
        "speed",
        "input_audio_format",
        "output_audio_format",
        "input_audio_transcription",
        "input_audio_noise_reduction",
        "turn_detection",
        "max_response_output_tokens",
    }
)
"""Old flat names of fields that are elsewhere today. They are dropped everywhere: a provider that still knows them
would let a client past a lock, or past our own turn detection and formats."""
_DROPPED = _BETA_FIELDS | frozenset(_SERVER_FIELDS)


class InvalidSessionError(ValueError):
    """A field has a value that it cannot have; ``param`` is its path."""

    def __init__(self, param: str, problem: str) -> None:
        super().__init__(f"{param}: {problem}")
        self.param = param


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", hide_input_in_errors=True)


class _Format(_Part):
    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
    rate: Literal[24000] | None = None


class _TurnDetection(_Part):
    type: Literal["server_vad", "semantic_vad"]
    create_response: bool | None = None
    interrupt_response: bool | None = None


class _Transcription(_Part):
    model: str | None = Field(default=None, max_length=128)
    language: str | None = Field(default=None, max_length=35)


class _Input(_Part):
    format: _Format | None = None
    turn_detection: _TurnDetection | None = None
    transcription: _Transcription | None = None
    noise_reduction: dict[str, JsonValue] | None = None


class _Output(_Part):
    format: _Format | None = None
    voice: str | dict[str, JsonValue] | None = None
    speed: float | None = Field(default=None, ge=0.25, le=1.5)


class _Audio(_Part):
    input: _Input | None = None
    output: _Output | None = None


class _Update(_Part):
    """What `session.update` may hold, as far as we know it. What we don't know the provider judges."""

    type: Literal["realtime"] | None = None
    instructions: str | None = None
    output_modalities: Annotated[list[Literal["audio", "text"]], Field(min_length=1, max_length=1)] | None = None
    audio: _Audio | None = None
    tools: Annotated[list[dict[str, JsonValue]], Field(max_length=128)] | None = None
    tool_choice: str | dict[str, JsonValue] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=4096)] | Literal["inf"] | None = None
    truncation: str | dict[str, JsonValue] | None = None
    tracing: Literal["auto"] | dict[str, JsonValue] | None = None
    prompt: dict[str, JsonValue] | None = None
    include: list[str] | None = None


class SessionConfigState:
    """One session's settings."""

    def __init__(self, *, session_id: SessionId, grant: Grant, model: str, expires_at: int) -> None:
        self._grant = grant
        self.voice_is_fixed = False
        self.conversation_id = session_id.replace("sess_", "conv_", 1)
        self._defaults: Json = {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "expires_at": expires_at,
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "truncation": "auto",
            "tracing": None,
            "audio": {
                "input": {
                    "format": dict(_PCM),
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": dict(_SERVER_VAD),
                },
                "output": {"format": dict(_PCM), "speed": 1.0},
            },
        }
        self._wished = _merged({}, {n: v for n, v in grant.session.items() if n not in _DROPPED})
        self._effective = _merged(self._defaults, self._wished)

    @property
    def effective(self) -> Json:
        """What the client is shown: its own wishes, and what is locked."""
        return self._effective

    @property
    def turn_detection(self) -> Json | None:
        """How the client wants turns to be taken; None: it commits by itself."""
        wish = fields(fields(self._effective, "audio"), "input").get("turn_detection")
        return wish if isinstance(wish, dict) else None

    @property
    def transcription_model(self) -> str:
        """The model that transcribes the caller, which has prices of its own; empty: none was named."""
        return text(fields(fields(fields(self._effective, "audio"), "input"), "transcription"), "model")

    @property
    def transcribes(self) -> bool:
        """Utterances are transcribed."""
        return bool(fields(fields(fields(self._effective, "audio"), "input"), "transcription"))

    @property
    def input_is_pcm(self) -> bool:
        """Whether the client's own `input_audio_buffer.append` holds PCM of 24 kHz."""
        return fields(fields(fields(self._effective, "audio"), "input"), "format").get("type") == "audio/pcm"

    def update(self, wanted: Json) -> Json:
        """Take over what the client may change; returns what the provider must be told, maybe nothing.

        Raises:
            InvalidSessionError: a known field has a wrong value; nothing was taken over.
        """
        _check(wanted)
        allowed = {n: v for n, v in wanted.items() if n not in _DROPPED and not self._grant.is_locked(n)}
        if self.voice_is_fixed:
            allowed = _without(allowed, ("audio", "output", "voice"))
        changed = _merged({}, allowed)
        self._wished = _merged(self._wished, changed)
        self._effective = _merged(self._defaults, self._wished)
        return _for_provider(changed)

    def for_provider(self) -> Json:
        """The session for a provider that has just been connected: what was asked for, and how we drive it."""
        driven = _for_provider(self._wished)
        audio = fields(driven, "audio")
        wire: Json = {"format": dict(_PCM)}
        driven["audio"] = {
            **audio,
            "input": {**fields(audio, "input"), **wire, "turn_detection": None},
            "output": {**fields(audio, "output"), **wire},
        }
        return {"type": "realtime", **driven}

    def for_response(self, wanted: Json) -> Json:
        """The parameters of a `response.create` without what is locked; format and turn detection stay ours."""
        kept = {n: v for n, v in wanted.items() if n not in _BETA_FIELDS and not self._grant.is_locked(n)}
        return _without(_without(kept, ("audio", "output", "format")), ("audio", "input"))


def _check(wanted: Json) -> None:
    if wanted.get("type") == "transcription":
        raise InvalidSessionError("session.type", "transcription sessions are not served here; use realtime")
    try:
        _Update.model_validate(wanted)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        path = ".".join(str(step) for step in first["loc"][:4])
        raise InvalidSessionError(f"session.{path}", first["msg"]) from None


def _for_provider(session: Json) -> Json:
    """Without what only the client is to believe: formats and turn detection are ours."""
    driven = _without(_without(session, ("audio", "input", "turn_detection")), ("audio", "input", "format"))
    driven = _without(driven, ("audio", "output", "format"))
    return {name: value for name, value in driven.items() if value != {} and name != "type"}


def _merged(base: Mapping[str, JsonValue], over: Mapping[str, JsonValue], *, path: str = "") -> Json:
    """``over`` upon ``base``: audio, its input and its output field by field, everything else as a whole."""
    result = dict(base)
    for name, value in over.items():
        here = f"{path}{name}"
        if here in _MERGED and isinstance(value, dict):
            result[name] = _merged(fields(result, name), value, path=f"{here}.")
        elif value is not None or here in _NULLABLE:
            result[name] = value
    return result


def _without(source: Mapping[str, JsonValue], path: tuple[str, ...]) -> Json:
    """A copy of ``source`` without the value at ``path`` and without objects that this leaves empty."""
    name, *rest = path
    result = dict(source)
    inner = result.get(name)
    if not rest:
        result.pop(name, None)
    elif isinstance(inner, dict):
        result[name] = _without(inner, tuple(rest))
        if not result[name]:
            del result[name]
    return result
