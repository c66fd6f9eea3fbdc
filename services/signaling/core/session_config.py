"""What a client may ask a session to be: checked where we know the field, passed on where we do not.

Fields that this gateway does not know are kept: providers add them faster than gateways learn them, and the provider
judges them. Only the size of the whole is bounded. ``null`` switches a few fields off and is kept there; elsewhere it
means "not set".
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import from_json, to_json

from services.contracts.grant import SessionConfig

MAX_SESSION_BYTES = 96 * 1024
"""The effective session goes back over a data channel, whose messages browsers take up to 256 KiB."""

_WRAPPINGS = 8
"""A session travels inside a grant inside an offer, and readers of JSON count levels."""

_SERVER_FIELDS = frozenset({"id", "object", "expires_at", "client_secret"})
_MERGED = frozenset({"audio", "audio.input", "audio.output"})
_NULLABLE = frozenset(
    {
        "tracing",
        "prompt",
        "audio.input.turn_detection",
        "audio.input.noise_reduction",
        "audio.input.transcription",
    }
)


class InvalidSessionError(ValueError):
    """A field has no value that the Realtime API knows; ``param`` is its path."""

    def __init__(self, param: str, problem: str) -> None:
        super().__init__(f"{param}: {problem}")
        self.param = param


class LockedFieldError(ValueError):
    """A client sets a field otherwise than its token says."""

    def __init__(self, field: str) -> None:
        super().__init__(f"session.{field} is locked by the token and cannot be changed")
        self.param = f"session.{field}"


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", hide_input_in_errors=True)


class _Pcm(_Part):
    type: Literal["audio/pcm"]
    rate: Literal[24000] | None = None


class _G711(_Part):
    type: Literal["audio/pcmu", "audio/pcma"]


_Format = Annotated[_Pcm | _G711, Field(discriminator="type")]


class _ServerVad(_Part):
    type: Literal["server_vad"]
    threshold: float | None = Field(default=None, ge=0, le=1)
    prefix_padding_ms: int | None = Field(default=None, ge=0, le=10_000)
    silence_duration_ms: int | None = Field(default=None, ge=0, le=60_000)
    idle_timeout_ms: int | None = Field(default=None, ge=0, le=600_000)
    create_response: bool | None = None
    interrupt_response: bool | None = None


class _SemanticVad(_Part):
    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class _Transcription(_Part):
    model: str | None = Field(default=None, min_length=1, max_length=128)
    language: str | None = Field(default=None, max_length=35)
    prompt: str | None = None


class _NoiseReduction(_Part):
    type: Literal["near_field", "far_field"] | None = None


class _Input(_Part):
    format: _Format | None = None
    transcription: _Transcription | None = None
    noise_reduction: _NoiseReduction | None = None
    turn_detection: Annotated[_ServerVad | _SemanticVad, Field(discriminator="type")] | None = None


class _Output(_Part):
    format: _Format | None = None
    voice: str | dict[str, JsonValue] | None = None
    speed: float | None = Field(default=None, ge=0.25, le=1.5)


class _Audio(_Part):
    input: _Input | None = None
    output: _Output | None = None


class _Tool(_Part):
    type: str = Field(min_length=1, max_length=64)
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,128}$")


class _Truncation(_Part):
    type: Literal["retention_ratio"]
    retention_ratio: float = Field(ge=0, le=1)


class Session(_Part):
    """The GA session of the Realtime API, as far as a client may set it."""

    type: Literal["realtime"] = "realtime"
    model: str | None = Field(default=None, pattern=r"^[!-~]{1,128}$")
    instructions: str | None = None
    output_modalities: Annotated[list[Literal["audio", "text"]], Field(min_length=1, max_length=1)] | None = None
    audio: _Audio | None = None
    tools: Annotated[list[_Tool], Field(max_length=128)] | None = None
    tool_choice: str | dict[str, JsonValue] | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=4096)] | Literal["inf"] | None = None
    truncation: Literal["auto", "disabled"] | _Truncation | None = None
    include: list[str] | None = None
    tracing: Literal["auto"] | dict[str, JsonValue] | None = None
    prompt: dict[str, JsonValue] | None = None
    reasoning: dict[str, JsonValue] | None = None


LOCKABLE = frozenset(Session.model_fields) - {"type"}
"""Fields that a grant can lock by name."""


def checked(session: Mapping[str, JsonValue]) -> SessionConfig:
    """The session without what only a server sets.

    Raises:
        InvalidSessionError: a known field has a wrong value.
    """
    if session.get("type") == "transcription":
        raise InvalidSessionError("session.type", "transcription sessions are not served here; use realtime")
    if "hushgate" in session:
        raise InvalidSessionError("session.hushgate", "limits and locks belong beside the session, not inside it")
    try:
        Session.model_validate(session)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        raise InvalidSessionError(_path(session, first["loc"]), first["msg"]) from None
    return {name: value for name, value in session.items() if name not in _SERVER_FIELDS}


def _path(session: Mapping[str, JsonValue], steps: tuple[int | str, ...]) -> str:
    """The steps of an error that are in the session itself: unions put names of their own in between."""
    path = "session"
    here: object = session
    for step in steps:
        # A list is looked at as the mapping that it is to a path.
        inside = dict(enumerate(here)) if isinstance(here, list) else here
        if isinstance(inside, Mapping) and step in inside:
            here = inside[step]
            path += f".{step}"
    return path


def bounded(session: SessionConfig) -> SessionConfig:
    """The session, if it is not too large.

    Raises:
        InvalidSessionError: it has more than `MAX_SESSION_BYTES` as JSON, or could not be read inside a message.
    """
    text = to_json(session)
    if len(text) > MAX_SESSION_BYTES:
        raise InvalidSessionError("session", f"larger than {MAX_SESSION_BYTES} bytes")
    try:
        from_json(b"[" * _WRAPPINGS + text + b"]" * _WRAPPINGS)
    except ValueError:
        raise InvalidSessionError("session", "nested too deeply") from None
    return session


def merged(base: Mapping[str, JsonValue], over: Mapping[str, JsonValue], *, path: str = "") -> SessionConfig:
    """``over`` upon ``base``: audio, its input and its output field by field, everything else as a whole."""
    result = dict(base)
    for name, value in over.items():
        here = f"{path}{name}"
        below = result.get(name)
        if here in _MERGED and isinstance(value, dict):
            result[name] = merged(below if isinstance(below, dict) else {}, value, path=f"{here}.")
        elif value is not None or here in _NULLABLE:
            result[name] = value
    return result


def narrowed(effective: SessionConfig, wanted: SessionConfig, *, locked: frozenset[str]) -> SessionConfig:
    """What the holder of a token makes of its session.

    Raises:
        LockedFieldError: it would change a field in ``locked``.
    """
    result = merged(effective, wanted)
    for field in sorted(locked):
        if result.get(field) != effective.get(field):
            raise LockedFieldError(field)
    return result
