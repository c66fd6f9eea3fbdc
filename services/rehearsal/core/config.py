"""The session in the rehearsal, with all of the provider's defaults.

A field that is unknown, or that the rehearsal does not carry out, is refused: docs/rehearsal.md lists them.
"""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from services.contracts.session.fields import (
    Eagerness,
    MaxOutputTokens,
    Modalities,
    PrefixPaddingMs,
    SilenceDurationMs,
    Speed,
    Threshold,
)
from services.contracts.session.merge import merge_sessions
from services.rehearsal.core.commands import Json
from services.rehearsal.core.refusal import EventRefusedError
from services.rehearsal.core.strict import Strict, null_only
from services.rehearsal.core.tool_fields import ToolChoice, Tools, check_choice
from services.rehearsal.core.voices import DEFAULT_VOICE, VoiceName, voice_name

LOGPROBS = "item.input_audio_transcription.logprobs"
DETECTS_LANGUAGES = "gpt-transcribe"
"""The transcription model that reports languages, and takes keywords."""
MAX_CONTEXT_TOKENS = 28_224
"""Input of a response: a context of 32k tokens, less the largest output."""
_MAX_METADATA_PAIRS = 16
_REASONING_MODEL = re.compile(r"gpt-realtime-2(\.\d+)?(-.*)?")


NoDelay = Annotated[None, null_only("the rehearsal transcribes an utterance at its end; leave it out")]
NoPrompt = Annotated[None, null_only("the rehearsal has no stored prompts; send instructions")]
NoNoiseReduction = Annotated[None, null_only("the rehearsal reduces no noise; leave it out or send null")]
NoIdleTimeout = Annotated[None, null_only("the rehearsal has no idle time-out; leave it out or send null")]
KnownVoice = Annotated[VoiceName, BeforeValidator(voice_name)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=_MAX_METADATA_PAIRS),
]


class ServerVad(Strict):
    """Turn detection by energy."""

    type: Literal["server_vad"] = "server_vad"
    threshold: Threshold = 0.5
    prefix_padding_ms: PrefixPaddingMs = 300
    silence_duration_ms: SilenceDurationMs = 500
    idle_timeout_ms: NoIdleTimeout = None
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(Strict):
    """Detected by energy too: eagerness only sets the silence duration."""

    type: Literal["semantic_vad"] = "semantic_vad"
    eagerness: Eagerness = "auto"
    create_response: bool = True
    interrupt_response: bool = True


class AudioFormat(Strict):
    """24 kHz PCM; G.711 is not supported."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24000] = 24000


def _english(value: object) -> object:
    """Refuse other languages than English.

    Raises:
        ValueError: with the sentence for the client.
    """
    if isinstance(value, str) and value.lower().partition("-")[0] != "en":
        raise ValueError("the rehearsal recognises English only: 'en'")
    return value


class Transcription(Strict):
    """How the caller is transcribed. The model determines the events and how usage is counted."""

    model: Literal[
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "gpt-4o-transcribe",
        "gpt-transcribe",
        "whisper-1",
    ] = "gpt-4o-mini-transcribe"
    language: Annotated[str | None, BeforeValidator(_english)] = None
    languages: list[Annotated[str, BeforeValidator(_english)]] | None = None
    prompt: Annotated[str, Field(max_length=4096)] | None = None
    keywords: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=256)] | None = None
    delay: NoDelay = None

    @field_validator("languages", "keywords")
    @classmethod
    def _known_to_the_model(cls, value: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if value and info.data.get("model") != DETECTS_LANGUAGES:
            raise ValueError(f"only supported by '{DETECTS_LANGUAGES}'")
        return value

    @property
    def spelling(self) -> str:
        """Words whose spelling a transcript follows."""
        return " ".join((*(self.keywords or ()), self.prompt or ""))


class AudioInput(Strict):
    """Settings of the caller's audio."""

    format: AudioFormat = AudioFormat()
    transcription: Transcription | None = None
    noise_reduction: NoNoiseReduction = None
    turn_detection: ServerVad | SemanticVad | None = Field(default=ServerVad(), discriminator="type")


class AudioOutput(Strict):
    """Settings of the model's audio."""

    format: AudioFormat = AudioFormat()
    voice: KnownVoice = DEFAULT_VOICE
    speed: Speed = 1.0


class AudioConfig(Strict):
    """Input and output audio."""

    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


class TokenLimits(Strict):
    """The conversation's limit, in tokens of input after instructions and tools."""

    post_instructions: int = Field(default=MAX_CONTEXT_TOKENS, ge=1, le=MAX_CONTEXT_TOKENS)


class RetentionRatio(Strict):
    """How much of a conversation beyond its limit is kept: the newest items, up to this share of the limit."""

    type: Literal["retention_ratio"]
    retention_ratio: float = Field(ge=0, le=1)
    token_limits: TokenLimits = TokenLimits()


Truncation = Literal["auto", "disabled"] | RetentionRatio


class TraceNames(Strict):
    """How the session's trace is named and grouped."""

    workflow_name: str | None = None
    group_id: str | None = None
    metadata: Json | None = None


class Reasoning(Strict):
    """How much the model thinks before it answers."""

    effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class CompleteSession(Strict):
    """Every setting that a client may change, with the provider's defaults."""

    type: Literal["realtime"]
    model: str | None = None
    instructions: str = ""
    output_modalities: Modalities = Field(default=["audio"])
    audio: AudioConfig = AudioConfig()
    tools: Tools = Field(default_factory=list)
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool | None = None
    max_output_tokens: MaxOutputTokens = "inf"
    truncation: Truncation = "auto"
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None
    tracing: Literal["auto"] | TraceNames | None = None
    prompt: NoPrompt = None
    reasoning: Reasoning | None = None

    @property
    def turn_detection(self) -> ServerVad | SemanticVad | None:
        """The turn detection; None: the client commits."""
        return self.audio.input.turn_detection

    def updated(self, update: "CompleteSession", *, has_spoken: bool) -> "CompleteSession":
        """Return this session with the fields that ``update`` sets.

        Raises:
            EventRefusedError: a field can no longer be changed, or contradicts another.
        """
        merged = merge_sessions(self.model_dump(), update.model_dump(exclude_unset=True))
        config = CompleteSession.model_validate(merged)
        if config.model != self.model:
            raise EventRefusedError(
                "invalid_value", f"The model of this session is '{self.model}' and cannot be changed.", "session.model"
            )
        if has_spoken and config.audio.output.voice != self.audio.output.voice:
            raise voice_is_fixed("session.audio.output.voice")
        if self.tracing is not None and config.tracing not in (self.tracing, None):
            raise EventRefusedError(
                "invalid_value", "Tracing is enabled, and its configuration cannot be changed.", "session.tracing"
            )
        check_choice(config.tool_choice, config.tools, "session")
        check_reasoning(self.model, config.reasoning, config.parallel_tool_calls, "session")
        return config


def trace_of(session: CompleteSession, *, session_id: str) -> Json | None:
    """Return the session's trace as the bill shows it; None: there is none."""
    if session.tracing is None:
        return None
    names = TraceNames() if session.tracing == "auto" else session.tracing
    return {
        "workflow_name": names.workflow_name or "Realtime session",
        "group_id": names.group_id or session_id,
        "metadata": names.metadata or {},
    }


def voice_is_fixed(param: str) -> EventRefusedError:
    """Return the refusal of another voice once the model has spoken."""
    return EventRefusedError(
        "cannot_update_voice", "Cannot update a conversation's voice if assistant audio is present.", param
    )


def check_reasoning(model: str | None, reasoning: Reasoning | None, parallel: bool | None, param: str) -> None:  # noqa: FBT001 - a setting
    """Refuse what only reasoning models have.

    Raises:
        EventRefusedError: ``model`` is none, and one of the fields is set.
    """
    if _REASONING_MODEL.fullmatch(model or ""):
        return
    for name, value in (("reasoning", reasoning), ("parallel_tool_calls", parallel)):
        if value is not None:
            path = f"{param}.{name}"
            sentence = f"'{path}' is only supported by models that reason, such as 'gpt-realtime-2'."
            raise EventRefusedError("invalid_value", sentence, path)
