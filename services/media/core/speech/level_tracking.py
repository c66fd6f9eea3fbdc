"""Levels that the gate compares a frame with: the noise between utterances, and the caller's speech so far."""

from typing import Final

_QUIETEST_NOISE_DBFS: Final = -75.0  # below it is digital silence, to which nothing is compared
_NOISE_FALLS: Final = 0.2  # share of the difference that the estimate falls by in a frame
_NOISE_RISES_DB: Final = 0.06  # what it rises by: 3 dB/s, slower than speech, so that it stays between the words
_NOBODY_DBFS: Final = -200.0
_TALKER_RISES: Final = 0.1  # share of the difference, in a frame
_TALKER_FALLS: Final = 0.02
_KNOWN_FRAMES: Final = 50  # a second of speech: noise that opens the gate hardly ever scores so high for so long
_RISES_AFTER_ONSET_DB: Final = 6.0  # speech is mostly so much louder later than at its beginning, at most


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
    """The level of who speaks: follows louder speech fast, quieter speech slowly.

    ``dbfs``: of the speech so far; very low before the first.
    """

    def __init__(self) -> None:
        self.dbfs = _NOBODY_DBFS
        self._frames = 0

    @property
    def is_known(self) -> bool:
        """Whether a second of speech has been heard: it was no noise."""
        return self._frames >= _KNOWN_FRAMES

    def on_speech(self, level_dbfs: float) -> None:
        """Take in the level of a frame that is speech."""
        self._frames += 1
        if self.dbfs == _NOBODY_DBFS:
            self.dbfs = level_dbfs
        else:
            difference = level_dbfs - self.dbfs
            self.dbfs += difference * (_TALKER_RISES if difference > 0 else _TALKER_FALLS)

    def on_open(self, loudest_dbfs: float) -> None:
        """Take in the level of an onset: whoever opens the gate is the caller, also one who speaks more quietly."""
        self.dbfs = min(self.dbfs, loudest_dbfs + _RISES_AFTER_ONSET_DB)
