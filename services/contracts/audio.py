"""The audio format between services: s16le mono, 16 kHz up, 24 kHz down, in frames of 20 ms."""

from dataclasses import dataclass
from typing import Final

FRAME_MS = 20
UP_HZ = 16_000
DOWN_HZ = 24_000
SAMPLE_BYTES = 2
UP_FRAME_SAMPLES = UP_HZ * FRAME_MS // 1000
DOWN_FRAME_SAMPLES = DOWN_HZ * FRAME_MS // 1000
UP_FRAME_BYTES = UP_FRAME_SAMPLES * SAMPLE_BYTES
DOWN_FRAME_BYTES = DOWN_FRAME_SAMPLES * SAMPLE_BYTES


@dataclass(slots=True, init=False)
class PcmFrame:
    """A frame of a caller's audio: ``pcm`` is 640 bytes, 20 ms of s16le mono at 16 kHz.

    ``index`` counts the frames of the call from 0 and is its audio clock: gaps are filled,
    so ``index * 20`` is the time in ms since the first packet.
    """

    index: Final[int]
    pcm: Final[bytes]

    def __init__(self, index: int, pcm: bytes) -> None:  # written out: made for every frame (ADR 9)
        self.index = index
        self.pcm = pcm


def samples_to_ms(samples: int, *, hz: int = DOWN_HZ) -> int:
    """Return the duration of ``samples`` at ``hz`` in whole milliseconds, rounded down."""
    return samples * 1000 // hz
