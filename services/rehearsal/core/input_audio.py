"""The input audio buffer: counts the caller's audio and passes possible speech to the recogniser."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.rehearsal.core.command_list import CommandList
from services.rehearsal.core.commands import DiscardUtterance, FinishRecognition, RecogniseAudio
from services.rehearsal.core.config import SemanticVad, ServerVad
from services.rehearsal.core.refusal import EventRefusedError
from services.rehearsal.core.sound import BYTES_PER_MS, WINDOW_BYTES, loudest_dbfs, to_ms
from services.rehearsal.core.vad import Change, EnergyVad, VadConfig

MIN_COMMIT_MS = 100
_AUDIBLE_DBFS = -55.0
"""Without server_vad only louder audio starts a recogniser: silence must not occupy one, nor be recognised as words."""
_LEAD_MS = 300
MAX_LISTEN_BYTES = 120_000 * BYTES_PER_MS
KEPT_BYTES = 6_000 * BYTES_PER_MS
"""Length of an utterance that is kept for the echo."""


@dataclass(frozen=True, slots=True)
class CommittedAudio:
    """The audio of a committed item. ``audible``: a recogniser has it and will return a transcript."""

    item_id: str
    length_bytes: int
    kept: bytes
    audible: bool


class InputBuffer:
    """Audio since the last commit or clear. ``item_id`` is the item it will become."""

    def __init__(self, out: CommandList, *, has_recogniser: bool, keeps_sound: bool) -> None:
        self._out = out
        self._has_ear = has_recogniser
        self._keeps_sound = keeps_sound
        self._vad: EnergyVad | None = None
        self._lead_bytes = _LEAD_MS * BYTES_PER_MS
        self._rest = b""
        self._received_bytes = 0
        self._reset()

    def _reset(self) -> None:
        self.item_id = self._out.new_id("item")
        self._length_bytes = 0
        self._speech_bytes = 0
        self._kept = b""
        self._lead = b""

    def set_turn_detection(self, detection: ServerVad | SemanticVad | None) -> None:
        """Set the turn detection; the buffer is kept."""
        if detection is None:
            self._vad = None
            self._lead_bytes = _LEAD_MS * BYTES_PER_MS
            return
        config = VadConfig.of(detection)
        if self._vad is None:
            self._vad = EnergyVad(config)
        self._vad.config = config
        self._lead_bytes = config.prefix_ms * BYTES_PER_MS

    def split(self, pcm: bytes) -> Iterator[bytes]:
        """Split audio for `append_audio`: windows of 20 ms when the VAD is on, else unchanged."""
        pcm, self._rest = self._rest + pcm, b""
        if self._vad is None:
            yield pcm
            return
        whole = len(pcm) // WINDOW_BYTES * WINDOW_BYTES
        self._rest = pcm[whole:]
        for start in range(0, whole, WINDOW_BYTES):
            yield pcm[start : start + WINDOW_BYTES]

    def append_audio(self, piece: bytes) -> Change | None:
        """Append a piece; returns whether a turn started or stopped with it."""
        self._received_bytes += len(piece)
        change = self._vad.process_frame(piece) if self._vad else None
        if self._is_speech(piece, change):
            self._feed_recogniser(self._lead + piece)
            self._lead = b""
        else:
            # A slice from -0 would keep everything.
            self._lead = (self._lead + piece)[-self._lead_bytes :] if self._lead_bytes else b""
        # The VAD needs only the prefix of the audio before speech.
        self._length_bytes = self._speech_bytes + len(self._lead) if self._vad else self._length_bytes + len(piece)
        return change

    def _is_speech(self, piece: bytes, change: Change | None) -> bool:
        if self._vad:
            return self._vad.speaking or change is Change.STOPPED
        return self._speech_bytes > 0 or loudest_dbfs(piece) > _AUDIBLE_DBFS

    def _feed_recogniser(self, pcm: bytes) -> None:
        if self._has_ear and self._speech_bytes < MAX_LISTEN_BYTES:
            self._out.append(RecogniseAudio(self.item_id, pcm))
        self._speech_bytes += len(pcm)
        if self._keeps_sound:
            self._kept += pcm[: KEPT_BYTES - len(self._kept)]

    @property
    def _is_recognised(self) -> bool:
        return self._has_ear and self._speech_bytes > 0

    @property
    def start_ms(self) -> int:
        """Position of the buffer's start in the session's audio, in ms."""
        return to_ms(self._received_bytes - self._length_bytes)

    @property
    def end_ms(self) -> int:
        """Length of the session's audio so far, in ms."""
        return to_ms(self._received_bytes)

    def commit(self) -> CommittedAudio:
        """Empty the buffer and return its audio.

        Raises:
            EventRefusedError: it holds less than 100 ms.
        """
        if to_ms(self._length_bytes) < MIN_COMMIT_MS:
            raise EventRefusedError(
                "input_audio_buffer_commit_empty",
                f"Error committing input audio buffer: buffer too small. Expected at least {MIN_COMMIT_MS}ms of "
                f"audio, but buffer only has {self._length_bytes / BYTES_PER_MS:.2f}ms of audio.",
            )
        utterance = CommittedAudio(self.item_id, self._length_bytes, self._kept, audible=self._is_recognised)
        if utterance.audible:
            self._out.append(FinishRecognition(self.item_id))
        self._reset()
        return utterance

    def clear(self) -> None:
        """Discard the buffer."""
        if self._is_recognised:
            self._out.append(DiscardUtterance(self.item_id))
        self._rest = b""
        self._reset()
