"""The onset: when frames that may be speech open the gate."""

from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.level_tracking import NoiseFloor, TalkerLevel


class Onset:
    """Follows the frames of a closed gate. ``run``: frames in a row, up to the newest, that are possible speech."""

    def __init__(self, config: GateConfig) -> None:
        self.run = 0
        self._loudest_dbfs = 0.0  # of the run
        self.configure(config)

    def configure(self, config: GateConfig) -> None:
        """Use ``config`` from the next frame on."""
        self._probability = config.shifted(config.onset_probability)
        self._over_noise_db = config.over_noise_db
        self._within_db = config.open_within_db

    def reset(self) -> None:
        """Forget the run."""
        self.run = 0

    def on_frame(self, probability: float, level_dbfs: float) -> None:
        """Take in the score and the level of the next frame; a level that is unknown is infinite."""
        if probability < self._probability:
            self.run = 0
            return
        self._loudest_dbfs = max(self._loudest_dbfs, level_dbfs) if self.run else level_dbfs
        self.run += 1

    def opens(self, needed: int, noise: NoiseFloor, talker: TalkerLevel) -> bool:
        """Say whether the run is speech of the caller: ``needed`` frames, loud enough for it."""
        return self.run >= needed and self.is_loud(self._loudest_dbfs, noise, talker)

    def is_loud(self, level_dbfs: float, noise: NoiseFloor, talker: TalkerLevel) -> bool:
        """Say whether speech of that level can be the caller's."""
        return level_dbfs >= noise.dbfs + self._over_noise_db and level_dbfs >= talker.dbfs - self._within_db
