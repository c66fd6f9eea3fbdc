"""Estimates when a word of an answer is spoken: the provider sends text ahead of its audio, without times."""

import re

from services.contracts.audio import DOWN_HZ

START_SAMPLES_PER_CHAR = DOWN_HZ / 15
"""Fast English is 15 characters a second; every finished item of the session corrects it."""
_LIMITS = (DOWN_HZ / 60, DOWN_HZ / 3)
_MIN_CHARS_TO_LEARN = 12

_PIECES = re.compile(r"\s*\S+|\s+")


class SpeakingRate:
    """The speaking rate of this session's voice, in samples per character."""

    def __init__(self) -> None:
        self._samples = 0
        self._chars = 0

    @property
    def samples_per_char(self) -> float:
        """The average of the items so far, within limits; a start value before the first."""
        if not self._chars:
            return START_SAMPLES_PER_CHAR
        low, high = _LIMITS
        return min(high, max(low, self._samples / self._chars))

    def position(self, chars: int, *, end: int | None = None) -> int:
        """Return the sample at which ``chars`` characters are spoken; never beyond a known ``end``."""
        guess = round(chars * self.samples_per_char)
        return guess if end is None else min(guess, end)

    def learn(self, *, samples: int, chars: int) -> None:
        """Add a finished item to the average, unless it is too short to be representative or has no audio."""
        if chars >= _MIN_CHARS_TO_LEARN and samples:
            self._samples += samples
            self._chars += chars


def pieces(delta: str) -> list[str]:
    """Split ``delta`` into words, spaces kept: some providers send a whole sentence at once."""
    return _PIECES.findall(delta)
