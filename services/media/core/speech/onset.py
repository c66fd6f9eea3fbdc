"""The onset: when frames that may be speech open the gate."""

import math
from typing import Final

from services.media.core.speech.gate_config import GateConfig

_CERTAINLY_NOT: Final = -1.0  # what a frame counts that is no speech
_MOST: Final = 2.0  # times what is needed: what did not open while an answer played is forgotten so soon
_LEAST: Final = 0.0001
_FAINTEST: Final = 0.05  # a lower score is silence, whoever is expected


class Onset:
    """Adds up the frames of a closed gate: speech for certain counts 1, what may be speech less, silence -1.

    ``frames``: since the sum was last 0, up to the newest; they are the beginning of the utterance if the gate opens.
    ``loudest_dbfs``: the highest level among them; infinite where one is unknown.
    """

    def __init__(self, config: GateConfig) -> None:
        self.frames = 0
        self._sum = 0.0
        self.loudest_dbfs = 0.0
        self.configure(config)

    def configure(self, config: GateConfig) -> None:
        """Use ``config`` from the next frame on."""
        self._from = config.shifted(config.onset_probability)
        self._certain = config.shifted(config.certain_probability)
        self._logit_from = _logit(self._from)
        self._logits = max(_logit(self._certain) - self._logit_from, _LEAST)
        self._most = _MOST * max(config.onset_frames, config.barge_in_onset_frames)

    def reset(self) -> None:
        """Forget the frames."""
        self.frames = 0
        self._sum = 0.0

    def on_frame(self, probability: float, level_dbfs: float, odds: float = 1.0) -> None:
        """Take in the score and the level of the next frame; a level that is unknown is infinite.

        ``odds``: multiply those of the score, unless it is silence: the frame is likelier, or less likely, speech than
        its score says.
        """
        if odds != 1.0 and probability >= _FAINTEST:
            probability = odds * probability / (1 - probability + odds * probability)
        if probability >= self._certain:
            counts = 1.0
        elif self.frames or probability >= self._from:
            counts = max((_logit(probability) - self._logit_from) / self._logits, _CERTAINLY_NOT)
        else:
            return
        self._sum = min(self._sum + counts, self._most)
        if self._sum <= 0:
            self.reset()
            return
        self.loudest_dbfs = max(self.loudest_dbfs, level_dbfs) if self.frames else level_dbfs
        self.frames += 1

    def opens(self, needed: int) -> bool:
        """Say whether the frames are as much speech as ``needed`` certain ones."""
        return self._sum >= needed


def _logit(probability: float) -> float:
    probability = min(max(probability, _LEAST), 1 - _LEAST)
    return math.log(probability / (1 - probability))
