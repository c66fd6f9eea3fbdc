"""Conversation items, and how many tokens they cost."""

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from services.rehearsal.core.commands import Json
from services.rehearsal.core.sound import BYTES_PER_MS

CHARS_PER_TOKEN = 4
"""A stated approximation: real tokenizers differ, the provider's is not published for speech models."""
USER_MS_PER_TOKEN = 100
ASSISTANT_MS_PER_TOKEN = 50

IMAGE_TOKENS = {"low": 85, "auto": 765, "high": 765}
"""By the detail of a picture, whatever its size."""

PartType = Literal["input_text", "input_audio", "input_image", "output_text", "output_audio"]
RehearsalItemStatus = Literal["in_progress", "completed", "incomplete"]
_WORD = re.compile(r"\s*\S+")


def words_of(text: str) -> list[str]:
    """Words with the space before each, so that they join to ``text``."""
    return _WORD.findall(text)


def text_tokens(text: str) -> int:
    """One token per four characters, rounded up."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def audio_tokens(length_bytes: int, *, ms_per_token: int) -> int:
    """Tokens of ``length_bytes`` of audio, rounded up."""
    return math.ceil(length_bytes / (ms_per_token * BYTES_PER_MS))


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Text, audio and image tokens, which have different prices."""

    text: int = 0
    audio: int = 0
    image: int = 0

    def __add__(self, other: "TokenCount") -> "TokenCount":
        return TokenCount(self.text + other.text, self.audio + other.audio, self.image + other.image)

    @property
    def total(self) -> int:
        """All kinds together."""
        return self.text + self.audio + self.image


@dataclass(frozen=True, slots=True)
class WordEnd:
    """A word and where its audio ends in the item."""

    text: str
    end_bytes: int


@dataclass(slots=True)
class ItemPart:
    """One content part. ``text`` is the transcript if there is audio; None: not transcribed (yet)."""

    type: PartType
    text: str | None = None
    audio_bytes: int = 0
    words: list[WordEnd] = field(default_factory=list)
    detail: Literal["auto", "low", "high"] = "auto"
    """Of a picture, which itself is not kept."""

    @property
    def has_sound(self) -> bool:
        """Whether it has audio, so that its text is a transcript."""
        return self.type in {"input_audio", "output_audio"}

    def as_json(self) -> Json:
        """The part as in an `item` object."""
        if self.type == "input_image":
            return {"type": self.type, "detail": self.detail}
        return {"type": self.type, "transcript" if self.has_sound else "text": self.text}

    def cut(self, end_bytes: int) -> None:
        """Truncate to ``end_bytes`` of audio: a word is kept if its audio had ended."""
        self.words = [word for word in self.words if word.end_bytes <= end_bytes]
        self.text = "".join(word.text for word in self.words)
        self.audio_bytes = end_bytes

    def tokens(self) -> TokenCount:
        """Its cost as input. The caller's transcript is not input: the model gets the audio."""
        if self.type == "input_image":
            return TokenCount(image=IMAGE_TOKENS[self.detail])
        if self.type == "input_audio":
            return TokenCount(audio=audio_tokens(self.audio_bytes, ms_per_token=USER_MS_PER_TOKEN))
        audio = audio_tokens(self.audio_bytes, ms_per_token=ASSISTANT_MS_PER_TOKEN)
        return TokenCount(text=text_tokens(self.text or ""), audio=audio)


@dataclass(slots=True)
class MessageItem:
    """A message of the caller, the model or the system."""

    id: str
    role: Literal["user", "system", "assistant"]
    content: list[ItemPart]
    status: RehearsalItemStatus = "completed"
    pending: bool = False
    """Whether the recogniser's transcript is still pending."""
    unheard: bool = False
    """Whether it is speech without a transcript, now and later."""
    kept: bytes = b""
    """The start of its audio, if it is to be echoed."""

    @property
    def text(self) -> str:
        """All of its text and transcripts."""
        return " ".join(part.text for part in self.content if part.text).strip()

    def as_json(self) -> Json:
        """The `item` object."""
        content: list[JsonValue] = [part.as_json() for part in self.content]
        return {**_base(self.id, "message", self.status), "role": self.role, "content": content}

    def tokens(self) -> TokenCount:
        """Its cost as input."""
        return sum((part.tokens() for part in self.content), TokenCount())


@dataclass(slots=True)
class FunctionCallItem:
    """A function call by the model."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: RehearsalItemStatus = "completed"

    def as_json(self) -> Json:
        """The `item` object."""
        base = _base(self.id, "function_call", self.status)
        return {**base, "call_id": self.call_id, "name": self.name, "arguments": self.arguments}

    def tokens(self) -> TokenCount:
        """Its cost as input."""
        return TokenCount(text=text_tokens(self.name + self.arguments))


@dataclass(slots=True)
class FunctionOutputItem:
    """The output of a function."""

    id: str
    call_id: str
    output: str
    status: RehearsalItemStatus = "completed"

    def as_json(self) -> Json:
        """The `item` object."""
        return {**_base(self.id, "function_call_output", self.status), "call_id": self.call_id, "output": self.output}

    def tokens(self) -> TokenCount:
        """Its cost as input."""
        return TokenCount(text=text_tokens(self.output))


ConversationItem = MessageItem | FunctionCallItem | FunctionOutputItem


def _base(item_id: str, kind: str, status: RehearsalItemStatus) -> Json:
    return {"id": item_id, "object": "realtime.item", "type": kind, "status": status}
