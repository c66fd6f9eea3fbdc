"""Levels that the gate compares a frame with: the noise between utterances, and the caller's speech so far."""

from typing import Final

from services.contracts.audio import FRAME_MS

_QUIETEST_NOISE_DBFS: Final = -75.0  # below it is digital silence, to which nothing is compared
_NOISE_FALLS: Final = 0.2  # share of the difference that the estimate falls by in a frame
_NOISE_RISES_DB: Final = 0.06  # what it rises by: 3 dB/s, slower than speech, so that it stays between the words
_NOBODY_DBFS: Final = -200.0
_QUIETEST_TALKER_DBFS: Final = -100.0
_TALKER_RISES: Final = 0.1  # share of the difference, in a frame
_TALKER_FALLS: Final = 0.02
_FADES_AFTER: Final = 5000 // FRAME_MS


class NoiseFloor:
    """The level of the noise: falls at once, rises slowly. ``dbfs``: -75 until a frame without speech has been seen."""

    def __init__(self) -> None:
        self.dbfs = _QUIETEST_NOISE_DBFS
        self._known = False

    def on_noise(self, level_dbfs: float) -> None:
        """Take in the level of a frame without speech."""
        level_dbfs = max(level_dbfs, _QUIETEST_NOISE_DBFS)
        if not self._known:
            self.dbfs = level_dbfs
            self._known = True
        elif level_dbfs < self.dbfs:
            self.dbfs += (level_dbfs - self.dbfs) * _NOISE_FALLS
        else:
            self.dbfs += min(_NOISE_RISES_DB, level_dbfs - self.dbfs)


class TalkerLevel:
    """The level of who speaks: follows louder speech fast, quieter speech slowly, and fades in silence.

    ``dbfs``: of the speech so far; very low while there was none, or all of it has faded.
    """

    def __init__(self) -> None:
        self.dbfs = _NOBODY_DBFS
        self._silent = 0

    def on_speech(self, level_dbfs: float) -> None:
        """Take in the level of a frame that is speech."""
        self._silent = 0
        if self.dbfs <= _QUIETEST_TALKER_DBFS:
            self.dbfs = level_dbfs
        else:
            difference = level_dbfs - self.dbfs
            self.dbfs += difference * (_TALKER_RISES if difference > 0 else _TALKER_FALLS)

    def on_silence(self, fade_db: float) -> None:
        """Take in a frame that is no speech. After 5 s of them the level falls by ``fade_db`` with each."""
        self._silent += 1
        if self._silent > _FADES_AFTER:
            self.dbfs = max(self.dbfs - fade_db, _NOBODY_DBFS)
