"""A small labelled set for the gate, made of flite's voices and generated noise: the same audio at each run."""

import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from services.contracts.audio import UP_FRAME_BYTES, UP_HZ
from services.gate.core.measures import Labels, Segment, merged
from services.gate.core.wav import Floats, WavFormat, decode

VOICES = ("slt", "rms", "awb", "kal16")
SENTENCES = (
    "I would like to change my booking for next Tuesday",
    "no",
    "could you tell me what time it opens",
    "yes please",
    "the number is four seven one, nine nine two, three",
    "hello, I am calling about the invoice that you sent last week",
    "thanks, that is all",
    "it starts, and then after a minute it simply stops",
)
TURNS = 8
_PAUSES_S, _GAPS_S = (0.25, 0.45), (1.8, 3.5)
"""Of a speaker within a turn, and between turns."""
_QUIET = 10 ** (-38 / 20)
"""Of a sentence's peak: what is quieter than that is a pause."""
_WORD_GAP_S = 0.12
_NOISE_S = 60


@dataclass(frozen=True, slots=True)
class MadeStream:
    """A stream of 640-byte frames. ``cell``: which figures it counts for."""

    name: str
    cell: str
    frames: list[bytes]
    labels: Labels


CELLS = (
    "main: clean, SNR 20 and 10, codec",
    "quiet: talker 20 dB down",
    "hard: SNR 5",
    "hard: background voices",
    "nospeech: noise only",
)
_MAIN, _SOFT, _HARD, _VOICES, _SILENT = CELLS


def streams() -> Iterator[MadeStream]:
    """Yield all streams, about 25 minutes.

    Raises:
        FileNotFoundError: flite is not installed.
    """
    noises = _noises()
    for number, voice in enumerate(VOICES):
        clean, labels = _conversation(voice, number)

        def made(name: str, cell: str, samples: Floats, voice: str = voice, labels: Labels = labels) -> MadeStream:
            return MadeStream(f"{voice}|{name}", cell, _frames(samples, len(name) + len(voice)), labels)

        yield made("clean", _MAIN, clean)
        yield made("mulaw", _MAIN, _g711(clean))
        for noise, snr, cell in (
            ("pink", 20, _MAIN),
            ("hum", 10, _MAIN),
            ("music", 10, _MAIN),
            ("pink", 5, _HARD),
            ("babble", 20, _VOICES),
        ):
            yield made(f"{noise}|{snr}", cell, _with_noise(clean, labels, noises[noise], snr))
        yield made("clean|-20dB", _SOFT, clean * np.float32(0.1))
        yield made("pink|20|-20dB", _SOFT, _with_noise(clean, labels, noises["pink"], 20) * np.float32(0.1))
    for name, alone in noises.items():
        if name != "babble":
            yield MadeStream(f"noise|{name}", _SILENT, _frames(alone, len(name)), Labels())


def _conversation(voice: str, number: int) -> tuple[Floats, Labels]:
    """Return one side of a conversation, and its labels."""
    chance = np.random.default_rng(number)
    spoken: list[Floats] = []
    speech: list[Segment] = []
    turns: list[Segment] = []
    at = 0

    def wait(bounds: tuple[float, float]) -> int:
        samples = int(chance.uniform(*bounds) * UP_HZ)
        spoken.append(np.zeros(samples, np.float32))
        return samples

    at += wait(_GAPS_S)
    for turn in range(TURNS):
        began = len(speech)
        for part in range(int(chance.integers(1, 3))):
            if part:
                at += wait(_PAUSES_S)
            sentence = _synthesised(voice, SENTENCES[(turn * 3 + part + number) % len(SENTENCES)])
            speech += [(at / UP_HZ + start, at / UP_HZ + end) for start, end in _loud(sentence)]
            spoken.append(sentence)
            at += len(sentence)
        turns.append((speech[began][0], speech[-1][1]))
        at += wait(_GAPS_S)
    return np.concatenate(spoken), Labels(speech=tuple(speech), turns=tuple(turns))


def _synthesised(voice: str, text: str) -> Floats:
    program = shutil.which("flite")
    if program is None:
        raise FileNotFoundError("flite")
    with tempfile.TemporaryDirectory(prefix="hushgate-bench-") as folder:
        sound = Path(folder) / "sound.wav"
        subprocess.run([program, "-voice", voice, "-t", text, "-o", str(sound)], check=True)  # noqa: S603 - our own
        with wave.open(str(sound)) as file:
            source = WavFormat("pcm16", file.getframerate(), 1)
            samples = decode(file.readframes(file.getnframes()), source)[:, 0]
    resampled: Floats = soxr.resample(samples, source.hz, UP_HZ)
    return resampled * np.float32(0.3 / np.abs(resampled).max())


def _loud(sentence: Floats) -> list[Segment]:
    """Return where a sentence is loud, in seconds: in steps of 5 ms, without the gaps within words."""
    step = UP_HZ // 200
    peaks = np.abs(sentence[: len(sentence) // step * step]).reshape(-1, step).max(axis=1)
    loud = np.flatnonzero(peaks >= _QUIET * peaks.max())
    return merged([(at / 200, (at + 1) / 200) for at in loud.tolist()], gap_s=_WORD_GAP_S)


def _noises() -> dict[str, Floats]:
    chance = np.random.default_rng(99)
    at = np.arange(_NOISE_S * UP_HZ) / UP_HZ
    babble = np.zeros(len(at), np.float32)
    for number in range(6):
        voice = np.tile(_conversation(VOICES[number % len(VOICES)], 50 + number)[0], 3)
        babble += voice[number * UP_HZ :][: len(at)]
    found = {
        "pink": _pink(chance, len(at)),
        "hum": sum(np.sin(2 * np.pi * 50 * n * at + n) / n for n in (1, 2, 3, 5, 7)),
        "music": _music(chance, at),
        "knocks": _knocks(chance, len(at)),
        "babble": babble,
    }
    return {name: (samples * 0.05 / np.sqrt(np.mean(samples**2))).astype(np.float32) for name, samples in found.items()}


def _pink(chance: np.random.Generator, length: int) -> npt.NDArray[np.float64]:
    spectrum = np.fft.rfft(chance.normal(size=length))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), length)


def _music(chance: np.random.Generator, at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Chords of three notes with harmonics, one each half second, that die away."""
    found = np.zeros(len(at))
    step = UP_HZ // 2
    for start in range(0, len(at), step):
        part = at[start : start + step] - at[start]
        for note in chance.choice([0, 3, 5, 7, 10, 12], 3):
            hz = 220 * 2 ** (note / 12)
            sound = sum(np.sin(2 * np.pi * hz * n * part) / n**1.5 for n in range(1, 6))
            found[start : start + step] += sound * np.exp(-3 * part)
    return found


def _knocks(chance: np.random.Generator, length: int) -> npt.NDArray[np.float64]:
    """Bursts of noise of 10 to 80 ms, about one each second."""
    found = chance.normal(scale=0.002, size=length)
    for start in chance.integers(0, length - UP_HZ, _NOISE_S):
        size = int(chance.uniform(0.01, 0.08) * UP_HZ)
        found[start : start + size] += chance.normal(size=size) * np.exp(-np.arange(size) / size * 4)
    return found


def _with_noise(clean: Floats, labels: Labels, noise: Floats, snr: float) -> Floats:
    """Add noise at an SNR that is measured where there is speech."""
    loud = np.zeros(len(clean), bool)
    for start, end in labels.speech:
        loud[int(start * UP_HZ) : int(end * UP_HZ)] = True
    power = float(np.mean(clean[loud] ** 2) / np.mean(noise**2))
    return clean + np.resize(noise, len(clean)) * np.float32(power**0.5 * 10 ** (-snr / 20))


def _g711(samples: Floats) -> Floats:
    """Return the samples after a call by µ-law at 8 kHz."""
    narrow = soxr.resample(samples, UP_HZ, 8_000)
    values = decode(bytes(range(256)), WavFormat("ulaw", 8_000, 1))[:, 0]
    order = np.argsort(values)
    nearest = order[np.searchsorted((values[order][1:] + values[order][:-1]) / 2, narrow)]
    wide: Floats = soxr.resample(values[nearest], 8_000, UP_HZ)
    return wide


def _frames(samples: Floats, seed: int) -> list[bytes]:
    """Return whole frames, with noise of one step, as no recording is digitally silent."""
    dither = np.random.default_rng(seed).integers(-1, 2, len(samples))
    pcm = (np.rint(samples * 32767) + dither).clip(-32768, 32767).astype("<i2").tobytes()
    return [pcm[at : at + UP_FRAME_BYTES] for at in range(0, len(pcm) - UP_FRAME_BYTES + 1, UP_FRAME_BYTES)]
