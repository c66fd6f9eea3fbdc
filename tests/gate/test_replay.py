from services.gate.core.replay import ScoredStream, replay
from services.media.core.speech.gate_config import GateConfig

LOUD, SILENT = -20.0, -80.0


def test_a_replay_says_when_each_frame_was_sent_and_when_the_gate_was_open() -> None:
    scores = [0.0] * 60 + [1.0] * 30 + [0.0] * 60
    levels = [LOUD if score else SILENT for score in scores]
    trace = replay(GateConfig(), ScoredStream(scores, levels))
    assert len(trace.delivered_at) == len(trace.is_open) == 150
    assert all(at >= 0 for at in trace.delivered_at[60:90])
    assert trace.delivered_at[0] == trace.delivered_at[149] == -1
    assert trace.is_open[89]
    assert not trace.is_open[149]
