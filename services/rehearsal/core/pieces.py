"""Splits an answer into the deltas to send, with the time at which each is due."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from services.rehearsal.core.faults import NO_FAULTS, AudioSchedule
from services.rehearsal.core.items import WordEnd, words_of
from services.rehearsal.core.sound import BYTES_PER_MS

_WORD_LEAD_BYTES = 200 * BYTES_PER_MS
_TEXT_DELTA_S = 0.02
_ARGUMENT_CHARS = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """One step of a response: deltas of text, then one of audio; the next piece is due ``lasts_s`` later."""

    words: tuple[WordEnd, ...]
    pcm: bytes
    lasts_s: float


def of_text(text: str) -> Iterator[Piece]:
    """Split text word by word."""
    for word in words_of(text):
        yield Piece((WordEnd(word, 0),), b"", _TEXT_DELTA_S)


def of_arguments(arguments: str) -> Iterator[Piece]:
    """Split arguments into deltas of a few characters."""
    for start in range(0, len(arguments), _ARGUMENT_CHARS):
        yield Piece((WordEnd(arguments[start : start + _ARGUMENT_CHARS], 0),), b"", _TEXT_DELTA_S)


class SpeechCutter:
    """Splits the sentences of an item, one after the other; positions count from the start of the item."""

    def __init__(self, delivery: AudioSchedule | None = None) -> None:
        self._delivery = delivery or AudioSchedule(NO_FAULTS)
        self._position = 0

    def cut(self, text: str, pcm: bytes) -> Iterator[Piece]:
        """Split a sentence: words are sent a little ahead of their audio, spread over it by their length."""
        words = _spread(text, self._position, len(pcm))
        end = self._position + len(pcm)
        while self._position < end:
            length = min(self._delivery.chunk_bytes(), end - self._position)
            start = len(pcm) - (end - self._position)
            self._position += length
            seen = end if self._position == end else self._position + _WORD_LEAD_BYTES
            ready = [word for begin, word in words if begin < seen]
            words = words[len(ready) :]
            yield Piece(tuple(ready), pcm[start : start + length], self._delivery.chunk_sent(length))


def _spread(text: str, position: int, length: int) -> list[tuple[int, WordEnd]]:
    """Each word with its start position, by its share of the characters."""
    words = words_of(text)
    total = sum(map(len, words)) or 1
    ends = [position + length * chars // total for chars in accumulate(map(len, words))]
    begins = [position, *ends[:-1]]
    return [(begin, WordEnd(word, end)) for begin, word, end in zip(begins, words, ends, strict=True)]
