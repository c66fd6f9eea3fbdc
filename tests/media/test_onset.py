import math

import pytest

from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.level_tracking import NoiseFloor, TalkerLevel
from services.media.core.speech.onset import Onset

CONFIG = GateConfig(onset_probability=0.6, over_noise_db=9, open_within_db=12)


def noise_of(level: float) -> NoiseFloor:
    noise = NoiseFloor()
    noise.on_noise(level)
    return noise


def talker_of(level: float) -> TalkerLevel:
    talker = TalkerLevel()
    talker.on_speech(level)
    return talker


def after(*frames: tuple[float, float], config: GateConfig = CONFIG) -> Onset:
    onset = Onset(config)
    for probability, level in frames:
        onset.on_frame(probability, level)
    return onset


@pytest.mark.parametrize(("probabilities", "run"), [((0.6, 0.9), 2), ((0.9, 0.59, 0.6), 1), ((0.9, 0.59), 0), ((), 0)])
def test_a_run_is_what_reaches_the_probability_without_a_break(probabilities: tuple[float, ...], run: int) -> None:
    assert after(*((each, -30.0) for each in probabilities)).run == run


@pytest.mark.parametrize(("needed", "opens"), [(1, True), (2, True), (3, False)])
def test_a_run_opens_from_so_many_frames_on(needed: int, *, opens: bool) -> None:
    onset = after((0.9, -30.0), (0.9, -30.0))
    assert onset.opens(needed, NoiseFloor(), TalkerLevel()) == opens


@pytest.mark.parametrize(("level", "opens"), [(-41.0, True), (-41.1, False), (math.inf, True)])
def test_an_onset_is_louder_than_the_noise(level: float, *, opens: bool) -> None:
    assert after((0.9, level)).opens(1, noise_of(-50.0), TalkerLevel()) == opens


@pytest.mark.parametrize(("level", "opens"), [(-42.0, True), (-42.1, False), (math.inf, True)])
def test_an_onset_is_not_much_quieter_than_the_caller(level: float, *, opens: bool) -> None:
    assert after((0.9, level)).opens(1, noise_of(-70.0), talker_of(-30.0)) == opens


def test_the_loudest_frame_of_the_run_counts_and_none_before_it() -> None:
    assert after((0.9, -60.0), (0.9, -30.0), (0.9, -60.0)).opens(3, noise_of(-60.0), TalkerLevel())
    assert not after((0.9, -30.0), (0.1, -60.0), (0.9, -60.0)).opens(1, noise_of(-60.0), TalkerLevel())


def test_a_run_that_is_forgotten_begins_anew() -> None:
    onset = after((0.9, -30.0))
    onset.reset()
    assert onset.run == 0


def test_the_threshold_of_the_call_moves_what_a_frame_must_reach() -> None:
    assert after((0.7, -30.0), config=GateConfig(threshold=0.9)).run == 0
    assert after((0.3, -30.0), config=GateConfig(threshold=0.1)).run == 1
