import math

import pytest

from services.media.core.speech.clocks import Clocks
from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.level_tracking import NoiseFloor, TalkerLevel

CONFIG = GateConfig(
    turn_probability=0.4,
    doubt_probability=0.1,
    doubt_frames=2,
    tail_frames=1,
    audible_tail_frames=2,
    audible_db=6,
    hold_within_db=15,
)


def noise_of(level: float) -> NoiseFloor:
    noise = NoiseFloor()
    noise.on_noise(level)
    return noise


def talker_of(level: float) -> TalkerLevel:
    talker = TalkerLevel()
    talker.on_speech(level)
    return talker


def silent_for(frames: int, config: GateConfig = CONFIG) -> Clocks:
    clocks = Clocks(config)
    clocks.start()
    for _ in range(frames):
        clocks.is_speech(0.0, -60.0, TalkerLevel())
    return clocks


def test_only_speech_for_certain_stops_the_turn_clock() -> None:
    clocks = silent_for(3)
    assert not clocks.is_speech(0.39, -30.0, TalkerLevel())
    assert clocks.silence == 4
    assert clocks.is_speech(0.4, -30.0, TalkerLevel())
    assert clocks.silence == 0


@pytest.mark.parametrize(("level", "speech"), [(-45.0, True), (-45.1, False), (math.inf, True)])
def test_speech_that_is_much_quieter_than_the_caller_does_not_stop_it(level: float, *, speech: bool) -> None:
    assert silent_for(3).is_speech(0.9, level, talker_of(-30.0)) == speech


def test_so_many_frames_of_speech_in_a_row_stop_it() -> None:
    clocks = silent_for(2, GateConfig(resume_frames=2))
    said = [clocks.is_speech(each, -30.0, TalkerLevel()) for each in (0.9, 0.1, 0.9, 0.9)]
    assert said == [False, False, False, True]


@pytest.mark.parametrize(("silence", "probability", "sent"), [(2, 0.1, True), (3, 0.3, False), (2, 0.09, False)])
def test_a_doubtful_frame_is_sent_soon_after_speech(silence: int, probability: float, *, sent: bool) -> None:
    assert silent_for(silence).is_doubtful(probability) == sent


@pytest.mark.parametrize(
    ("level", "sent"),
    [(-60.0, [True, False, False, False]), (-44.0, [True, True, True, False]), (math.inf, [True, False, False, False])],
)
def test_the_tail_is_longer_while_it_is_audible(level: float, sent: list[bool]) -> None:
    clocks, noise = silent_for(0), noise_of(-50.0)
    assert [clocks.in_tail(level, noise) for _ in range(4)] == sent


def test_a_doubtful_frame_and_speech_begin_the_tail_anew() -> None:
    clocks, noise = silent_for(1), noise_of(-50.0)
    assert clocks.in_tail(-60.0, noise)
    assert clocks.is_doubtful(0.2)
    assert clocks.in_tail(-60.0, noise)
    assert clocks.is_speech(0.9, -30.0, TalkerLevel())
    assert clocks.in_tail(-60.0, noise)


def test_the_threshold_of_the_call_moves_both() -> None:
    clocks = Clocks(GateConfig(threshold=0.9))
    assert not clocks.is_speech(0.7, -30.0, TalkerLevel())
    assert not clocks.is_doubtful(0.1)
    clocks.configure(GateConfig(threshold=0.1))
    assert clocks.is_speech(0.2, -30.0, TalkerLevel())
