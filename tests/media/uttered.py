"""Sampless of a caller in frames of 20 ms: a vowel, a hum, a tone, a hiss, silence; and speech-like answers."""

import numpy as np

from services.contracts.audio import DOWN_HZ, UP_FRAME_BYTES, UP_HZ

Waveform = np.ndarray[tuple[int], np.dtype[np.float64]]

PITCH_HZ = 120


def frames(samples: Waveform) -> list[bytes]:
    pcm = np.round(samples).astype("<i2").tobytes()
    return [pcm[at : at + UP_FRAME_BYTES] for at in range(0, len(pcm), UP_FRAME_BYTES)]


def _voice(count: int, *, low_hz: float, high_hz: float, high_gain: float) -> list[bytes]:
    t = np.arange(count * 320) / UP_HZ
    x = np.zeros(len(t))
    for number in range(1, 25):
        hz = number * PITCH_HZ
        gain = np.exp(-(((hz - low_hz) / 150) ** 2)) + high_gain * np.exp(-(((hz - high_hz) / 300) ** 2))
        x += gain * np.cos(2 * np.pi * hz * t + number**2)
    return frames(3000 * x)


def vowel(count: int) -> list[bytes]:
    return _voice(count, low_hz=600, high_hz=1300, high_gain=0.7)


def hum(count: int) -> list[bytes]:
    return _voice(count, low_hz=240, high_hz=1000, high_gain=0.02)


def tone(count: int, hz: float = 1000) -> list[bytes]:
    return frames(8000 * np.sin(2 * np.pi * hz * np.arange(count * 320) / UP_HZ))


def hiss(count: int, seed: int = 1) -> list[bytes]:
    return frames(np.random.default_rng(seed).normal(0, 2000, count * 320))


def silence(count: int) -> list[bytes]:
    return [bytes(UP_FRAME_BYTES)] * count


def babble(seconds: float, seed: int) -> Waveform:
    """Noise with the envelope and the falling spectrum of speech, at 24 kHz."""
    rng = np.random.default_rng(seed)
    count = int(seconds * DOWN_HZ)
    spectrum = np.fft.rfft(rng.normal(0, 1, count))
    hz = np.fft.rfftfreq(count, 1 / DOWN_HZ)
    x = np.fft.irfft(spectrum / (1 + (hz / 600) ** 2), count)
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * np.arange(count) / DOWN_HZ + seed)
    voice: Waveform = 5000 * x / x.std() * syllables
    return voice
