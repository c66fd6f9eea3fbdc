"""What the gate does with a recording."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from services.contracts.audio import FRAME_MS, UP_FRAME_SAMPLES
from services.gate.core.decisions import Decisions
from services.gate.core.envelope import Envelope
from services.gate.core.wav import UnreadableRecordingError
from services.gate.recording import WavRecording, open_recording
from services.gate.streams import GatedStreams
from services.media.settings import MediaSettings

OnAnalysed = Callable[[float], None]
"""Called with the seconds of audio that were analysed since the last call."""
_FULL_SCALE = 32_768


@dataclass(slots=True)
class AnalysedStream:
    """One channel: ``name`` is the file's path, with `#1` or `#2` for the channels of a stereo file."""

    name: str
    decisions: Decisions = field(default_factory=Decisions)
    envelope: Envelope = field(default_factory=Envelope)


@dataclass(frozen=True, slots=True)
class AnalysedFile:
    """A recording's streams."""

    path: Path
    seconds: float
    streams: list[AnalysedStream]

    def as_json(self) -> list[dict[str, Any]]:
        """Return the entries of `--json`, one for each stream."""
        return [stream.decisions.as_json(stream.name, seconds=self.seconds) for stream in self.streams]


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that was not analysed, and why."""

    path: Path
    reason: str

    def as_json(self) -> list[dict[str, Any]]:
        """Return the entry of `--json`."""
        return [{"path": str(self.path), "error": self.reason}]


def length_s(path: Path) -> float:
    """Return the length of a recording in seconds; 0 if it cannot be read."""
    try:
        with open_recording(path) as recording:
            return recording.seconds
    except UnreadableRecordingError:
        return 0.0


def analyse(path: Path, settings: MediaSettings, on_progress: OnAnalysed) -> AnalysedFile | UnreadableFile:
    """Pass a recording through detector and gate, in blocks, so that memory does not grow with its length."""
    try:
        with open_recording(path) as recording:
            return _analyse(recording, settings, on_progress)
    except UnreadableRecordingError as exc:
        return UnreadableFile(path, str(exc))


def _analyse(recording: WavRecording, settings: MediaSettings, on_progress: OnAnalysed) -> AnalysedFile:
    channels = recording.format.channels
    names = [f"{recording.path}#{number + 1}" if channels > 1 else f"{recording.path}" for number in range(channels)]
    found = AnalysedFile(recording.path, recording.seconds, [AnalysedStream(name) for name in names])
    gated = GatedStreams(settings, channels)
    for block in recording.frames():
        _add_block(found, gated, block)
        on_progress(len(block[0]) * FRAME_MS / 1000)
    for stream, events in zip(found.streams, gated.hang_up(), strict=True):
        stream.decisions.finish(events)
    return found


def _add_block(found: AnalysedFile, gated: GatedStreams, block: list[list[bytes]]) -> None:
    samples = [np.frombuffer(b"".join(frames), "<i2").reshape(-1, UP_FRAME_SAMPLES) / _FULL_SCALE for frames in block]
    lows, highs = ([measured(channel, axis=1) for channel in samples] for measured in (np.min, np.max))
    for at, frames in enumerate(zip(*block, strict=True)):
        for number, result in enumerate(gated.push(frames)):
            stream = found.streams[number]
            stream.decisions.record(result.events)
            stream.envelope.add(float(lows[number][at]), float(highs[number][at]), result.score)
