import numpy as np
import pytest

from services.callers.correlation import best_match

GENERATOR = np.random.default_rng(1)
SOUND = GENERATOR.normal(size=5000)


def test_a_piece_is_found_where_it_was_cut_out() -> None:
    found = best_match(SOUND[1234:2234], SOUND)
    assert found.lag == 1234
    assert found.peak == pytest.approx(1)


def test_loudness_does_not_matter() -> None:
    assert best_match(0.01 * SOUND[100:900], SOUND).peak == pytest.approx(1)


def test_noise_lowers_the_peak_and_keeps_the_place() -> None:
    noisy = SOUND + GENERATOR.normal(size=SOUND.size)
    found = best_match(SOUND[2000:4000], noisy)
    assert found.lag == 2000
    assert 0.6 < found.peak < 0.8


def test_another_sound_does_not_match() -> None:
    assert best_match(GENERATOR.normal(size=1000), SOUND).peak < 0.2


def test_the_inverted_sound_does_not_match() -> None:
    assert best_match(-SOUND, SOUND).peak <= 0


def test_silence_in_the_haystack_matches_nothing() -> None:
    haystack = np.concatenate((np.zeros(3000), SOUND))
    assert best_match(SOUND[:1000], haystack).lag == 3000
    assert best_match(SOUND[:1000], np.zeros(3000)).peak == 0


def test_whole_numbers_do_not_overflow() -> None:
    loud = (np.sign(SOUND) * 32_767).astype(np.int16)
    assert best_match(loud[500:1500], loud).lag == 500


@pytest.mark.parametrize("needle", [np.zeros(0), np.zeros(10), np.ones(5001)], ids=["empty", "silent", "longer"])
def test_what_cannot_be_sought_is_refused(needle: np.ndarray) -> None:
    with pytest.raises(ValueError, match="needle"):
        best_match(needle, SOUND)
