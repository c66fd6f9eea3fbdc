"""Clips of PCM, synthesised by flite or read from a WAV file, with the true bounds of their speech."""

import asyncio
import io
import shutil
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soxr

from services.callers.errors import SpeechError
from services.runtime.process.settings import inherited_environment

Samples = npt.NDArray[np.int16]
FliteVoice = Literal["slt", "rms"]
"""flite's voices that pocketsphinx recognises well."""

SPEECH_HZ = 16_000
_SAMPLE_BYTES = 2
_QUIET = 0.01
"""Of the peak, -40 dB: flite's pauses are digital silence, recorded ones are not."""
_FLITE_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Mono speech. ``onset`` is the first sample of the speech itself, ``end`` the one after its last."""

    samples: Samples
    hz: int
    onset: int
    end: int

    @property
    def speech_s(self) -> float:
        """Seconds from the first to the last true speech sample."""
        return (self.end - self.onset) / self.hz


def clip(samples: Samples, *, hz: int) -> Clip:
    """Create a clip with the bounds of the speech in ``samples``.

    Raises:
        SpeechError: ``samples`` are empty or silent.
    """
    loudness = np.abs(samples.astype(np.int32))
    peak = int(loudness.max(initial=0))
    if peak == 0:
        raise SpeechError("there is nothing to say: the clip is empty or silent")
    loud = np.flatnonzero(loudness >= max(1.0, peak * _QUIET))
    return Clip(samples, hz, int(loud[0]), int(loud[-1]) + 1)


def resample(samples: Samples, *, from_hz: int, to_hz: int) -> Samples:
    """Resample mono samples."""
    if from_hz == to_hz:
        return samples
    changed: Samples = soxr.resample(samples, from_hz, to_hz).astype(np.int16)
    return changed


def resampled(spoken: Clip, *, hz: int) -> Clip:
    """Resample a clip; the bounds of its speech are kept."""
    ratio = hz / spoken.hz
    return Clip(
        resample(spoken.samples, from_hz=spoken.hz, to_hz=hz),
        hz,
        round(spoken.onset * ratio),
        round(spoken.end * ratio),
    )


def read_wav(source: Path) -> Clip:
    """Read 16-bit PCM; several channels are mixed.

    Raises:
        SpeechError: no such file, another format, or silence.
    """
    try:
        return _parse_wav(source.read_bytes())
    except OSError as exc:
        raise SpeechError(f"cannot read {source}: {exc.strerror or exc}") from exc
    except (wave.Error, EOFError) as exc:
        raise SpeechError(f"{source} is not a WAV file of 16-bit PCM: {exc}") from exc


def _parse_wav(data: bytes) -> Clip:
    with wave.open(io.BytesIO(data)) as file:
        if file.getsampwidth() != _SAMPLE_BYTES:
            raise wave.Error(f"{8 * file.getsampwidth()} bits a sample")
        channels, hz = file.getnchannels(), file.getframerate()
        pcm = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    mono = pcm.reshape(-1, channels).mean(axis=1).astype(np.int16) if channels > 1 else pcm.astype(np.int16)
    return clip(mono, hz=hz)


async def synthesise(text: str, *, voice: FliteVoice = "slt") -> Clip:
    """Let flite synthesise ``text``, at 16 kHz.

    Raises:
        SpeechError: flite is not installed or fails, or the text is empty.
    """
    if not text.strip():
        raise SpeechError("there is nothing to say: the text is empty")
    program = shutil.which("flite")
    if program is None:
        raise SpeechError("flite is not installed, so text cannot be spoken: apt-get install flite, or use a WAV file")
    with tempfile.TemporaryDirectory(prefix="hushgate-speech-") as folder:
        words, sound = Path(folder) / "words", Path(folder) / "sound.wav"
        words.write_text(text)
        command = [program, "-voice", voice, "-f", str(words), "-o", str(sound)]
        process = await asyncio.create_subprocess_exec(
            *command,
            env=inherited_environment(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_FLITE_TIMEOUT_S):
                _, stderr = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise SpeechError(f"flite did not finish within {_FLITE_TIMEOUT_S:g} s") from None
        if process.returncode or not sound.exists():
            message = stderr.decode(errors="replace").strip() or f"exit code {process.returncode}"
            raise SpeechError(f"flite failed: {message}")
        return resampled(read_wav(sound), hz=SPEECH_HZ)
