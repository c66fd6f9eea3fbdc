"""When a word of an answer sounds: the provider sends text ahead of its audio and does not say."""

import re

from services.contracts.audio import DOWN_HZ

START_SAMPLES_PER_CHAR = DOWN_HZ / 15
"""Brisk English is 15 characters a second; every finished item of the session corrects it."""
_LIMITS = (DOWN_HZ / 60, DOWN_HZ / 3)
_MIN_CHARS_TO_LEARN = 12

_PIECES = re.compile(r"\s*\S+|\s+")


class Pace:
    """Samples per character of this session's voice."""

    def __init__(self) -> None:
        self._samples = 0
        self._chars = 0

    @property
    def samples_per_char(self) -> float:
        """What was learnt, or a start value."""
        if not self._chars:
            return START_SAMPLES_PER_CHAR
        low, high = _LIMITS
        return min(high, max(low, self._samples / self._chars))

    def position(self, chars: int, *, end: int | None = None) -> int:
        """The sample at which ``chars`` characters have been spoken; never beyond a known ``end``."""
        guess = round(chars * self.samples_per_char)
        return guess if end is None else min(guess, end)

    def learn(self, *, samples: int, chars: int) -> None:
        """An item is complete. A word or two says little about the pace, and one without sound nothing."""
        if chars >= _MIN_CHARS_TO_LEARN and samples:
            self._samples += samples
            self._chars += chars


def pieces(delta: str) -> list[str]:
    """``delta`` word by word, spaces kept: some providers send a whole sentence at once."""
    return _PIECES.findall(delta)
