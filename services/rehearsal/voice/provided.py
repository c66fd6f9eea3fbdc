"""What a connection needs of a voice, and the two that there are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

from services.rehearsal.voice.pool import LocalVoice
from services.runtime.errors import HushgateError
from services.runtime.logging import get_logger

RECORDED_FILE = Path(__file__).with_name("recorded.pcm")
"""`dialogue.RECORDED_PROMPT`, spoken once by espeak-ng: s16le mono 24 kHz without a header."""
_EXTRA = ("pocketsphinx", "espeakng_loader", "soxr")

VoiceChoice = Literal["auto", "local", "recorded"]


class VoiceMissingError(HushgateError):
    """The extra `voice` is not installed."""

    def __init__(self) -> None:
        super().__init__("REHEARSAL_VOICE=local needs `pip install hushgate[rehearsal,voice]`; or set it to recorded")


class Utterance(Protocol):
    """Speech that is being heard."""

    def feed(self, pcm: bytes) -> None:
        """More of it: s16le mono 24 kHz."""

    async def finish(self) -> str | None:
        """What was said; None: the ear was lost."""

    def forget(self) -> None:
        """It is not wanted any more."""


class Voice(Protocol):
    """An ear and a mouth. Without an ear nothing is ever listened to."""

    @property
    def has_ear(self) -> bool:
        """Whether speech is understood."""

    def listen(self) -> Utterance:
        """Begin to hear an utterance."""

    async def say(self, text: str, *, speed: float) -> bytes | None:
        """``text`` as s16le mono 24 kHz; None: the mouth was lost."""


class RecordedVoice:
    """No ear, and one sentence to say."""

    has_ear = False

    def __init__(self) -> None:
        self._pcm = RECORDED_FILE.read_bytes()

    def listen(self) -> Utterance:
        """Never asked for: `has_ear` is False, and then the core listens to nothing."""
        raise VoiceMissingError

    async def say(self, text: str, *, speed: float) -> bytes | None:  # noqa: ARG002 - the wall
        """The recording, whatever is to be said: the core says nothing else with this voice."""
        return self._pcm


@asynccontextmanager
async def open_voice(choice: VoiceChoice, *, ears: int) -> AsyncIterator[Voice]:
    """The voice that was chosen, warmed up. `auto`: local where it is installed.

    Raises:
        VoiceMissingError: local was chosen and is not installed.
        VoiceStartError: its processes did not start.
    """
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if choice == "local" and missing:
        raise VoiceMissingError
    if choice == "recorded" or missing:
        get_logger().info("voice_recorded", reason="chosen" if choice == "recorded" else "not_installed")
        yield RecordedVoice()
        return
    async with LocalVoice.open(ears=ears) as voice:
        yield voice
