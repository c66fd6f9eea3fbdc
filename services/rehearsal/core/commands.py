"""What the session machine asks of its shell, and the time that it is told."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

Json = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Now:
    """The moment of an input: ``monotonic`` seconds for pacing, ``wall`` in the server's own time zone."""

    monotonic: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class Send:
    """Send this server event to the client now."""

    event: Json


@dataclass(frozen=True, slots=True)
class Listen:
    """The ear gets the next piece of an utterance: s16le mono 24 kHz. The first piece opens it."""

    utterance: str
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Understand:
    """The utterance is complete; answer with `Session.heard`."""

    utterance: str


@dataclass(frozen=True, slots=True)
class Forget:
    """The utterance was thrown away or is not awaited any more."""

    utterance: str


@dataclass(frozen=True, slots=True)
class Speak:
    """The mouth says ``text``; answer with `Session.said` and the same ``response_id`` and ``index``."""

    response_id: str
    index: int
    text: str
    speed: float


@dataclass(frozen=True, slots=True)
class Keep:
    """Remember this audio as sent for the item, for `GET /audio/{item_id}`."""

    item_id: str
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket with this code."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """Speech that was not recognised is answered with a recording: count it."""


Command = Send | Listen | Understand | Forget | Speak | Keep | RecordedAnswer | Close
