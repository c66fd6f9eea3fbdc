"""Finds each piece of sent audio in the received audio."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from services.callers.audio_sink import ReceivedPacket
from services.callers.correlation import best_match
from services.callers.speech import Samples

HZ = 24_000
FRAME = 480
PIECE = 1440
"""60 ms: long enough to be found, short enough to see a frame that is missing."""
_AUDIBLE = 600.0
_MATCHED = 0.93
_NEAR = 1200
_LONGEST_GAP = 6 * HZ
_RTP_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class AlignedPiece:
    """A piece that begins at sample ``sent`` of the sent audio and ``delay`` samples later in the received."""

    sent: int
    delay: int
    correlation: float


def align(sent: Samples, received: Samples) -> list[AlignedPiece]:
    """Find all audible pieces, in order; each is searched from a little before its predecessor's place."""
    found: list[AlignedPiece] = []
    delay = 0
    for start in range(0, len(sent) - PIECE, PIECE):
        piece = sent[start : start + PIECE]
        if np.sqrt(np.mean(piece.astype(np.float64) ** 2)) < _AUDIBLE:
            continue
        low = max(0, start + delay - _NEAR)
        near = _match(piece, received, low, start + delay + PIECE + _NEAR)
        best = (
            near
            if near[1] >= _MATCHED
            else max(near, _match(piece, received, low, low + _LONGEST_GAP), key=_correlation)
        )
        found.append(AlignedPiece(start, best[0] - start, best[1]))
        if best[1] >= _MATCHED:
            delay = best[0] - start
    return found


def matched(found: list[AlignedPiece]) -> list[AlignedPiece]:
    """Return the pieces that were received whole, not divided by a gap."""
    return [piece for piece in found if piece.correlation >= _MATCHED]


def jumps(found: list[AlignedPiece]) -> list[int]:
    """Return by how many samples the delay grows from piece to piece, where it does."""
    return [late.delay - early.delay for early, late in pairwise(matched(found)) if abs(late.delay - early.delay) > 1]


def breaks(packets: list[ReceivedPacket]) -> list[tuple[int, int]]:
    """Return the first and last sample of each gap in RTP time, counted from the first packet."""
    first = packets[0].timestamp
    places = [(packet.timestamp - first) // _RTP_PER_SAMPLE for packet in packets]
    return [(early + FRAME, late) for early, late in pairwise(places) if late - early != FRAME]


def steepest(sound: Samples) -> int:
    """Return the largest difference between adjacent samples."""
    return int(np.abs(np.diff(sound.astype(np.int32))).max(initial=0))


def _match(piece: Samples, received: Samples, low: int, high: int) -> tuple[int, float]:
    window = received[low:high]
    if len(window) < len(piece) or not window.any():
        return low, 0.0
    match = best_match(piece, window)
    return low + match.lag, match.peak


def _correlation(match: tuple[int, float]) -> float:
    return match[1]
