"""Where each piece of what was said lies in what was heard."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from services.callers.correlation import best_match
from services.callers.ear import ReceivedPacket
from services.callers.speech import Samples

HZ = 24_000
FRAME = 480
PIECE = 1440
"""60 ms: long enough to be found, short enough to see a frame that is missing."""
_AUDIBLE = 600.0
_SURE = 0.93
_NEAR = 1200
_LONGEST_GAP = 6 * HZ
_RTP_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class Found:
    """A piece that begins at sample ``said`` of what was said, heard ``later`` samples after that."""

    said: int
    later: int
    likeness: float


def align(said: Samples, heard: Samples) -> list[Found]:
    """All audible pieces in order; each is sought from a little before its predecessor's place on."""
    found: list[Found] = []
    later = 0
    for start in range(0, len(said) - PIECE, PIECE):
        piece = said[start : start + PIECE]
        if np.sqrt(np.mean(piece.astype(np.float64) ** 2)) < _AUDIBLE:
            continue
        low = max(0, start + later - _NEAR)
        near = _match(piece, heard, low, start + later + PIECE + _NEAR)
        best = near if near[1] >= _SURE else max(near, _match(piece, heard, low, low + _LONGEST_GAP), key=_likeness)
        found.append(Found(start, best[0] - start, best[1]))
        if best[1] >= _SURE:
            later = best[0] - start
    return found


def sure(found: list[Found]) -> list[Found]:
    """The pieces that were heard whole; those that a break cut in two are not."""
    return [piece for piece in found if piece.likeness >= _SURE]


def jumps(found: list[Found]) -> list[int]:
    """By how many samples pieces lag more behind than the one before; equal ones are left out."""
    return [late.later - early.later for early, late in pairwise(sure(found)) if abs(late.later - early.later) > 1]


def breaks(packets: list[ReceivedPacket]) -> list[tuple[int, int]]:
    """Where nothing was sent: first and last sample of each gap, by RTP time, counted from the first packet."""
    first = packets[0].timestamp
    places = [(packet.timestamp - first) // _RTP_PER_SAMPLE for packet in packets]
    return [(early + FRAME, late) for early, late in pairwise(places) if late - early != FRAME]


def steepest(sound: Samples) -> int:
    """The largest step from sample to sample."""
    return int(np.abs(np.diff(sound.astype(np.int32))).max(initial=0))


def _match(piece: Samples, heard: Samples, low: int, high: int) -> tuple[int, float]:
    window = heard[low:high]
    if len(window) < len(piece) or not window.any():
        return low, 0.0
    match = best_match(piece, window)
    return low + match.lag, match.peak


def _likeness(match: tuple[int, float]) -> float:
    return match[1]
