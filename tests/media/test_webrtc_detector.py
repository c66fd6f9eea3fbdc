import math

import numpy as np
import pytest
import webrtcvad

from services.contracts.audio import PcmFrame
from services.media.core.speech.detectors.webrtc import WebrtcConfig, WebrtcDetector, webrtc_detector


def vowel(level: float) -> list[PcmFrame]:
    at = np.arange(16_000) / 16_000
    voice = sum(math.exp(-n / 6) * np.sin(2 * np.pi * 140 * n * at) for n in range(1, 25))
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * at)
    pcm = (level * voice * swell).astype("<i2").tobytes()
    return [PcmFrame(n, pcm[n * 640 : n * 640 + 640]) for n in range(50)]


def heard(level: float, config: WebrtcConfig) -> float:
    detector = WebrtcDetector(config)
    quiet = [PcmFrame(n, bytes(640)) for n in range(25)]
    for frame in quiet:
        detector.probability(frame)
    return sum(detector.probability(frame) for frame in vowel(level)) / 50


def test_a_voice_is_speech_and_silence_is_not() -> None:
    assert heard(3000, WebrtcConfig()) > 0.8
    assert heard(0, WebrtcConfig()) == 0


def test_a_quiet_talker_is_lifted_once_the_detector_knows_how_quiet() -> None:
    detector, deaf = (WebrtcDetector(WebrtcConfig(max_gain_db=db)) for db in (20, 0))
    for frame in vowel(20) * 20:
        lifted, plain = detector.probability(frame), deaf.probability(frame)
    assert lifted >= plain


def test_a_loud_talker_is_heard_the_same_with_a_lift_to_spare() -> None:
    lifted, plain = (WebrtcDetector(WebrtcConfig(max_gain_db=db)) for db in (20, 0))
    assert [lifted.probability(frame) for frame in vowel(3000)] == [plain.probability(frame) for frame in vowel(3000)]


@pytest.mark.parametrize("seed", range(8))
def test_silence_that_is_not_looked_at_changes_nothing(seed: int) -> None:
    dice = np.random.default_rng(seed)
    detector, plain = WebrtcDetector(WebrtcConfig()), webrtcvad.Vad(3)
    for _ in range(30):
        sound = vowel(float(dice.choice([0, 5, 100, 3000])))[: dice.integers(0, 20)]
        noise = [PcmFrame(0, dice.normal(0, 40, 320).astype("<i2").tobytes()) for _ in range(dice.integers(0, 20))]
        for frame in sound + noise + [PcmFrame(0, bytes(640))] * int(dice.integers(0, 60)):
            assert detector.probability(frame) == plain.is_speech(frame.pcm, 16_000)


def graded(level: float, threshold: float = 0.9) -> list[float]:
    detector = WebrtcDetector(WebrtcConfig())
    detector.set_threshold(threshold)
    dice = np.random.default_rng(1)
    hiss = [PcmFrame(0, dice.normal(0, 10, 320).astype("<i2").tobytes()) for _ in range(25)]
    for frame in hiss:
        detector.probability(frame)
    return [detector.probability(frame) for frame in vowel(level)]


LEVELS = (3, 30, 70, 100, 300, 1000, 3000)


def test_probabilities_are_graded_by_the_level_where_the_threshold_is_not_the_default() -> None:
    loudest = [max(graded(level)) for level in LEVELS]
    assert loudest == sorted(loudest)
    assert loudest[0] < 0.1 < loudest[2] < 0.5 < loudest[4] < 0.9 < loudest[-1] <= 1
    assert len({round(probability, 3) for level in LEVELS for probability in graded(level)}) > 50


@pytest.mark.parametrize("level", LEVELS)
def test_a_frame_counts_as_speech_at_one_half_exactly_if_it_does_by_default(level: float) -> None:
    detector = WebrtcDetector(WebrtcConfig())
    dice = np.random.default_rng(1)
    for _ in range(25):
        detector.probability(PcmFrame(0, dice.normal(0, 10, 320).astype("<i2").tobytes()))
    plain = [detector.probability(frame) >= 0.5 for frame in vowel(level)]
    assert [probability >= 0.5 for probability in graded(level)] == plain


def test_the_default_threshold_ends_the_grading() -> None:
    detector = WebrtcDetector(WebrtcConfig())
    detector.set_threshold(0.9)
    detector.set_threshold(0.8)
    detector.set_threshold(0.5)
    assert {detector.probability(frame) for frame in vowel(300)} <= {0.0, 1.0}


def test_the_callers_of_an_unbatched_detector_have_thresholds_of_their_own() -> None:
    detector = webrtc_detector(WebrtcConfig())
    plain, graded_state = detector.new_state(), detector.new_state()
    detector.set_threshold(graded_state, 0.9)
    found = {state: set[float]() for state in (plain, graded_state)}
    for frame in vowel(300):
        for state, probability in zip(found, detector.probabilities([(s, frame) for s in found]), strict=True):
            found[state].add(probability)
    assert found[plain] <= {0.0, 1.0}
    assert len(found[graded_state]) > 10
