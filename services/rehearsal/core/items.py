"""What a conversation is made of, and how the model counts it."""

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

PartType = Literal["input_text", "input_audio", "output_text", "output_audio"]
Status = Literal["in_progress", "completed", "incomplete"]
_WORD = re.compile(r"\s*\S+")


def words_of(text: str) -> list[str]:
    """Words with the space before them, so that they join to ``text``."""
    return _WORD.findall(text)


def text_tokens(text: str) -> int:
    """One token per four characters, rounded up."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def audio_tokens(length_bytes: int, *, ms_per_token: int) -> int:
    """Tokens of that much audio, rounded up."""
    return math.ceil(length_bytes / (ms_per_token * BYTES_PER_MS))


@dataclass(frozen=True, slots=True)
class Tokens:
    """Text and audio, which have different prices."""

    text: int = 0
    audio: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.text + other.text, self.audio + other.audio)

    @property
    def total(self) -> int:
        """Both."""
        return self.text + self.audio


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word and where its sound ends in the item."""

    text: str
    end_bytes: int


@dataclass(slots=True)
class Part:
    """One content part. ``text`` is the transcript where there is sound; None: not understood (yet)."""

    type: PartType
    text: str | None = None
    audio_bytes: int = 0
    words: list[Spoken] = field(default_factory=list)

    @property
    def has_sound(self) -> bool:
        """Whether its text is a transcript."""
        return self.type in {"input_audio", "output_audio"}

    def wire(self) -> Json:
        """As clients see it inside an item."""
        return {"type": self.type, "transcript" if self.has_sound else "text": self.text}

    def cut(self, end_bytes: int) -> None:
        """Forget what comes after: a word stays if its sound had ended."""
        self.words = [word for word in self.words if word.end_bytes <= end_bytes]
        self.text = "".join(word.text for word in self.words)
        self.audio_bytes = end_bytes

    def tokens(self) -> Tokens:
        """What it costs as input. The caller's transcript is not input: the model hears the sound."""
        if self.type == "input_audio":
            return Tokens(audio=audio_tokens(self.audio_bytes, ms_per_token=USER_MS_PER_TOKEN))
        audio = audio_tokens(self.audio_bytes, ms_per_token=ASSISTANT_MS_PER_TOKEN)
        return Tokens(text=text_tokens(self.text or ""), audio=audio)


@dataclass(slots=True)
class Message:
    """What somebody said."""

    id: str
    role: Literal["user", "system", "assistant"]
    content: list[Part]
    status: Status = "completed"
    pending: bool = False
    """The ear has not said yet what it understood."""
    unheard: bool = False
    """It is speech that no recogniser has understood, and none will."""
    kept: bytes = b""
    """Its beginning, where it is to be echoed."""

    @property
    def text(self) -> str:
        """All that is known of it in words."""
        return " ".join(part.text for part in self.content if part.text).strip()

    def wire(self) -> Json:
        """The `item` object."""
        content: list[JsonValue] = [part.wire() for part in self.content]
        return {**_base(self.id, "message", self.status), "role": self.role, "content": content}

    def tokens(self) -> Tokens:
        """What it costs as input."""
        return sum((part.tokens() for part in self.content), Tokens())


@dataclass(slots=True)
class FunctionCall:
    """The model asks for a function."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: Status = "completed"

    def wire(self) -> Json:
        """The `item` object."""
        base = _base(self.id, "function_call", self.status)
        return {**base, "call_id": self.call_id, "name": self.name, "arguments": self.arguments}

    def tokens(self) -> Tokens:
        """What it costs as input."""
        return Tokens(text=text_tokens(self.name + self.arguments))


@dataclass(slots=True)
class FunctionOutput:
    """What the function returned."""

    id: str
    call_id: str
    output: str
    status: Status = "completed"

    def wire(self) -> Json:
        """The `item` object."""
        return {**_base(self.id, "function_call_output", self.status), "call_id": self.call_id, "output": self.output}

    def tokens(self) -> Tokens:
        """What it costs as input."""
        return Tokens(text=text_tokens(self.output))


Item = Message | FunctionCall | FunctionOutput


def _base(item_id: str, kind: str, status: Status) -> Json:
    return {"id": item_id, "object": "realtime.item", "type": kind, "status": status}
