import pytest

from services.contracts.audio import PcmFrame
from services.media.core.speech.gate import GateClosed, VadGate
from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.level import UNKNOWN_DBFS
from services.media.core.speech.turn_end import FrameHistory, Hangover, TurnEndReason

CONFIG = GateConfig(onset_frames=1, hangover_frames=10, pre_roll_frames=0, tail_frames=2)


@pytest.mark.parametrize(
    ("sent", "silence", "reason"),
    [(1, 0, None), (9, 4, None), (9, 5, "speech_end"), (10, 0, "max_utterance"), (10, 5, "speech_end")],
)
def test_a_turn_ends_after_silence_or_at_the_greatest_length(sent: int, silence: int, reason: str | None) -> None:
    assert Hangover(silence_frames=5, max_utterance_frames=10).reason(FrameHistory(sent, silence)) == reason


class SureSilence:
    """Ends a turn sooner the lower the speech probability is, and records its inputs."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, float]] = []

    def reason(self, history: FrameHistory) -> TurnEndReason | None:
        self.asked.append((history.sent, history.silence, history.probability))
        return "speech_end" if history.silence >= (2 if history.probability < 0.1 else 5) else None


@pytest.mark.parametrize(("silent", "frames"), [(0.0, 2), (0.3, 5)])
def test_another_decision_closes_the_gate_by_the_history_of_the_frames(silent: float, frames: int) -> None:
    decision = SureSilence()
    gate = VadGate(CONFIG, decision)
    probabilities = [0.9, 0.8, *[silent] * 9]
    events = [
        (index, event)
        for index, probability in enumerate(probabilities)
        for event in gate.on_frame(PcmFrame(index, b""), probability=probability, level_dbfs=UNKNOWN_DBFS)
    ]
    closed = [(index, event) for index, event in events if isinstance(event, GateClosed)]
    assert [(index, event.reason, event.hangover_ms) for index, event in closed] == [
        (1 + frames, "speech_end", frames * 20)
    ]
    assert decision.asked[:2] == [(2, 0, 0.8), (3, 1, silent)]


def test_a_frame_is_speech_from_the_configured_probability_on() -> None:
    gate = VadGate(GateConfig(onset_frames=1, onset_probability=0.7))
    assert gate.on_frame(PcmFrame(0, b""), probability=0.69, level_dbfs=UNKNOWN_DBFS) == []
    assert gate.on_frame(PcmFrame(1, b""), probability=0.7, level_dbfs=UNKNOWN_DBFS)
