"""What a connection needs of a voice, and which there are: with a recogniser, without one, and without any engine."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from services.rehearsal.core.answers import AnswersName
from services.rehearsal.core.recordings import RECORDED_TEXTS, Recording
from services.rehearsal.voice.pool import LocalVoice, VoiceStartError
from services.runtime.errors import HushgateError

RECORDED_FILE = Path(__file__).with_name("recorded.pcm")
"""`dialogue.RECORDED_PROMPT`, spoken once by espeak-ng: s16le mono 24 kHz without a header."""
_EXTRA = ("pocketsphinx", "espeakng_loader", "soxr")


class VoiceMissingError(HushgateError):
    """The extra `voice` is not installed."""

    def __init__(self, choice: AnswersName) -> None:
        super().__init__(
            f"REHEARSAL_VOICE={choice} needs `pip install hushgate[rehearsal,voice]`; REHEARSAL_VOICE=echo does not"
        )


class Utterance(Protocol):
    """Speech that is being heard."""

    def feed(self, pcm: bytes) -> None:
        """More of it: s16le mono 24 kHz."""

    async def finish(self) -> str | None:
        """What was said; None: the ear was lost, or none was free in time."""

    def forget(self) -> None:
        """It is not wanted any more."""


class Voice(Protocol):
    """A mouth, and ears where speech is recognised: without them the core listens to nothing."""

    @property
    def recordings(self) -> Sequence[Recording]:
        """The answers to speech that was not recognised."""

    def listen(self) -> Utterance:
        """Begin to hear an utterance."""

    async def say(self, text: str, *, speed: float) -> bytes | None:
        """``text`` as s16le mono 24 kHz; None: the mouth was lost."""


class EchoVoice:
    """No ear, and one sentence to say before the caller's own sound."""

    recordings: Sequence[Recording] = ()

    def __init__(self) -> None:
        self._pcm = RECORDED_FILE.read_bytes()

    def listen(self) -> Utterance:
        """Never asked for: sessions that echo listen to nothing."""
        raise VoiceMissingError("full")

    async def say(self, text: str, *, speed: float) -> bytes | None:  # noqa: ARG002 - the wall
        """The recording, whatever is to be said: the core says nothing else with this voice."""
        return self._pcm


@asynccontextmanager
async def open_voice(choice: AnswersName, *, ears: int) -> AsyncIterator[Voice]:
    """The voice that was chosen, warmed up, with its recorded answers.

    Raises:
        VoiceMissingError: its engines are not installed.
        VoiceStartError: its processes did not start.
    """
    if choice == "echo":
        yield EchoVoice()
        return
    if any(find_spec(name) is None for name in _EXTRA):
        raise VoiceMissingError(choice)
    async with LocalVoice.open(ears=ears if choice == "full" else 0) as voice:
        spoken = [(text, await voice.say(text, speed=1.0)) for text in RECORDED_TEXTS]
        voice.recordings = [Recording(text, pcm) for text, pcm in spoken if pcm]
        if len(voice.recordings) < len(spoken):
            raise VoiceStartError
        yield voice
