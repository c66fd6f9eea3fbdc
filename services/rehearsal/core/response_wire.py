"""The settings of a `response.create`."""

from typing import Literal

from services.contracts.session.fields import MaxOutputTokens, Modalities
from services.rehearsal.core.config import AudioFormat, KnownVoice, Metadata, NoPrompt, Reasoning
from services.rehearsal.core.item_wire import InputItem
from services.rehearsal.core.strict import Strict
from services.rehearsal.core.tool_fields import ToolChoice, Tools


class ResponseAudioOutput(Strict):
    """The voice of one response."""

    format: AudioFormat | None = None
    voice: KnownVoice | None = None


class ResponseAudio(Strict):
    """The audio of one response."""

    output: ResponseAudioOutput | None = None


class ResponseParams(Strict):
    """The settings of one response that differ from the session's."""

    audio: ResponseAudio | None = None
    conversation: Literal["auto", "none"] | None = None
    input: list[InputItem] | None = None
    instructions: str | None = None
    max_output_tokens: MaxOutputTokens | None = None
    metadata: Metadata | None = None
    output_modalities: Modalities | None = None
    tool_choice: ToolChoice | None = None
    tools: Tools | None = None
    prompt: NoPrompt = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
