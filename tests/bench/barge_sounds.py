"""What a caller may utter, or a microphone hear, while an answer plays: 16 kHz mono, peak about 1.

Speech: the recordings beside the repository where present, and the voices of flite. Everything else is generated.
Each sound begins within its first frame above -30 dB of its loudest, so that its onset is known.
"""

import json
import subprocess
import tempfile
import wave
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HZ = 16_000
FRAME = HZ // 50
RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "speech"
VOICES = ("kal16", "awb", "rms", "slt")
COMMANDS = (
    "Stop.",
    "No, wait a moment.",
    "Hold on a second, please.",
    "What about tomorrow?",
    "Yes.",
    "I don't think that is right.",
    "Sorry, can you say that again?",
    "Actually, let's do something else.",
    "Thank you, that is enough.",
    "Excuse me.",
    "Four five seven.",
    "Who is this?",
)
ANSWERS = (
    "The weather will be sunny for most of the day, with a light breeze from the west and some clouds at night.",
    "You have three appointments tomorrow. The first is at nine in the morning with the dentist in the high street.",
    "To reset the device, hold the power button for ten seconds, wait until the light is green, and then let it go.",
)
BACKCHANNELS = ("uh-huh", "yeah", "okay")
Sound = np.ndarray[Any, np.dtype[np.float64]]
Rng = np.random.Generator


def resample(x: Sound, hz_in: int, hz_out: int) -> Sound:
    """Resample by the spectrum; short sounds only."""
    if hz_in == hz_out:
        return x
    spectrum = np.fft.rfft(x)
    length = round(len(x) * hz_out / hz_in)
    out = np.zeros(length // 2 + 1, complex)
    common = min(len(out), len(spectrum))
    out[:common] = spectrum[:common]
    return np.fft.irfft(out, length) * (length / len(x))


def read_wave(path: Path) -> Sound:
    with wave.open(str(path)) as file:
        x = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float) / 32768
        return resample(x, file.getframerate(), HZ)


def trimmed(x: Sound, *, below_db: float = 30) -> Sound:
    """Cut silence at both ends, and scale the peak to 1."""
    ten = HZ // 100
    level = np.array([np.sqrt(np.mean(x[at : at + ten] ** 2)) for at in range(0, max(1, len(x) - ten), ten)])
    loud = np.flatnonzero(level > level.max() * 10 ** (-below_db / 20))
    x = x[loud[0] * ten : (loud[-1] + 2) * ten]
    whole: Sound = x / np.abs(x).max()
    return whole


@cache
def said(voice: str, text: str) -> Sound:
    """What a voice of flite says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)  # noqa: S603, S607
        return trimmed(read_wave(path))


@cache
def _recorded_turns() -> list[tuple[Path, float, float]]:
    if not (RECORDINGS / "manifest.json").exists():
        return []
    streams = json.loads((RECORDINGS / "manifest.json").read_text())["streams"]
    found = []
    for stream in streams:
        ended = -1.0
        for start, end in stream["speech"]:
            if start - ended > 0.3 and end - start > 0.25:
                found.append((RECORDINGS / stream["file"], start, end))
            ended = end
    return found


@cache
def _recording(path: Path) -> Sound:
    return read_wave(path)


def recorded(rng: Rng) -> Sound | None:
    """The beginning of a turn in the recordings, up to 2 s."""
    turns = _recorded_turns()
    if not turns:
        return None
    while True:
        path, start, end = turns[rng.integers(len(turns))]
        x = _recording(path)[int((start - 0.05) * HZ) : int(min(end + 0.05, start + 2) * HZ)]
        if len(x) > HZ // 4 and np.abs(x).max() > 0.01:
            return trimmed(x)


def speech(rng: Rng) -> Sound:
    x = recorded(rng) if rng.random() < 0.7 else None
    return x if x is not None else said(str(rng.choice(VOICES)), str(rng.choice(COMMANDS)))


def _harmonics(pitch: Sound, gains: Any, rng: Rng) -> Sound:  # noqa: ANN401 - a function of the frequency
    phase = 2 * np.pi * np.cumsum(pitch) / HZ
    x = np.zeros(len(pitch))
    for number in range(1, 40):
        x += gains(number * pitch) * np.cos(number * phase + rng.uniform(0, 6.28))
    return x


def _nasal(hz: Sound) -> Sound:
    """The spectrum of a nasal murmur: a pole at 250 Hz, weak ones at 1 and 2.2 kHz."""
    low = 1 / (1 + ((hz - 250) / 120) ** 2)
    middle = 0.06 / (1 + ((hz - 1000) / 150) ** 2)
    high = 0.02 / (1 + ((hz - 2200) / 200) ** 2)
    return np.where(hz < 3800, low + middle + high, 0.0)


def hummed(rng: Rng) -> Sound:
    """A generated "mm-hm": two nasal syllables with rising pitch, a breath between; or one long "mmm"."""
    base = rng.uniform(85, 240)
    first, gap, second = rng.uniform(0.12, 0.22), rng.uniform(0.0, 0.09), rng.uniform(0.16, 0.35)
    parts = []
    for length, rise in ((first, rng.uniform(-0.1, 0.05)), (second, rng.uniform(0.0, 0.3))):
        n = int(length * HZ)
        t = np.linspace(0, 1, n)
        pitch = base * (1 + rise * t + 0.01 * np.sin(2 * np.pi * 5 * t * length))
        edge = np.minimum(1, np.minimum(t * length / 0.03, (1 - t) * length / 0.05))
        parts.append(_harmonics(pitch, _nasal, rng) * edge)
    n = int(gap * HZ)
    breath = np.convolve(rng.standard_normal(n + 8), np.ones(4) / 4)[:n] * np.abs(parts[0]).max() * 0.05
    if rng.random() < 0.3:
        return trimmed(parts[1])
    return trimmed(np.concatenate([parts[0], breath, parts[1]]))


def backchannel(rng: Rng) -> Sound:
    return said(str(rng.choice(VOICES)), str(rng.choice(BACKCHANNELS)))


def _band(x: Sound, low: float, high: float, slope: float = 0.0) -> Sound:
    spectrum = np.fft.rfft(x)
    hz = np.fft.rfftfreq(len(x), 1 / HZ)
    gain = ((hz > low) & (hz < high)) * np.maximum(hz, 50.0) ** slope
    return np.fft.irfft(spectrum * gain, len(x))


def cough(rng: Rng) -> Sound:
    """One to three coughs: a burst of broadband noise, a noisy phase, and at times a voiced end."""
    out = []
    for _ in range(rng.integers(1, 4)):
        burst, tail = int(rng.uniform(0.03, 0.07) * HZ), int(rng.uniform(0.12, 0.3) * HZ)
        n = burst + tail
        envelope = np.concatenate(
            [np.exp(-np.arange(burst) / (burst / 2)), 0.45 * np.exp(-np.arange(tail) / (tail / 3))]
        )
        envelope[: HZ // 500] *= np.linspace(0, 1, HZ // 500)
        noise = _band(rng.standard_normal(n), 150, 7500, rng.uniform(-0.6, -0.1))
        noise /= noise.std()
        formant = np.convolve(
            noise,
            np.cos(2 * np.pi * rng.uniform(600, 1500) * np.arange(160) / HZ) * np.exp(-np.arange(160) / 40),
            "same",
        )
        x = (noise + 0.5 * formant / formant.std()) * envelope
        if rng.random() < 0.5:
            voiced_n = int(rng.uniform(0.06, 0.14) * HZ)
            pitch = np.linspace(rng.uniform(180, 320), rng.uniform(120, 180), voiced_n)
            voiced = _harmonics(pitch, lambda hz: 1 / (1 + (hz / 600) ** 2), rng)
            start = max(0, n - int(1.3 * voiced_n))
            voiced *= np.hanning(voiced_n) * 0.5 * x.std() / voiced.std()
            x[start : start + voiced_n] += voiced[: len(x[start : start + voiced_n])]
        out += [x * rng.uniform(0.5, 1), np.zeros(int(rng.uniform(0.08, 0.3) * HZ))]
    return trimmed(np.concatenate(out))


def _edges(x: Sound, ms: float = 5) -> Sound:
    n = int(ms * HZ / 1000)
    x[:n] *= np.linspace(0, 1, n)
    x[-n:] *= np.linspace(1, 0, n)
    return x


def beep(rng: Rng) -> Sound:
    """One tone, two tones, or a telephone's busy tone; once or repeated."""
    length, hz = rng.uniform(0.1, 0.8), rng.uniform(350, 2500)
    t = np.arange(int(length * HZ)) / HZ
    x = np.sin(2 * np.pi * hz * t)
    if rng.random() < 0.4:
        x += np.sin(2 * np.pi * hz * rng.choice([1.09, 1.25, 2, 3]) * t) * rng.uniform(0.2, 1)
    x = _edges(x)
    if rng.random() < 0.4:
        pause = np.zeros(int(rng.uniform(0.05, 0.3) * HZ))
        x = np.concatenate([x, pause, x, pause, x])
    return trimmed(x)


def dtmf(rng: Rng) -> Sound:
    keys = []
    for _ in range(rng.integers(1, 6)):
        t = np.arange(int(rng.uniform(0.06, 0.2) * HZ)) / HZ
        low, high = rng.choice([697, 770, 852, 941]), rng.choice([1209, 1336, 1477])
        keys += [_edges(np.sin(2 * np.pi * low * t) + np.sin(2 * np.pi * high * t)), np.zeros(int(0.08 * HZ))]
    return trimmed(np.concatenate(keys))


def door(rng: Rng) -> Sound:
    """A thud with a decay of low resonances, and a rattle."""
    n = int(rng.uniform(0.25, 0.7) * HZ)
    t = np.arange(n) / HZ
    x = _band(rng.standard_normal(n), 30, 1200, -0.7)
    x = x / x.std() * np.exp(-t / rng.uniform(0.04, 0.12))
    for _ in range(4):
        x += rng.uniform(0.3, 1.5) * np.sin(2 * np.pi * rng.uniform(60, 400) * t) * np.exp(-t / rng.uniform(0.03, 0.12))
    latch = _band(rng.standard_normal(n), 1500, 7000)
    at = int(rng.uniform(0.0, 0.1) * HZ)
    x += np.roll(latch / latch.std() * np.exp(-t / 0.01), at) * rng.uniform(0.2, 1)
    return trimmed(x)


def click(rng: Rng) -> Sound:
    """Keys of a keyboard, a pen, a tap on the microphone."""
    out = []
    for _ in range(rng.integers(1, 8)):
        n = int(rng.uniform(0.01, 0.04) * HZ)
        x = _band(rng.standard_normal(n), rng.uniform(100, 1500), 7500)
        out += [x / x.std() * np.exp(-np.arange(n) / (n / 4)), np.zeros(int(rng.uniform(0.05, 0.25) * HZ))]
    return trimmed(np.concatenate(out))


def answer(rng: Rng) -> Sound:
    """What the gateway plays: about six seconds."""
    return said(str(rng.choice(VOICES)), str(rng.choice(ANSWERS)))


def room(rng: Rng) -> Sound:
    """From a loudspeaker to its microphone: direct sound, early reflections, a decay of 0.1 to 0.4 s."""
    n = int(0.25 * HZ)
    decay = rng.uniform(0.1, 0.4) / 6.9
    late = rng.standard_normal(n) * np.exp(-np.arange(n) / HZ / decay)
    h = late * rng.uniform(0.02, 0.12)
    h[0] += 1
    for _ in range(6):
        h[rng.integers(20, 400)] += rng.uniform(-0.5, 0.5)
    loudspeaker = _band(np.concatenate([[1.0], np.zeros(255)]), rng.uniform(150, 400), rng.uniform(3500, 7500))
    return np.convolve(h, loudspeaker)


def noise(rng: Rng, samples: int) -> Sound:
    """Pink noise of a root mean square of 1."""
    x = _band(rng.standard_normal(samples), 40, 7800, -0.5)
    x /= x.std()
    return x


class EchoPath:
    """From a loudspeaker to what its caller sends: a room, a delay, and the canceller of the caller's own end.

    A canceller leaves a weaker echo, with gaps in time and frequency, and what its loudspeaker distorts.
    """

    def __init__(self, rng: Rng, *, gain_db: float, delay_ms: float, canceller: bool) -> None:
        self._rng = rng
        self._room = room(rng)
        self._room *= 10 ** (gain_db / 20) / np.sqrt((self._room**2).sum())
        self._canceller = canceller
        self._gain = rng.uniform(0.0, 0.6, 161)
        self._coming = np.zeros(int(delay_ms * HZ / 1000) + len(self._room) + FRAME)

    def heard(self, played: Sound) -> Sound:
        """Play 20 ms, and return the 20 ms that are sent back meanwhile."""
        loud = np.tanh(2 * played) / 2 if self._canceller else played
        echo = np.convolve(loud, self._room)
        self._coming[-len(echo) - 1 : -1] += echo
        now = self._coming[:FRAME].copy()
        self._coming = np.concatenate([self._coming[FRAME:], np.zeros(FRAME)])
        if self._canceller:
            fresh = np.repeat(self._rng.uniform(0.0, 0.8, 23), 7)
            self._gain = 0.7 * self._gain + 0.3 * fresh
            now = np.fft.irfft(np.fft.rfft(now) * self._gain, FRAME)
        return now
