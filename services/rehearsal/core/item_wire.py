"""Conversation items as clients send them."""

from typing import Annotated, Literal

from pydantic import Field

from services.rehearsal.core.strict import Strict

MAX_AUDIO_CHARS = 20 * 1024 * 1024
"""15 MiB of audio in base64."""


class TextPartIn(Strict):
    """Text of any role; which roles have which type is checked when the item is created."""

    type: Literal["input_text", "output_text"]
    text: str


class CallerAudioIn(Strict):
    """Audio of the caller."""

    type: Literal["input_audio"]
    audio: str = Field(max_length=MAX_AUDIO_CHARS)
    transcript: str | None = None


class ModelAudioIn(Strict):
    """Audio of the model, of which the transcript counts."""

    type: Literal["output_audio"]
    transcript: str
    audio: str | None = Field(default=None, max_length=MAX_AUDIO_CHARS)


class ImageIn(Strict):
    """A picture as a data URL."""

    type: Literal["input_image"]
    image_url: str
    detail: Literal["auto", "low", "high"] = "auto"


PartIn = Annotated[TextPartIn | CallerAudioIn | ModelAudioIn | ImageIn, Field(discriminator="type")]


class _ItemIn(Strict):
    id: str | None = Field(default=None, min_length=1, max_length=64)
    object: Literal["realtime.item"] = "realtime.item"
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class MessageIn(_ItemIn):
    """A message of any role."""

    type: Literal["message"]
    role: Literal["user", "system", "assistant"]
    content: list[PartIn]


class CallIn(_ItemIn):
    """A function call from an earlier conversation."""

    type: Literal["function_call"]
    name: str
    arguments: str
    call_id: str | None = None


class OutputIn(_ItemIn):
    """The output of a function."""

    type: Literal["function_call_output"]
    call_id: str
    output: str


class ReferenceIn(Strict):
    """An item of the conversation as input of one response."""

    type: Literal["item_reference"]
    id: str


ItemIn = Annotated[MessageIn | CallIn | OutputIn, Field(discriminator="type")]
InputItem = Annotated[MessageIn | CallIn | OutputIn | ReferenceIn, Field(discriminator="type")]
