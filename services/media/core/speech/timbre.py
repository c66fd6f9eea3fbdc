"""What kind of sound a frame is: voiced or not, an open vowel or a hum, a tone."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from services.contracts.audio import UP_HZ

_Samples = np.ndarray[tuple[int], np.dtype[np.float32]]

SAMPLES = 512
"""32 ms at 16 kHz: two periods of the lowest voice, and 31 Hz between the lines of its spectrum."""
_LINE_HZ = UP_HZ / SAMPLES


def _lines(low_hz: float, high_hz: float) -> slice:
    return slice(round(low_hz / _LINE_HZ), round(high_hz / _LINE_HZ))


_LOW, _OPEN = _lines(90, 400), _lines(400, 3500)
_TONES = _lines(350, 4000)
_VOICE_LAGS = slice(UP_HZ // 400, UP_HZ // 70)  # pitch from 70 to 400 Hz
_PERIODIC = slice(4, 256)  # of 1024 points: 60 Hz to 4 kHz
_HANN = np.hanning(SAMPLES).astype(np.float32)


def _own_correlation() -> Any:  # noqa: ANN401 - an array that numpy cannot type
    found = np.fft.irfft(np.abs(np.fft.rfft(_HANN, 2 * SAMPLES)) ** 2)[:SAMPLES]
    return (found / found[0])[_VOICE_LAGS].astype(np.float32)


_WINDOW_CORRELATION = _own_correlation()
VOICED = 0.6
"""Correlation with itself one pitch period later: voices reach 0.9, the noise of a cough 0.2 to 0.5."""
OPEN = 10 ** (-0.6)
"""Energy from 400 to 3500 Hz over that from 90 to 400: half of a voice's frames exceed it, a hum has a tenth of it."""
TONAL = 0.98
"""Share of two spectral peaks in the energy of 350 Hz to 4 kHz."""


@dataclass(frozen=True, slots=True)
class Timbre:
    """The sound of a frame.

    ``voiced``: it has a pitch. ``open``: it has much energy above a hum. ``tone_hz``: the stronger one of at most two
    pure tones that it consists of; 0: it is no tone. A vowel may look like one, but not for long at one frequency.
    """

    voiced: bool
    open: bool
    tone_hz: float


def timbre(pcm: bytes) -> Timbre:
    """Return the timbre of the last `SAMPLES` of ``pcm``, s16le at 16 kHz; at least so many are required."""
    samples = np.frombuffer(pcm, "<i2")[-SAMPLES:].astype(np.float32) * _HANN
    power = np.abs(np.fft.rfft(samples, 2 * SAMPLES)) ** 2
    periodic = np.zeros_like(power)
    periodic[_PERIODIC] = power[_PERIODIC]
    correlation = np.fft.irfft(periodic)
    voiced = float((correlation[_VOICE_LAGS] / _WINDOW_CORRELATION).max()) > VOICED * float(correlation[0])
    lines = power[::2]
    is_open = float(lines[_OPEN].sum()) > OPEN * float(lines[_LOW].sum())
    return Timbre(voiced, is_open, _tone_hz(lines[_TONES]) if is_open else 0.0)


def _tone_hz(lines: _Samples) -> float:
    """Return the frequency of the strongest line if it and the next peak, with their neighbours, are almost all."""
    left = lines.copy()
    strongest = int(left.argmax())
    peaks = 0.0
    for _ in range(2):
        at = int(left.argmax())
        peak = left[max(0, at - 2) : at + 3]
        peaks += float(peak.sum())
        peak[:] = 0
    is_tone = peaks > TONAL * (peaks + float(left.sum()) + 1.0)
    return (strongest + _TONES.start) * _LINE_HZ if is_tone else 0.0
