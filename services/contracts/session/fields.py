"""The fields of a Realtime session (GA): their types, bounds, defaults, and which of them `null` disables.

A session is JSON (`SessionConfig`); the models here only validate it. Unknown fields are passed on: providers add
fields faster than gateways are updated, and the provider validates them.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

SessionConfig = dict[str, JsonValue]
"""A session object in the provider's GA form: model, instructions, audio, tools, …"""

MAX_TOOLS = 128

SERVER_FIELDS = frozenset({"id", "object", "expires_at", "client_secret"})
"""Fields that only a server sets."""

BETA_FIELDS = frozenset(
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
"""Flat names of the beta API for fields that are nested in GA. They are dropped: a provider that still accepts them
would let a client bypass a lock, or the gateway's own turn detection and formats."""

NULLABLE = frozenset(
    {"tracing", "prompt", "audio.input.turn_detection", "audio.input.noise_reduction", "audio.input.transcription"}
)
"""Paths where `null` disables something; elsewhere it means "not set"."""

Threshold = Annotated[float, Field(ge=0, le=1)]
PrefixPaddingMs = Annotated[int, Field(ge=0, le=10_000)]
SilenceDurationMs = Annotated[int, Field(ge=0, le=60_000)]
IdleTimeoutMs = Annotated[int, Field(ge=0, le=600_000)]
Eagerness = Literal["low", "medium", "high", "auto"]
Speed = Annotated[float, Field(ge=0.25, le=1.5)]
Voice = str | dict[str, JsonValue]
Modalities = Annotated[list[Literal["audio", "text"]], Field(min_length=1, max_length=1)]
MaxOutputTokens = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
Tracing = Literal["auto"] | dict[str, JsonValue]


class SessionPart(BaseModel):
    """Base of all parts of a session: strict types, unknown fields kept, no input in error messages."""

    model_config = ConfigDict(strict=True, extra="allow", hide_input_in_errors=True)


class PcmFormatFields(SessionPart):
    """16-bit PCM."""

    type: Literal["audio/pcm"]
    rate: Literal[24000] | None = None


class G711FormatFields(SessionPart):
    """G.711, µ-law or A-law."""

    type: Literal["audio/pcmu", "audio/pcma"]


AudioFormatFields = Annotated[PcmFormatFields | G711FormatFields, Field(discriminator="type")]


class ServerVadFields(SessionPart):
    """Turn detection by voice activity."""

    type: Literal["server_vad"]
    threshold: Threshold | None = None
    prefix_padding_ms: PrefixPaddingMs | None = None
    silence_duration_ms: SilenceDurationMs | None = None
    idle_timeout_ms: IdleTimeoutMs | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class SemanticVadFields(SessionPart):
    """Turn detection by the meaning of the speech."""

    type: Literal["semantic_vad"]
    eagerness: Eagerness | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


TurnDetectionFields = Annotated[ServerVadFields | SemanticVadFields, Field(discriminator="type")]


class TranscriptionFields(SessionPart):
    """Transcription of the caller's speech."""

    model: str | None = Field(default=None, min_length=1, max_length=128)
    language: str | None = Field(default=None, max_length=35)
    prompt: str | None = None


class NoiseReductionFields(SessionPart):
    """Noise reduction by the type of microphone."""

    type: Literal["near_field", "far_field"] | None = None


class AudioInputFields(SessionPart):
    """The caller's audio."""

    format: AudioFormatFields | None = None
    transcription: TranscriptionFields | None = None
    noise_reduction: NoiseReductionFields | None = None
    turn_detection: TurnDetectionFields | None = None


class AudioOutputFields(SessionPart):
    """The model's audio."""

    format: AudioFormatFields | None = None
    voice: Voice | None = None
    speed: Speed | None = None


class AudioFields(SessionPart):
    """Audio of both directions."""

    input: AudioInputFields | None = None
    output: AudioOutputFields | None = None


class ToolFields(SessionPart):
    """A tool that the model may use; further fields depend on its type."""

    type: str = Field(min_length=1, max_length=64)
    name: ToolName | None = None


class RetentionRatioFields(SessionPart):
    """How much of a conversation is kept when it is truncated."""

    type: Literal["retention_ratio"]
    retention_ratio: float = Field(ge=0, le=1)


class SessionFields(SessionPart):
    """A session, or an update of one: the fields that a client may set."""

    type: Literal["realtime"] | None = "realtime"
    model: str | None = Field(default=None, pattern=r"^[!-~]{1,128}$")
    instructions: str | None = None
    output_modalities: Modalities | None = None
    audio: AudioFields | None = None
    tools: Annotated[list[ToolFields], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, JsonValue] | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: MaxOutputTokens | None = None
    truncation: Literal["auto", "disabled"] | RetentionRatioFields | None = None
    include: list[str] | None = None
    tracing: Tracing | None = None
    prompt: dict[str, JsonValue] | None = None
    reasoning: dict[str, JsonValue] | None = None


def pcm_format() -> SessionConfig:
    """Return the only format that the gateway supports."""
    return {"type": "audio/pcm", "rate": 24000}


def default_session() -> SessionConfig:
    """Return the provider's defaults of the fields that a client may set, except model and voice."""
    return {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "audio": {
            "input": {
                "format": pcm_format(),
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                    "create_response": True,
                    "interrupt_response": True,
                },
            },
            "output": {"format": pcm_format(), "speed": 1.0},
        },
    }
