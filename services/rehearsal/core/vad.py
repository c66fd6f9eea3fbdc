"""The provider's server_vad, by energy: sufficient for a caller in a quiet room, and for tests."""

from dataclasses import dataclass
from enum import Enum

from services.rehearsal.core.config import SemanticVad, ServerVad
from services.rehearsal.core.sound import WINDOW_MS, loudest_dbfs

_ONSET_WINDOWS = 3  # a click is shorter than 60 ms
_QUIETEST_DBFS = -60.0
_THRESHOLD_RANGE_DB = 40.0  # threshold 0.5 is -40 dBFS, between a room (-60) and a voice (-25)
_EAGERNESS_SILENCE_MS = {"high": 300, "auto": 500, "medium": 500, "low": 800}
_SEMANTIC_PREFIX_MS = 300


class Change(Enum):
    """A transition between silence and speech."""

    STARTED = "started"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class VadConfig:
    """Thresholds for the start and end of speech."""

    level_dbfs: float
    silence_ms: int
    prefix_ms: int

    @classmethod
    def of(cls, detection: ServerVad | SemanticVad) -> "VadConfig":
        """Derive it from the session's turn detection."""
        if isinstance(detection, SemanticVad):
            level = _QUIETEST_DBFS + _THRESHOLD_RANGE_DB / 2
            return cls(level, _EAGERNESS_SILENCE_MS[detection.eagerness], _SEMANTIC_PREFIX_MS)
        level = _QUIETEST_DBFS + _THRESHOLD_RANGE_DB * detection.threshold
        return cls(level, detection.silence_duration_ms, detection.prefix_padding_ms)


class EnergyVad:
    """Detects start and end of speech in windows of 20 ms."""

    def __init__(self, config: VadConfig) -> None:
        self.config = config
        self.speaking = False
        self._run_windows = 0

    def process_frame(self, window: bytes) -> Change | None:
        """Process the next 20 ms; returns a transition, if any."""
        loud = loudest_dbfs(window) > self.config.level_dbfs
        self._run_windows = self._run_windows + 1 if loud != self.speaking else 0
        if not self.speaking and self._run_windows >= _ONSET_WINDOWS:
            return self._turn(speaking=True)
        if self.speaking and self._run_windows * WINDOW_MS >= self.config.silence_ms:
            return self._turn(speaking=False)
        return None

    def _turn(self, *, speaking: bool) -> Change:
        self.speaking = speaking
        self._run_windows = 0
        return Change.STARTED if speaking else Change.STOPPED
