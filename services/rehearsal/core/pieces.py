"""Cuts what is said into the deltas that go out, and says when each is due."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from services.rehearsal.core.faults import NO_FAULTS, Delivery
from services.rehearsal.core.items import Spoken, words_of
from services.rehearsal.core.sound import BYTES_PER_MS

_WORD_LEAD_BYTES = 200 * BYTES_PER_MS
_TEXT_DELTA_S = 0.02
_ARGUMENT_CHARS = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """One step of a response: deltas of text, then one of audio; the next piece is due ``lasts_s`` later."""

    words: tuple[Spoken, ...]
    pcm: bytes
    lasts_s: float


def of_text(text: str) -> Iterator[Piece]:
    """Word by word."""
    for word in words_of(text):
        yield Piece((Spoken(word, 0),), b"", _TEXT_DELTA_S)


def of_arguments(arguments: str) -> Iterator[Piece]:
    """A few characters at a time."""
    for start in range(0, len(arguments), _ARGUMENT_CHARS):
        yield Piece((Spoken(arguments[start : start + _ARGUMENT_CHARS], 0),), b"", _TEXT_DELTA_S)


class SpeechCutter:
    """Cuts one sentence after the other of an item; positions count from the beginning of the item."""

    def __init__(self, delivery: Delivery | None = None) -> None:
        self._delivery = delivery or Delivery(NO_FAULTS)
        self._position = 0

    def cut(self, text: str, pcm: bytes) -> Iterator[Piece]:
        """Words go out a little ahead of their sound, spread over it by their length."""
        words = _spread(text, self._position, len(pcm))
        end = self._position + len(pcm)
        while self._position < end:
            length = min(self._delivery.chunk_bytes(), end - self._position)
            start = len(pcm) - (end - self._position)
            self._position += length
            seen = end if self._position == end else self._position + _WORD_LEAD_BYTES
            ready = [word for begin, word in words if begin < seen]
            words = words[len(ready) :]
            yield Piece(tuple(ready), pcm[start : start + length], self._delivery.sent(length))


def _spread(text: str, position: int, length: int) -> list[tuple[int, Spoken]]:
    """Each word with where it begins, by its share of the characters."""
    words = words_of(text)
    total = sum(map(len, words)) or 1
    ends = [position + length * chars // total for chars in accumulate(map(len, words))]
    begins = [position, *ends[:-1]]
    return [(begin, Spoken(word, end)) for begin, word, end in zip(begins, words, ends, strict=True)]
