"""The two clocks of an open gate: what is still sent after speech, and how long the caller has been silent.

The turn clock runs from the last frame that is speech for certain. The send clock also takes frames that may be speech,
for a short while, and then a tail; so faint ends of words are sent, and noise does not delay the end of the turn.
"""

import math

from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.level_tracking import NoiseFloor, TalkerLevel


class Clocks:
    """``silence``: frames since the last speech that counted for the turn."""

    def __init__(self, config: GateConfig) -> None:
        self.silence = 0
        self._run = 0  # frames of speech in a row
        self._tail = 0  # frames since the last that was sent for its score
        self.configure(config)

    def configure(self, config: GateConfig) -> None:
        """Use ``config`` from the next frame on."""
        self._config = config
        self._turn_probability = config.shifted(config.turn_probability)
        self._doubt_probability = config.shifted(config.doubt_probability)

    def start(self) -> None:
        """Start after an onset."""
        self.silence = 0
        self._run = self._config.resume_frames
        self._tail = 0

    def is_speech(self, probability: float, level_dbfs: float, talker: TalkerLevel) -> bool:
        """Take in the next frame, and say whether it is speech for certain: it restarts both clocks."""
        speech = probability >= self._turn_probability and level_dbfs >= talker.dbfs - self._config.hold_within_db
        self._run = self._run + 1 if speech else 0
        if self._run >= self._config.resume_frames:
            self.silence = 0
            self._tail = 0
            return True
        self.silence += 1
        return False

    def is_doubtful(self, probability: float) -> bool:
        """Say whether the frame, which is not speech for certain, is sent with all that is held."""
        if probability < self._doubt_probability or self.silence > self._config.doubt_frames:
            return False
        self._tail = 0
        return True

    def in_tail(self, level_dbfs: float, noise: NoiseFloor) -> bool:
        """Say whether the frame is sent as part of the tail. Ask no more when a frame is held."""
        self._tail += 1
        if self._tail <= self._config.tail_frames:
            return True
        audible = noise.dbfs + self._config.audible_db <= level_dbfs < math.inf
        return audible and self._tail <= self._config.tail_frames + self._config.audible_tail_frames
