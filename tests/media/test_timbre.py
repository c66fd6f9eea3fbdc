import numpy as np
import pytest

from services.media.core.speech.timbre import Timbre, timbre
from tests.media import uttered


def kind_of(frames: list[bytes]) -> Timbre:
    return timbre(b"".join(frames))


def test_a_vowel_is_voiced_and_open() -> None:
    assert kind_of(uttered.vowel(2)) == Timbre(voiced=True, open=True, tone_hz=0)


def test_a_hum_is_voiced_and_not_open() -> None:
    assert kind_of(uttered.hum(2)) == Timbre(voiced=True, open=False, tone_hz=0)


def test_a_hiss_is_not_voiced() -> None:
    assert kind_of(uttered.hiss(2)) == Timbre(voiced=False, open=True, tone_hz=0)


@pytest.mark.parametrize("hz", [500, 1000, 2500])
def test_a_tone_has_a_frequency(hz: float) -> None:
    assert kind_of(uttered.tone(2, hz)).tone_hz == pytest.approx(hz, abs=32)


def test_two_tones_are_a_tone() -> None:
    low, high = (np.frombuffer(b"".join(uttered.tone(2, hz)), "<i2") // 2 for hz in (770, 1336))
    assert kind_of(uttered.frames((low + high).astype(float))).tone_hz > 0


def test_silence_is_nothing() -> None:
    assert kind_of(uttered.silence(2)) == Timbre(voiced=False, open=False, tone_hz=0)
