import math

import pytest

from services.contracts.audio import PcmFrame
from services.media.core.speech import barge_in as module
from services.media.core.speech.barge_in import (
    BargeInConfig,
    BargeInJudge,
    CallerSpeaks,
    HoldAnswer,
    Judgement,
    ReleaseAnswer,
)
from tests.media import uttered
from tests.media.test_echo import echoed
from tests.media.uttered import babble, hiss, hum, silence, tone, vowel

CONFIG = BargeInConfig(hold_frames=2, speech_frames=3, end_frames=4, max_hold_frames=20)


class UtteringCaller:
    """Utters sounds to a judge, which also gets what the detector says of them; speech ends the judgement."""

    def __init__(self) -> None:
        self.judge = BargeInJudge(CONFIG)
        self.index = 0

    def utters(self, frames: list[bytes], *, is_speech: bool = True, level_dbfs: float = -20) -> list[Judgement]:
        found = []
        for pcm in frames:
            judged = self.judge.on_frame(
                PcmFrame(self.index, pcm), is_speech=is_speech, level_dbfs=level_dbfs, now=self.index * 0.02
            )
            self.index += 1
            if judged is not None:
                found.append(judged)
            if isinstance(judged, CallerSpeaks):
                break
        return found

    def is_quiet(self, count: int = 10) -> list[Judgement]:
        return self.utters(silence(count), is_speech=False, level_dbfs=-70)


def test_speech_holds_the_answer_and_then_stops_it_from_its_first_frame_on() -> None:
    caller = UtteringCaller()
    caller.is_quiet(5)
    assert caller.utters(vowel(2)) == [HoldAnswer()]
    assert caller.judge.onset == (5, 5 * 0.02)
    assert caller.utters(vowel(2)) == [CallerSpeaks(5, 5 * 0.02)]
    assert caller.judge.onset is None


@pytest.mark.parametrize(
    ("frames", "cause"), [(hum(12), "backchannel"), (hiss(10), "noise"), (vowel(2) + hiss(3), "noise")]
)
def test_what_is_no_speech_holds_the_answer_until_it_is_over(frames: list[bytes], cause: str) -> None:
    caller = UtteringCaller()
    assert caller.utters(frames) == [HoldAnswer()]
    assert caller.is_quiet(3) == []
    assert caller.is_quiet(5) == [ReleaseAnswer(cause)]  # type: ignore[arg-type]
    assert caller.judge.onset is None


def test_a_tone_does_not_even_hold_the_answer() -> None:
    caller = UtteringCaller()
    assert caller.utters(tone(20)) == []
    assert caller.is_quiet() == [ReleaseAnswer("tone")]


def test_a_frame_of_speech_alone_does_nothing() -> None:
    caller = UtteringCaller()
    assert caller.utters(vowel(1)) == []
    assert caller.is_quiet() == [ReleaseAnswer("noise")]


def test_a_pause_within_a_word_does_not_end_it() -> None:
    caller = UtteringCaller()
    assert caller.utters(vowel(2)) == [HoldAnswer()]
    caller.is_quiet(3)
    assert caller.utters(vowel(2)) == [CallerSpeaks(0, 0.0)]


def test_a_sound_that_lasts_holds_the_answer_once() -> None:
    caller = UtteringCaller()
    assert caller.utters(hum(45)) == [HoldAnswer(), ReleaseAnswer("timeout")]
    assert caller.is_quiet() == []
    assert caller.utters(hum(3)) == [HoldAnswer()]


def test_a_sound_that_ends_in_time_is_released_in_time_whatever_follows() -> None:
    caller = UtteringCaller()
    assert caller.utters(hum(19)) == [HoldAnswer()]
    assert caller.is_quiet(3) == [ReleaseAnswer("timeout")]


def test_speech_after_a_hum_that_was_let_pass_stops_the_answer() -> None:
    caller = UtteringCaller()
    caller.utters(hum(30))
    assert [type(judged) for judged in caller.utters(vowel(4))] == [CallerSpeaks]


def test_a_hum_of_a_second_and_a_whisper_stop_it() -> None:
    for sound in (hum(module._HUM_FRAMES), hiss(module._UNVOICED_FRAMES)):  # noqa: SLF001
        assert isinstance(UtteringCaller().utters(sound)[-1], CallerSpeaks)


def test_where_the_detector_fails_only_a_voice_stops_the_answer() -> None:
    caller = UtteringCaller()
    assert caller.utters(hiss(60), level_dbfs=math.inf) == [HoldAnswer(), ReleaseAnswer("timeout")]
    assert [type(judged) for judged in caller.utters(vowel(4), level_dbfs=math.inf)] == [CallerSpeaks]


def test_the_decay_of_a_sound_is_none() -> None:
    caller = UtteringCaller()
    caller.utters(hiss(1), level_dbfs=-10)
    assert caller.utters(vowel(4), level_dbfs=-40) == [ReleaseAnswer("noise")]


def test_frames_that_are_not_judged_belong_to_the_sound_of_the_next() -> None:
    judge = BargeInJudge(CONFIG)
    for index, pcm in enumerate(vowel(2)):
        judge.on_unjudged(PcmFrame(index, pcm), now=index * 0.02)
    assert judge.onset is None


def test_reset_forgets_the_sound() -> None:
    caller = UtteringCaller()
    caller.utters(vowel(2))
    caller.judge.reset()
    assert caller.judge.onset is None
    assert caller.utters(vowel(2)) == [HoldAnswer()]


def hears_itself(caller: UtteringCaller, seconds: float = 2, seed: int = 1) -> tuple[list[Judgement], list[bytes]]:
    answer = babble(seconds, seed)
    pcm, heard, found = answer.astype("<i2").tobytes(), echoed(answer, delay_ms=100, gain=0.3), []
    for index in range(len(heard)):
        caller.judge.on_played(pcm[index * 960 : (index + 1) * 960], now=caller.index * 0.02 - 0.02)
        found += caller.utters([heard[index]], is_speech=index > 20)
    return found, heard


def test_an_echo_of_the_answer_does_not_hold_it() -> None:
    caller = UtteringCaller()
    found, _ = hears_itself(caller)
    assert found == []
    assert caller.judge.onset is None
    assert caller.is_quiet() == [ReleaseAnswer("echo")]


def test_speech_over_an_echo_stops_the_answer() -> None:
    caller = UtteringCaller()
    hears_itself(caller)
    assert [type(judged) for judged in caller.utters(vowel(12))] == [HoldAnswer, CallerSpeaks]


def test_an_echo_is_looked_for_before_anything_is_uttered() -> None:
    caller = UtteringCaller()
    answer = babble(2, 1)
    pcm, heard = answer.astype("<i2").tobytes(), echoed(answer, delay_ms=100, gain=0.3)
    for index in range(60):
        caller.judge.on_played(pcm[index * 960 : (index + 1) * 960], now=caller.index * 0.02 - 0.02)
        caller.utters([heard[index]], is_speech=False)
    assert caller.judge._echoes._path is not None  # noqa: SLF001 - what it has learned shows in nothing else yet


def test_every_sound_has_whole_frames() -> None:
    assert {len(pcm) for make in (uttered.vowel, uttered.hum, uttered.tone, uttered.hiss) for pcm in make(3)} == {640}
