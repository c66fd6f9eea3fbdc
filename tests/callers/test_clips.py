import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

from services.callers.errors import SpeechError
from services.callers.recogniser import grammar, recognise
from services.callers.speech import clip, read_wav, resample, resampled, synthesise

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite: apt-get install flite")


def write_wav(path: Path, samples: np.ndarray, *, channels: int = 1, hz: int = 8000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(samples.dtype.itemsize)
        file.setframerate(hz)
        file.writeframes(samples.tobytes())
    return path


def test_the_bounds_are_those_of_the_speech() -> None:
    samples = np.zeros(1000, dtype=np.int16)
    samples[300:700] = 5000
    samples[10] = 20  # hiss, 48 dB below the speech
    spoken = clip(samples, hz=1000)
    assert (spoken.onset, spoken.end, spoken.speech_s) == (300, 700, 0.4)


@pytest.mark.parametrize("length", [0, 100])
def test_silence_is_nothing_to_say(length: int) -> None:
    with pytest.raises(SpeechError, match="nothing to say"):
        clip(np.zeros(length, dtype=np.int16), hz=1000)


def test_resampling_keeps_length_and_bounds_in_time() -> None:
    samples = np.zeros(1600, dtype=np.int16)
    samples[400:800] = 5000
    at_48k = resampled(clip(samples, hz=16_000), hz=48_000)
    assert (at_48k.samples.size, at_48k.onset, at_48k.end) == (4800, 1200, 2400)
    assert resample(samples, from_hz=8000, to_hz=8000) is samples


def test_channels_of_a_wav_file_are_mixed(tmp_path: Path) -> None:
    stereo = np.array([[100, 300], [-200, -400]], dtype="<i2")
    read = read_wav(write_wav(tmp_path / "two.wav", stereo, channels=2))
    assert read.samples.tolist() == [200, -300]
    assert read.hz == 8000


def test_a_file_that_cannot_be_played_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="cannot read"):
        read_wav(tmp_path / "missing.wav")
    (tmp_path / "text.wav").write_text("not sound")
    with pytest.raises(SpeechError, match="not a WAV file"):
        read_wav(tmp_path / "text.wav")
    with pytest.raises(SpeechError, match="8 bits"):
        read_wav(write_wav(tmp_path / "eight.wav", np.full(10, 200, dtype=np.uint8)))


async def test_without_flite_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpeechError, match="apt-get install flite"):
        await synthesise("hello")


@needs_flite
async def test_flites_speech_is_recognised_by_its_grammar() -> None:
    spoken = await synthesise("what time is it", voice="rms")
    jsgf = grammar("what time is it", "tell me a story", "count to ten")
    assert 0.5 < spoken.speech_s < 3
    assert recognise(spoken.samples, hz=spoken.hz, jsgf=jsgf) == "what time is it"


async def test_empty_text_is_refused() -> None:
    with pytest.raises(SpeechError, match="nothing to say"):
        await synthesise(" ")
