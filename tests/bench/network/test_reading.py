import numpy as np
import pytest

from services.callers.speech import Samples
from tests.bench.network.reading import FRAME, HZ, SentenceClip, SpokenReading, active, begins, find, levelled, piece


def babble(seconds: float, *, seed: int) -> Samples:
    return np.random.default_rng(seed).normal(0, 3000, round(seconds * HZ)).astype(np.int16)


def two_sentences() -> SpokenReading:
    one, two, pause = babble(2, seed=1), babble(3, seed=2), np.zeros(HZ // 2, np.int16)
    samples = np.concatenate((pause, one, pause, two, pause))
    return SpokenReading(samples, (SentenceClip("one", one, HZ // 2), SentenceClip("two", two, 3 * HZ)))


def test_a_reading_is_found_in_what_was_heard() -> None:
    whole = two_sentences()
    heard = np.concatenate((np.zeros(777, np.int16), whole.samples))
    start = begins(heard, whole)
    assert start == 777
    assert [find(heard, sentence, start=start) for sentence in whole.sentences] == [777 + HZ // 2, 777 + 3 * HZ]


def test_a_reading_whose_beginning_was_not_heard_is_found_too() -> None:
    whole = two_sentences()
    assert begins(whole.samples[1000:], whole) == -1000


def test_a_sentence_that_came_later_than_the_first_is_found() -> None:
    whole = two_sentences()
    heard = np.insert(whole.samples, HZ * 3, np.zeros(HZ // 4, np.int16))
    assert find(heard, whole.sentences[1], start=0) == 3 * HZ + HZ // 4


def test_in_silence_nothing_is_found_but_a_place() -> None:
    whole = two_sentences()
    silence = np.zeros(10, np.int16)
    assert begins(silence, whole) == 0
    assert not piece(silence, find(silence, whole.sentences[1], start=0), 100).any()


def test_speech_is_told_from_pauses() -> None:
    sound = np.concatenate((babble(0.1, seed=3), np.ones(HZ // 10, np.int16)))
    assert list(active(sound)) == [True] * 5 + [False] * 5


@pytest.mark.parametrize("gain", [0.1, 2.0])
def test_all_sentences_have_one_level_without_their_pauses(gain: float) -> None:
    sound = (np.concatenate((babble(1, seed=4), np.zeros(HZ, np.int16), babble(1, seed=5))) * gain).astype(np.int16)
    speech = levelled(sound).astype(float)
    speech = speech[: len(speech) // FRAME * FRAME].reshape(-1, FRAME)[active(levelled(sound))]
    assert np.sqrt((speech**2).mean()) == pytest.approx(1640, rel=0.01)
