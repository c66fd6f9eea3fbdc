"""The session object: its fields, defaults and how an update is merged into it."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from services.rehearsal.core.commands import Json
from services.rehearsal.core.refusal import RefusedError, of_validation

_MERGED = frozenset({"audio", "input", "output"})


class Strict(BaseModel):
    """Base of what clients send: unknown fields are refused, as the provider does."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ServerVad(Strict):
    """Turns found by energy. ``idle_timeout_ms`` is not rehearsed, so only null is accepted."""

    type: Literal["server_vad"]
    threshold: float = Field(default=0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(default=300, ge=0, le=5000)
    silence_duration_ms: int = Field(default=500, ge=20, le=10_000)
    idle_timeout_ms: None = None
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(Strict):
    """Rehearsed by energy too: eagerness only chooses the silence."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection = Annotated[ServerVad | SemanticVad, Field(discriminator="type")]


class AudioFormat(Strict):
    """24 kHz PCM; G.711 is not rehearsed."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24000] = 24000


class Transcription(BaseModel):
    """Which model writes down what the caller said; decides how that is counted."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    model: str = "gpt-4o-mini-transcribe"
    language: str | None = None
    prompt: str | None = None


class AudioInput(Strict):
    """The caller's side."""

    format: AudioFormat = AudioFormat()
    transcription: Transcription | None = None
    noise_reduction: dict[str, JsonValue] | None = None
    turn_detection: TurnDetection | None = ServerVad(type="server_vad")


class AudioOutput(Strict):
    """The model's side. Every voice name sounds the same here."""

    format: AudioFormat = AudioFormat()
    voice: str | dict[str, str] = "marin"
    speed: float = Field(default=1.0, ge=0.25, le=1.5)


class Audio(Strict):
    """Both sides."""

    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


class Tool(BaseModel):
    """A function that the model may call; other types are kept and never called."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    type: Literal["function", "mcp"] = "function"
    name: str = ""
    description: str = ""
    parameters: Json = Field(default_factory=dict)


class NamedChoice(BaseModel):
    """A function that must be called."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    type: Literal["function", "mcp"]
    name: str | None = None


ToolChoice = Literal["auto", "none", "required"] | NamedChoice
MaxTokens = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]
Modalities = list[Literal["audio", "text"]]


def one_modality(value: Modalities) -> Modalities:
    """Audio or text, never both.

    Raises:
        ValueError: another combination.
    """
    if len(value) != 1:
        raise ValueError("supported combinations are ['text'] and ['audio']")
    return value


class SessionConfig(Strict):
    """What a client may set, with the provider's defaults."""

    type: Literal["realtime"]
    model: str | None = None
    instructions: str = ""
    output_modalities: Modalities = ["audio"]
    audio: Audio = Audio()
    tools: list[Tool] = []
    tool_choice: ToolChoice = "auto"
    max_output_tokens: MaxTokens = "inf"
    truncation: Literal["auto", "disabled"] | dict[str, JsonValue] = "auto"
    include: list[str] | None = None
    tracing: Literal["auto"] | dict[str, JsonValue] | None = None
    prompt: dict[str, JsonValue] | None = None
    parallel_tool_calls: bool | None = None
    reasoning: dict[str, JsonValue] | None = None

    _one_modality = field_validator("output_modalities")(one_modality)

    @property
    def turn_detection(self) -> ServerVad | SemanticVad | None:
        """How turns are found; None: the client commits."""
        return self.audio.input.turn_detection

    def updated(self, update: "SessionConfig", *, has_spoken: bool) -> "SessionConfig":
        """This session with the fields that ``update`` sets; the model stays the connection's.

        Raises:
            RefusedError: the voice would change after it was heard.
        """
        merged = _merge(self.model_dump(), update.model_dump(exclude_unset=True))
        config = SessionConfig.model_validate({**merged, "model": self.model})
        if has_spoken and config.audio.output.voice != self.audio.output.voice:
            raise RefusedError(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
                "session.audio.output.voice",
            )
        return config


def _merge(old: Json, new: Json) -> Json:
    """Only `audio`, `audio.input` and `audio.output` are merged; everything below them is one value."""
    merged = dict(old)
    for key, value in new.items():
        before = old.get(key)
        if key in _MERGED and isinstance(before, dict) and isinstance(value, dict):
            merged[key] = _merge(before, value)
        else:
            merged[key] = value
    return merged


S = TypeVar("S", bound=Strict)


def checked(kind: type[S], raw: object) -> S:
    """Validate what a client sent.

    Raises:
        RefusedError: with the provider's code for the first problem.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as exc:
        raise of_validation(exc) from None
