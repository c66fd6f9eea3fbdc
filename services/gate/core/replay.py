"""Runs the gate on scores that were computed before, to try settings without running the detector again."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.contracts.audio import FRAME_MS, PcmFrame
from services.gate.core.measures import GateTrace
from services.media.core.speech.gate import Forward, VadGate
from services.media.core.speech.gate_config import GateConfig

_FRAME_S = FRAME_MS / 1000


@dataclass(frozen=True, slots=True)
class ScoredStream:
    """Score, 0 to 1, and level of each frame of a stream."""

    scores: Sequence[float]
    levels_dbfs: Sequence[float]


def replay(config: GateConfig, stream: ScoredStream) -> GateTrace:
    """Return what a gate with ``config`` does with the stream."""
    gate = VadGate(config)
    delivered_at = [-1] * len(stream.scores)
    is_open = []
    for index, (score, level_dbfs) in enumerate(zip(stream.scores, stream.levels_dbfs, strict=True)):
        now = (index + 1) * _FRAME_S
        for event in gate.on_frame(PcmFrame(index, b""), probability=score, level_dbfs=level_dbfs, now=now):
            if isinstance(event, Forward):
                delivered_at[event.frame.index] = index
        is_open.append(gate.is_open)
    return GateTrace(delivered_at, is_open)
