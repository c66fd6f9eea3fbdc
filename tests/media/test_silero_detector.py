"""The two-stage detector: what it hears, when its second stage runs, and that callers do not affect each other."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contracts.audio import PcmFrame
from services.media.core.speech.detectors.caller_state import CallerState
from services.media.core.speech.detectors.silero import MOST_REPLAYS, SileroDetector
from tests.media.voices import frames, hiss, model, sentence

SILENCE = np.zeros(16_000)


def detector() -> SileroDetector:
    return SileroDetector(model())


def alone(found: SileroDetector, sound: Iterable[PcmFrame], caller: CallerState | None = None) -> list[float]:
    caller = caller or found.new_state()
    return [found.probabilities([(caller, frame)])[0] for frame in sound]


@pytest.mark.parametrize("gain", [1.0, 0.1, 0.03])
def test_a_voice_is_speech_also_a_quiet_one_and_noise_is_not(gain: float) -> None:
    speech = alone(detector(), frames(hiss(0.5), sentence() * gain + hiss(len(sentence()) / 16_000, 1)))
    assert max(speech[:25]) < 0.1
    assert np.mean(np.array(speech[30:]) >= 0.6) > 0.9
    for noise in (SILENCE, hiss(2, 3), hiss(2, 3000)):
        assert max(alone(detector(), frames(noise))) < 0.4


def test_the_second_stage_sleeps_without_a_voice() -> None:
    found = detector()
    caller = found.new_state()
    alone(found, frames(hiss(4)), caller)
    before = found.counts.chunks
    alone(found, frames(hiss(2)), caller)
    assert found.counts.chunks == before
    alone(found, frames(sentence(), hiss(1.5)), caller)
    assert found.counts.replays >= 1
    assert found.counts.chunks - before < (len(sentence()) + 24_000) / 512
    assert not caller.awake


def test_a_caller_who_is_woken_is_heard_as_if_the_second_stage_had_not_slept() -> None:
    found = detector()
    first = alone(found, frames(sentence(), SILENCE, SILENCE, sentence()))
    again = first[-len(frames(sentence())) :]
    assert found.counts.replays == 2
    assert np.mean(np.array(again) >= 0.5) == pytest.approx(np.mean(np.array(first[: len(again)]) >= 0.5), abs=0.1)


def test_the_second_stage_begins_anew_after_four_seconds_of_noise_that_keeps_it_awake() -> None:
    found = detector()
    at = np.arange(6 * 16_000) / 16_000
    chord = sum(np.sin(2 * np.pi * hz * at) for hz in (220, 277, 330, 440, 880)) * (1 + np.sin(2 * np.pi * 3 * at))
    heard = alone(found, frames(chord * 700))
    assert found.counts.replays == 2
    assert max(heard) < 0.4
    assert found.counts.chunks == pytest.approx(6 / 0.032, abs=5)


def test_digital_silence_runs_nothing_after_a_while_and_changes_no_decision() -> None:
    short, long = detector(), detector()
    shortly = alone(short, frames(sentence(), *[SILENCE] * 3, sentence()))
    longer = alone(long, frames(sentence(), *[SILENCE] * 60, sentence()))
    count = len(frames(sentence()))
    assert longer[-count:] == pytest.approx(shortly[-count:], abs=0.25)
    assert long.counts == short.counts


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 60), min_size=2, max_size=3), st.integers(1, 2))
def test_a_batch_hears_what_its_callers_hear_alone(delays: list[int], each: int) -> None:
    sounds = [frames(hiss(delay * 0.02, 3, delay), sentence()[:16_000]) for delay in delays]
    together = detector()
    callers = [together.new_state() for _ in sounds]
    heard: list[list[float]] = [[] for _ in sounds]
    for number in range(0, 50, each):
        batch = [
            (caller, sound[turn])
            for turn in range(number, number + each)
            for caller, sound in zip(callers, sounds, strict=True)
            if turn < len(sound)
        ]
        for (caller, _), probability in zip(batch, together.probabilities(batch), strict=True):
            heard[callers.index(caller)].append(probability)
    for sound, found in zip(sounds, heard, strict=True):
        expected = alone(detector(), sound[: len(found)])
        agree = np.abs(np.array(found) - np.array(expected)) < 0.3
        assert np.mean(agree) > 0.8  # chunks end elsewhere in a batch, so the figures differ a little


def chunk_counts(callers: Sequence[CallerState]) -> list[int]:
    """How many chunks end in each of the next eight frames."""
    return [sum((320 * (caller.position + ahead)) % 512 < 320 for caller in callers) for ahead in range(1, 9)]


def test_chunks_of_callers_who_are_woken_together_end_evenly_spread_and_replays_wait() -> None:
    found = detector()
    callers = [found.new_state() for _ in range(25)]
    sound = frames(sentence())[15:75]
    replays = []
    for frame in sound:
        before = found.counts.replays
        found.probabilities([(caller, frame) for caller in callers])
        replays.append(found.counts.replays - before)
    assert max(replays) == MOST_REPLAYS
    assert sum(replays) == 25
    counts = chunk_counts(callers)
    assert max(counts) - min(counts) <= 2
    assert sum(counts) == 25 * 5


def test_who_waits_for_a_replay_is_heard_by_the_first_stage() -> None:
    found = detector()
    callers = [found.new_state() for _ in range(3 * MOST_REPLAYS)]
    sound = frames(sentence())
    heard = [found.probabilities([(caller, frame) for caller in callers]) for frame in sound[:40]]
    woken = next(number for number, probabilities in enumerate(heard) if any(probabilities))
    assert heard[woken].count(1.0) == 2 * MOST_REPLAYS
    assert heard[woken + 1].count(1.0) == MOST_REPLAYS


def test_a_caller_who_falls_asleep_while_waiting_needs_no_replay() -> None:
    found = detector()
    silent = found.new_state()
    alone(found, frames(SILENCE, SILENCE, SILENCE), silent)
    before = found.counts.replays
    callers = [found.new_state() for _ in range(2 * MOST_REPLAYS)]
    sound = iter(frames(sentence()))
    while found.counts.replays == before:
        frame = next(sound)
        found.probabilities([(caller, frame) for caller in callers])
    found.probabilities([(caller, next(sound)) for caller in callers[MOST_REPLAYS:]], quickly=True)
    alone(found, frames(SILENCE[:3200]), silent)
    assert found.counts.replays == before + MOST_REPLAYS


def test_quickly_the_first_stage_decides_alone() -> None:
    found = detector()
    caller = found.new_state()
    heard = [found.probabilities([(caller, frame)], quickly=True)[0] for frame in frames(sentence(), hiss(2))]
    assert set(heard) == {0.0, 1.0}
    assert np.mean(heard[10:100]) > 0.9
    assert found.counts.chunks == found.counts.replays == 0
    assert not caller.awake
    assert max(alone(found, frames(sentence()), caller)) > 0.9


def test_a_threshold_changes_nothing() -> None:
    found = detector()
    caller = found.new_state()
    found.set_threshold(caller, 0.9)
    assert alone(found, frames(sentence()), caller) == alone(detector(), frames(sentence()))
