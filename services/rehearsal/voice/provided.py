"""The voice interface of a connection, and its implementations: with a recogniser, without one, without any engine."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from services.rehearsal.core.answers import AnswersName
from services.rehearsal.core.recordings import RECORDED_TEXTS, Recording
from services.rehearsal.core.sound import resampled
from services.rehearsal.core.transcript import Transcript
from services.rehearsal.core.voices import DEFAULT_VOICE, VOICE_SOUNDS, VoiceName
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


class PendingUtterance(Protocol):
    """An utterance that is being recognised."""

    def feed(self, pcm: bytes) -> None:
        """Append audio: s16le mono 24 kHz."""

    async def finish(self) -> Transcript | None:
        """Return the transcript; None: the recogniser was lost, or none was free in time."""

    def discard(self) -> None:
        """Discard the utterance and release its recogniser."""


class SpeechEngine(Protocol):
    """A synthesiser, with recognisers where speech is recognised."""

    @property
    def recordings(self) -> Sequence[Recording]:
        """Recorded answers to speech that was not recognised."""

    def begin_utterance(self) -> PendingUtterance:
        """Begin an utterance."""

    def pause(self, *, paused: bool) -> None:
        """Stop recognising utterances that begin from now on, or resume."""

    async def synthesise(self, text: str, *, speed: float, voice: VoiceName) -> bytes | None:
        """Return ``text`` as s16le mono 24 kHz; None: the synthesiser was lost."""


class EchoVoice:
    """Plays one recorded sentence, then the caller's own audio; recognises nothing."""

    recordings: Sequence[Recording] = ()

    def __init__(self) -> None:
        self._pcm = RECORDED_FILE.read_bytes()

    def begin_utterance(self) -> PendingUtterance:
        """Raise `VoiceMissingError`: echo sessions recognise nothing."""
        raise VoiceMissingError("full")

    def pause(self, *, paused: bool) -> None:
        """Do nothing: there is no recogniser."""

    async def synthesise(self, text: str, *, speed: float, voice: VoiceName) -> bytes | None:  # noqa: ARG002 - one recording
        """Return the recording, whatever ``text`` is, played faster or slower for ``speed`` and ``voice``."""
        return resampled(self._pcm, speed * VOICE_SOUNDS[voice].pitch / VOICE_SOUNDS[DEFAULT_VOICE].pitch)


@asynccontextmanager
async def open_voice(choice: AnswersName, *, recognisers: int) -> AsyncIterator[SpeechEngine]:
    """Yield the chosen voice with its models loaded, and its recorded answers.

    Raises:
        VoiceMissingError: its engines are not installed.
        VoiceStartError: its processes did not start.
    """
    if choice == "echo":
        yield EchoVoice()
        return
    if any(find_spec(name) is None for name in _EXTRA):
        raise VoiceMissingError(choice)
    async with LocalVoice.open(recognisers=recognisers if choice == "full" else 0) as voice:
        spoken = [(text, await voice.synthesise(text, speed=1.0, voice=DEFAULT_VOICE)) for text in RECORDED_TEXTS]
        voice.recordings = [Recording(text, pcm) for text, pcm in spoken if pcm]
        if len(voice.recordings) < len(spoken):
            raise VoiceStartError
        yield voice
