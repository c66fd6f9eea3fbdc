import math

import pytest

from services.media.core.speech.level_tracking import NoiseFloor, TalkerLevel


def test_the_noise_is_that_of_the_first_frame_then_falls_fast_and_rises_slowly() -> None:
    noise = NoiseFloor()
    noise.on_noise(-40.0)
    assert noise.dbfs == -40.0
    for _ in range(25):
        noise.on_noise(-60.0)
    assert noise.dbfs == pytest.approx(-60, abs=0.1)
    for _ in range(50):
        noise.on_noise(-40.0)
    assert noise.dbfs == pytest.approx(-57, abs=0.2)


def test_the_noise_does_not_rise_above_what_is_heard_nor_fall_to_digital_silence() -> None:
    noise = NoiseFloor()
    for level in (-50.0, -49.99, -49.99):
        noise.on_noise(level)
    assert noise.dbfs == pytest.approx(-49.99)
    for _ in range(100):
        noise.on_noise(-100.0)
    assert noise.dbfs == pytest.approx(-75)


def test_nobody_has_spoken_until_somebody_has() -> None:
    talker = TalkerLevel()
    assert talker.dbfs == -200
    talker.on_speech(-30.0)
    assert talker.dbfs == -30


def test_louder_speech_is_followed_faster_than_quieter_speech() -> None:
    louder, quieter = TalkerLevel(), TalkerLevel()
    for talker, level in ((louder, -20.0), (quieter, -40.0)):
        talker.on_speech(-30.0)
        for _ in range(10):
            talker.on_speech(level)
    assert louder.dbfs == pytest.approx(-23.5, abs=0.1)
    assert quieter.dbfs == pytest.approx(-31.8, abs=0.1)


@pytest.mark.parametrize(("loudest", "level"), [(-60.0, -54.0), (-36.0, -30.0), (-20.0, -30.0), (math.inf, -30.0)])
def test_an_onset_that_is_quieter_lowers_the_level_to_a_little_above_it(loudest: float, level: float) -> None:
    talker = TalkerLevel()
    talker.on_speech(-30.0)
    talker.on_open(loudest)
    assert talker.dbfs == level


def test_the_first_onset_leaves_the_level_to_the_speech_that_follows() -> None:
    talker = TalkerLevel()
    talker.on_open(-40.0)
    talker.on_speech(-30.0)
    assert talker.dbfs == -30


def test_a_caller_is_known_after_a_second_of_speech() -> None:
    talker = TalkerLevel()
    for _ in range(49):
        talker.on_speech(-30.0)
    assert not talker.is_known
    talker.on_speech(-30.0)
    assert talker.is_known
