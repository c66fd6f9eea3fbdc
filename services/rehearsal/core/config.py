"""The session in the rehearsal: with all of the provider's defaults; unsupported fields are refused.

Types and limits are those of the session grammar (`contracts/session`).
"""

from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.contracts.session.fields import (
    AudioFields,
    AudioInputFields,
    AudioOutputFields,
    Eagerness,
    MaxOutputTokens,
    Modalities,
    PcmFormatFields,
    PrefixPaddingMs,
    RetentionRatioFields,
    SemanticVadFields,
    ServerVadFields,
    SessionFields,
    SilenceDurationMs,
    Speed,
    Threshold,
    TranscriptionFields,
)
from services.contracts.session.merge import merge_sessions
from services.contracts.session.tool_fields import ToolName
from services.rehearsal.core.commands import Json
from services.rehearsal.core.refusal import EventRefusedError, of_validation


class Strict(BaseModel):
    """Base of what clients send: unknown fields are refused, as the provider does."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ServerVad(ServerVadFields, Strict):
    """Turn detection by energy. ``idle_timeout_ms`` is not supported, so only null is accepted."""

    threshold: Threshold = 0.5
    prefix_padding_ms: PrefixPaddingMs = 300
    silence_duration_ms: SilenceDurationMs = 500
    idle_timeout_ms: None = None
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(SemanticVadFields, Strict):
    """Detected by energy too: eagerness only sets the silence duration."""

    eagerness: Eagerness = "auto"
    create_response: bool = True
    interrupt_response: bool = True


class AudioFormat(PcmFormatFields, Strict):
    """24 kHz PCM; G.711 is not supported."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24000] = 24000


class Transcription(TranscriptionFields):
    """The transcription model; it determines how usage is counted."""

    model: str = Field(default="gpt-4o-mini-transcribe", min_length=1, max_length=128)


class AudioInput(AudioInputFields, Strict):
    """Settings of the caller's audio."""

    format: AudioFormat = AudioFormat()
    transcription: Transcription | None = None
    turn_detection: ServerVad | SemanticVad | None = Field(default=ServerVad(type="server_vad"), discriminator="type")


class AudioOutput(AudioOutputFields, Strict):
    """Settings of the model's audio. Every voice name sounds the same here."""

    format: AudioFormat = AudioFormat()
    voice: str | dict[str, str] = "marin"  # type: ignore[assignment] # narrower; mypy holds dicts invariant
    speed: Speed = 1.0


class AudioConfig(AudioFields, Strict):
    """Input and output audio."""

    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


class Tool(BaseModel):
    """A function that the model may call; other tool types are stored and never called."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    type: Literal["function", "mcp"] = "function"
    name: ToolName = ""
    description: str = ""
    parameters: Json = Field(default_factory=dict)


class NamedChoice(BaseModel):
    """A function that must be called."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    type: Literal["function", "mcp"]
    name: str | None = None


ToolChoice = Literal["auto", "none", "required"] | NamedChoice


class CompleteSession(SessionFields, Strict):
    """Every setting that a client may change, with the provider's defaults."""

    type: Literal["realtime"]
    instructions: str = ""
    output_modalities: Modalities = ["audio"]
    audio: AudioConfig = AudioConfig()
    tools: list[Tool] = []  # type: ignore[assignment] # narrower; mypy holds lists invariant
    tool_choice: ToolChoice = "auto"  # type: ignore[assignment] # an object as JSON is a NamedChoice here
    max_output_tokens: MaxOutputTokens = "inf"
    truncation: Literal["auto", "disabled"] | RetentionRatioFields = "auto"

    @property
    def turn_detection(self) -> ServerVad | SemanticVad | None:
        """The turn detection; None: the client commits."""
        return self.audio.input.turn_detection

    def updated(self, update: "CompleteSession", *, has_spoken: bool) -> "CompleteSession":
        """Return this session with the fields that ``update`` sets; the model remains the connection's.

        Raises:
            EventRefusedError: the voice would change after audio was generated.
        """
        merged = merge_sessions(self.model_dump(), update.model_dump(exclude_unset=True))
        config = CompleteSession.model_validate({**merged, "model": self.model})
        if has_spoken and config.audio.output.voice != self.audio.output.voice:
            raise EventRefusedError(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
                "session.audio.output.voice",
            )
        return config


S = TypeVar("S", bound=Strict)


def checked(kind: type[S], raw: object) -> S:
    """Validate what a client sent.

    Raises:
        EventRefusedError: with the provider's code for the first problem.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as exc:
        raise of_validation(exc) from None
