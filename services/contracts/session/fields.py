"""The fields of a Realtime session and of a response (GA): their types, bounds, defaults, and what `null` disables.

A session is JSON (`SessionConfig`); the models here only validate it. They name every field that is accepted: any other
is refused, because it would be shown back and have no effect. Who carries out each field: `registry`.
"""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from services.contracts.session.field_base import OBJECT, TEXT, SessionPart, form_of
from services.contracts.session.tool_fields import ToolChoiceFields, ToolList

SessionConfig = dict[str, JsonValue]
"""A session object in the provider's GA form: model, instructions, audio, tools, …"""

NULLABLE = frozenset(
    {"tracing", "prompt", "audio.input.turn_detection", "audio.input.noise_reduction", "audio.input.transcription"}
)
"""Paths where `null` disables something."""
MERGED = frozenset({"audio", "audio.input", "audio.output"})
"""Paths that an update changes field by field; other fields it replaces as a whole, where null is as left out."""

Threshold = Annotated[float, Field(ge=0, le=1)]
PrefixPaddingMs = Annotated[int, Field(ge=0, le=10_000)]
SilenceDurationMs = Annotated[int, Field(ge=0, le=60_000)]
IdleTimeoutMs = Annotated[int, Field(ge=1000, le=600_000)]
"""At least a second: each time that it is over, a response is made and billed."""
Eagerness = Literal["low", "medium", "high", "auto"]
Speed = Annotated[float, Field(ge=0.25, le=1.5)]
Modalities = Annotated[list[Literal["audio", "text"]], Field(min_length=1, max_length=1)]
MaxOutputTokens = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]
MetadataPairs = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class VoiceObjectFields(SessionPart):
    """A custom voice, by its id."""

    id: str = Field(min_length=1, max_length=128)


VoiceChoice = Annotated[
    Annotated[str, Field(min_length=1, max_length=128), Tag(TEXT)] | Annotated[VoiceObjectFields, Tag(OBJECT)],
    Discriminator(form_of),
]


class PcmFormatFields(SessionPart):
    """16-bit PCM of 24 kHz: the format of audio that the client appends. The call's own audio is Opus."""

    type: Literal["audio/pcm"]
    rate: Literal[24000] | None = None


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
    languages: list[str] | None = None
    prompt: str | None = None
    keywords: list[str] | None = None
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class NoiseReductionFields(SessionPart):
    """Noise reduction by the type of microphone."""

    type: Literal["near_field", "far_field"] | None = None
    strength: Annotated[float, Field(ge=0, le=1)] | None = None


class AudioInputFields(SessionPart):
    """The caller's audio."""

    format: PcmFormatFields | None = None
    transcription: TranscriptionFields | None = None
    noise_reduction: NoiseReductionFields | None = None
    turn_detection: TurnDetectionFields | None = None


class AudioOutputFields(SessionPart):
    """The model's audio."""

    format: PcmFormatFields | None = None
    voice: VoiceChoice | None = None
    speed: Speed | None = None


class AudioFields(SessionPart):
    """Audio of both directions."""

    input: AudioInputFields | None = None
    output: AudioOutputFields | None = None


class TokenLimitsFields(SessionPart):
    """Bounds of a conversation in tokens."""

    post_instructions: int | None = Field(default=None, ge=0)


class RetentionRatioFields(SessionPart):
    """How much of a conversation is kept when it is truncated."""

    type: Literal["retention_ratio"]
    retention_ratio: float = Field(ge=0, le=1)
    token_limits: TokenLimitsFields | None = None


TruncationChoice = Annotated[
    Annotated[Literal["auto", "disabled"], Tag(TEXT)] | Annotated[RetentionRatioFields, Tag(OBJECT)],
    Discriminator(form_of),
]


class TracingFields(SessionPart):
    """How the provider files its trace of the session."""

    workflow_name: str | None = None
    group_id: str | None = None
    metadata: dict[str, JsonValue] | None = None


TracingChoice = Annotated[
    Annotated[Literal["auto"], Tag(TEXT)] | Annotated[TracingFields, Tag(OBJECT)], Discriminator(form_of)
]


PromptVariable = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[dict[str, JsonValue], Tag(OBJECT)], Discriminator(form_of)
]
"""A text, or an item's content (text, picture, file), which is the provider's to judge."""


class PromptFields(SessionPart):
    """A prompt that is stored with the provider."""

    id: str = Field(min_length=1, max_length=128)
    version: str | None = None
    variables: dict[str, PromptVariable] | None = None


class ReasoningFields(SessionPart):
    """How much a model reasons before it answers."""

    effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class SessionFields(SessionPart):
    """A session, or an update of one: the fields that a client may set."""

    type: Literal["realtime"] | None = "realtime"
    model: str | None = Field(default=None, pattern=r"^[!-~]{1,128}$")
    instructions: str | None = None
    output_modalities: Modalities | None = None
    audio: AudioFields | None = None
    tools: ToolList | None = None
    tool_choice: ToolChoiceFields | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: MaxOutputTokens | None = None
    truncation: TruncationChoice | None = None
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None
    tracing: TracingChoice | None = None
    prompt: PromptFields | None = None
    reasoning: ReasoningFields | None = None


class ResponseAudioOutputFields(SessionPart):
    """The model's audio in one response."""

    format: PcmFormatFields | None = None
    voice: VoiceChoice | None = None


class ResponseAudioFields(SessionPart):
    """The audio of one response."""

    output: ResponseAudioOutputFields | None = None


class ResponseFields(SessionPart):
    """The parameters of a `response.create`."""

    conversation: Literal["auto", "none"] | None = None
    input: list[dict[str, JsonValue]] | None = None
    instructions: str | None = None
    metadata: MetadataPairs | None = None
    output_modalities: Modalities | None = None
    audio: ResponseAudioFields | None = None
    tools: ToolList | None = None
    tool_choice: ToolChoiceFields | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: MaxOutputTokens | None = None
    prompt: PromptFields | None = None
    reasoning: ReasoningFields | None = None


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
