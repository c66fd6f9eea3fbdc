"""Whether a caller's sound is the echo of what was played to it.

Both are compared at 4 kHz, where most of an echo's energy is: the lag of the largest correlation is found, then the
filter of 64 taps by which what was played explains the most of what was received. Of an echo it explains half or more,
also after a codec, a room and a far end's canceller; of another voice a tenth.
"""

import math
from collections import deque
from typing import Any

import numpy as np

from services.contracts.audio import DOWN_HZ, FRAME_MS, SAMPLE_BYTES, UP_HZ, PcmFrame

_Array = np.ndarray[tuple[int], np.dtype[np.float32]]

HZ = 4000
WINDOW_MS = 320
"""How much of the caller is compared. Less mistakes a voice for an echo more often, more notices a voice later."""
MAX_LAG_MS = 600
"""From sending audio to receiving its echo: network and buffers both ways, loudspeaker, room."""
TAPS = 64  # 16 ms: the direct sound and the first reflections
SURE = 0.45
"""Share that makes an echo, and its path known."""
CERTAIN = 0.65
"""The same for a sound that has just begun, in a call without echo so far: it is short, and may be like what was played
by chance."""
LIKELY = 0.25
"""The same where there was an echo lately."""
ABSENT = 0.15
"""Share below which no echo is to be heard."""
KNOWN = 0.12
"""Share explained by the path that is known; of another voice it explains nothing."""
_RECENT = HZ // 10  # what an echo does not explain of the last 100 ms shows a voice that has just begun
_WINDOW, _LAGS = HZ * WINDOW_MS // 1000, HZ * MAX_LAG_MS // 1000
_POINTS = 4096  # not less than window and lags together
_FAINT = 0.1  # share of the window's energy that its end must have to be looked at by itself
_REMEMBERED = 10 * HZ  # for 10 s an echo is likely after one
_OFTEN = 2  # so often no echo was found where it is unlikely
_EARLY = 16  # taps before the lag: the correlation may be the largest at a reflection
_GAP = HZ // 50  # a frame that begins later than 20 ms after the end of the one before does not continue it
_FRAMES = WINDOW_MS // FRAME_MS
_MOST_CHUNKS = (WINDOW_MS + MAX_LAG_MS) // FRAME_MS + 4
_EMPHASIS = np.float32(0.9)


class EchoDetector:
    """Keeps the last second of what was played and received, and compares them when asked. Costs little until then.

    The path of an echo stays: once found, its filter is remembered, and tells the echo from a voice at once.
    """

    def __init__(self) -> None:
        self._played: deque[tuple[int, bytes]] = deque(maxlen=_MOST_CHUNKS)  # position of the first sample; 24 kHz
        self._received: deque[bytes] = deque(maxlen=_FRAMES)
        self._received_end = 0
        self._offset_s = math.inf  # least time from a frame's place in the call to its reception
        self._found_at = -_REMEMBERED
        self._path: tuple[int, _Array] | None = None  # first tap's position in what was played, taps
        self._absent = 0  # times in a row that no echo was found when nobody spoke

    @property
    def is_likely(self) -> bool:
        """Whether there was an echo in the last seconds."""
        return self._received_end - self._found_at < _REMEMBERED

    def on_played(self, pcm: bytes, *, now: float) -> None:
        """Record audio, s16le at 24 kHz, that begins to be played at ``now``."""
        position = round(now * HZ)
        if self._played:
            start, before = self._played[-1]
            end = start + len(before) // SAMPLE_BYTES * HZ // DOWN_HZ
            if abs(position - end) < _GAP:
                position = end
        self._played.append((position, pcm))

    def on_received(self, frame: PcmFrame, *, now: float) -> None:
        """Record a frame of the caller that was received at ``now``: its place in the call is its time."""
        self._received.append(frame.pcm)
        place_s = frame.index * FRAME_MS / 1000
        self._offset_s = min(self._offset_s, now - place_s)
        self._received_end = round((self._offset_s + place_s) * HZ)

    def look(self) -> None:
        """Look for an echo while nobody seems to speak: its path is then known, or that there is hardly one."""
        share = self._share()
        self._absent = self._absent + 1 if share < ABSENT else 0
        if share >= SURE:
            self._found_at = self._received_end

    def is_echo(self, *, begins: bool = False) -> bool:
        """Say whether what was received lately is an echo of what was played.

        ``begins``: it has just begun. Then more of it must be explained, unless an echo is likely in this call.
        """
        unlikely = begins and self._path is None and self._absent >= _OFTEN
        needed = LIKELY if self.is_likely else CERTAIN if unlikely else SURE
        found = self._share() >= needed
        if found:
            self._found_at = self._received_end
        return found

    def _share(self) -> float:
        """Return the share that is explained; 1, if enough is by the path that is known."""
        if len(self._received) < _FRAMES or not self._played:
            return 0.0
        received = _emphasised(_decimated(b"".join(self._received), UP_HZ))
        energy = float(received @ received)
        played = _emphasised(self._before(self._received_end))
        played_energy = np.concatenate((np.zeros(1), np.cumsum(played.astype(np.float64) ** 2)))
        under = played_energy[_WINDOW:] - played_energy[:-_WINDOW]  # by the position in ``played``
        if energy < 1.0 or under.max() < 1.0:
            return 0.0
        if self._path is not None and _explained(received, _delayed(played, self._path[0]), self._path[1]) >= KNOWN:
            return 1.0
        spectrum = np.conj(np.fft.rfft(received, _POINTS)) * np.fft.rfft(played, _POINTS)
        correlation = np.fft.irfft(spectrum, _POINTS)[: _LAGS + 1]
        likeness = np.abs(correlation) / np.sqrt(np.maximum(under, under.max() * 1e-3))
        position = min(max(0, int(likeness.argmax()) + _EARLY - TAPS + 1), _LAGS + 1 - TAPS)
        delayed = _delayed(played, position)
        taps = _best_taps(received, delayed)
        share = _explained(received, delayed, taps)
        if share >= SURE:
            self._path = (position, taps)
        return share

    def _before(self, end: int) -> _Array:
        """Return what was played until ``end``, at 4 kHz."""
        length = _WINDOW + _LAGS
        begin = end - length
        out = np.zeros(length, np.float32)
        runs: list[tuple[int, list[bytes]]] = []
        expected = -1
        for position, pcm in self._played:
            if position != expected:
                runs.append((position, []))
            runs[-1][1].append(pcm)
            expected = position + len(pcm) // SAMPLE_BYTES * HZ // DOWN_HZ
        for position, parts in runs:
            samples = _decimated(b"".join(parts), DOWN_HZ)
            skip = max(0, begin - position)
            at = max(0, position - begin)
            samples = samples[skip : skip + max(0, length - at)]
            out[at : at + len(samples)] = samples
        return out


def _decimated(pcm: bytes, hz: int) -> _Array:
    """Return s16le audio at 4 kHz: averages down to 8 kHz, then a short low-pass."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    eight = samples.reshape(-1, hz // (2 * HZ)).mean(axis=1)
    padded: Any = np.concatenate((eight[:1], eight, eight[-1:], eight[-1:]))
    out: _Array = (padded[0:-3:2] + 3 * padded[1:-2:2] + 3 * padded[2:-1:2] + padded[3::2]) / np.float32(8)
    return out


def _emphasised(samples: _Array) -> _Array:
    """Return the samples with low frequencies weakened: the spectrum of voices falls, and correlates by itself."""
    out: _Array = samples.copy()
    out[1:] -= _EMPHASIS * samples[:-1]
    out[0] = 0
    return out


def _delayed(played: _Array, first: int) -> Any:  # noqa: ANN401 - an array of two dimensions
    """Return what was played as each tap sees it, one row a tap."""
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(played, _WINDOW)[first : first + TAPS])


def _best_taps(received: _Array, delayed: Any) -> _Array:  # noqa: ANN401 - as above
    """Return the filter that explains the most of what was received."""
    own = delayed @ delayed.T
    own[np.diag_indices(TAPS)] += np.trace(own) / TAPS * np.float32(1e-3) + np.float32(1.0)
    taps: _Array = np.linalg.solve(own, delayed @ received)
    return taps


def _explained(received: _Array, delayed: Any, taps: _Array) -> float:  # noqa: ANN401 - as above
    """Return what share of the energy the filter explains: of the window, or of its end if that is less."""
    left = received - taps @ delayed
    energy = float(received @ received)
    whole = 1.0 - float(left @ left) / energy
    recent, rest = received[-_RECENT:], left[-_RECENT:]
    recent_energy = float(recent @ recent)
    if recent_energy < energy * _FAINT:
        return whole
    return min(whole, 1.0 - float(rest @ rest) / recent_energy)
