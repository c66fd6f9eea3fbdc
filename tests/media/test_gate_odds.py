"""Sound at the level of a known caller opens the gate sooner; before a caller is known it opens later."""

import pytest

from services.contracts.audio import PcmFrame
from services.media.core.speech.gate import GateOpened, VadGate
from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.level import UNKNOWN_DBFS

NOISE_DBFS, CALLER_DBFS = -60.0, -30.0
FAINT = 0.5


def feed(gate: VadGate, score: float, level_dbfs: float, frames: int, start: int) -> int | None:
    """Push frames of one score and level; return after how many of them the gate opened."""
    opened = None
    for index in range(start, start + frames):
        frame = PcmFrame(index, b"")
        events = gate.on_frame(frame, probability=score, level_dbfs=level_dbfs, now=index * 0.02)
        if opened is None and any(isinstance(event, GateOpened) for event in events):
            opened = index - start + 1
    return opened


def after_a_caller(seconds: float, config: GateConfig = GateConfig()) -> tuple[VadGate, int]:  # noqa: B008 - frozen
    """Return a gate that has heard noise, so much speech of a caller, and noise again; and the next index."""
    gate, speech = VadGate(config), round(seconds * 50)
    feed(gate, 0.0, NOISE_DBFS, 100, 0)
    feed(gate, 0.95, CALLER_DBFS, speech, 100)
    feed(gate, 0.0, NOISE_DBFS, 100, 100 + speech)
    return gate, 200 + speech


def test_a_faint_word_of_a_known_caller_opens_sooner_than_the_score_says() -> None:
    gate, index = after_a_caller(3)
    favoured = feed(gate, FAINT, CALLER_DBFS, 20, index)
    gate, index = after_a_caller(3, GateConfig(caller_odds=1.0))
    assert (favoured, feed(gate, FAINT, CALLER_DBFS, 20, index)) == (4, 10)


@pytest.mark.parametrize("level_dbfs", [CALLER_DBFS - 16, NOISE_DBFS + 8, UNKNOWN_DBFS])
def test_a_sound_at_another_level_or_of_an_unknown_one_counts_as_its_score_says(level_dbfs: float) -> None:
    gate, index = after_a_caller(3)
    assert feed(gate, FAINT, level_dbfs, 20, index) == 10


def test_a_sound_that_hardly_exceeds_the_noise_is_not_favoured() -> None:
    gate, index = after_a_caller(3)
    feed(gate, 0.0, CALLER_DBFS, 1500, index)  # the noise has become as loud as the caller
    assert feed(gate, FAINT, CALLER_DBFS, 20, index + 1500) == 10


def test_before_a_caller_is_known_a_doubtful_sound_opens_later_or_not_at_all() -> None:
    for gate, index in ((VadGate(GateConfig()), 0), after_a_caller(0.5)):
        assert feed(gate, FAINT, CALLER_DBFS, 20, index) is None
    assert feed(VadGate(GateConfig(stranger_odds=1.0)), FAINT, CALLER_DBFS, 20, 0) == 10
    assert feed(VadGate(GateConfig()), 0.95, CALLER_DBFS, 20, 0) == 4
