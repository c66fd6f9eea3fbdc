"""Commands of the session machine to its shell, and the time of an input."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from services.rehearsal.core.voices import VoiceName

Json = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Now:
    """The time of an input: ``monotonic`` seconds for pacing, ``wall`` in the server's own time zone."""

    monotonic: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class SendServerEvent:
    """Send this server event to the client now."""

    event: Json


@dataclass(frozen=True, slots=True)
class RecogniseAudio:
    """Pass a piece of an utterance to the recogniser: s16le mono 24 kHz. The first piece starts the utterance."""

    utterance: str
    pcm: bytes


@dataclass(frozen=True, slots=True)
class FinishRecognition:
    """The utterance is complete: answer with its transcript by `RehearsalSession.transcription_finished`."""

    utterance: str


@dataclass(frozen=True, slots=True)
class DiscardUtterance:
    """The utterance was cleared, or its transcript is no longer needed."""

    utterance: str


@dataclass(frozen=True, slots=True)
class SynthesiseSpeech:
    """Synthesise ``text``; answer by `RehearsalSession.synthesis_finished`, same ``response_id`` and ``index``."""

    response_id: str
    index: int
    text: str
    speed: float
    voice: VoiceName


@dataclass(frozen=True, slots=True)
class ArchiveAudio:
    """Keep this audio as sent for the item, for `GET /audio/{item_id}`."""

    item_id: str
    pcm: bytes


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """Close the socket with this code."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """Count a recorded answer to speech that was not recognised."""


RehearsalCommand = (
    SendServerEvent
    | RecogniseAudio
    | FinishRecognition
    | DiscardUtterance
    | SynthesiseSpeech
    | ArchiveAudio
    | RecordedAnswer
    | CloseSocket
)
