"""Detector and gate of a few streams, as the media process runs them for its calls."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.contracts.audio import FRAME_MS, PcmFrame
from services.media.core.speech.gate import GateEvent, VadGate
from services.media.core.speech.level import levels_dbfs
from services.media.detectors import open_detector
from services.media.settings import MediaSettings

FRAME_S = FRAME_MS / 1000


@dataclass(frozen=True, slots=True)
class Gated:
    """One frame of a stream: its speech score, 0 to 1, its level, and what the gate decided."""

    score: float
    level_dbfs: float
    events: list[GateEvent]


class Scorer:
    """The detector: gives each frame of several streams its score and level. Each stream has a state of its own."""

    def __init__(self, settings: MediaSettings, streams: int) -> None:
        self._detector = open_detector(settings.chosen_detector, settings.webrtc_detector)
        self._states = [self._detector.new_state() for _ in range(streams)]

    def score(self, frames: Sequence[PcmFrame]) -> list[tuple[float, float]]:
        """Return score and level in dBFS of the next frame of each stream."""
        scores = self._detector.probabilities(list(zip(self._states, frames, strict=True)))
        return list(zip(scores, levels_dbfs(frames), strict=True))


class GatedStreams:
    """Streams that run at the same time: the channels of a recording."""

    def __init__(self, settings: MediaSettings, streams: int) -> None:
        self._scorer = Scorer(settings, streams)
        self.gates = [VadGate(settings.gate) for _ in range(streams)]
        self._index = 0

    def push(self, pcm: Sequence[bytes]) -> list[Gated]:
        """Gate the next 640 bytes of each stream."""
        frames = [PcmFrame(self._index, data) for data in pcm]
        self._index += 1
        found = []
        for gate, frame, (score, level_dbfs) in zip(self.gates, frames, self._scorer.score(frames), strict=True):
            now = self._index * FRAME_S
            events = gate.on_frame(frame, probability=score, level_dbfs=level_dbfs, now=now)
            found.append(Gated(score, level_dbfs, events))
        return found

    def hang_up(self) -> list[list[GateEvent]]:
        """End the streams; return the last events of each."""
        return [gate.hang_up() for gate in self.gates]
