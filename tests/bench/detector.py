"""CPU time of speech detection and gate over 100 calls, and of the longest slots.

The calls are spread over the four slots of 20 ms as the wheel spreads them, so a batch has 25 frames. All of them talk
without a pause (`talking`), or speak a sentence in every 5 s with a quiet room between (`conversation`). Times are of
this thread's CPU, so a busy machine affects them only by its caches. With build/compiled first on the path (`make
compile`) the compiled modules are measured.
"""

import argparse
import time  # noqa: TID251 - a bench reads the CPU's clock, which no service may
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from services.contracts.audio import UP_HZ, PcmFrame
from services.media.core.rtp.pacer import SLOTS
from services.media.core.speech.gate import VadGate
from services.media.core.speech.level import levels_dbfs
from services.media.detectors import open_detector
from services.media.settings import MediaSettings
from services.runtime.process.settings import load

CALLS = 100
_RECORDED = Path(__file__).parents[2] / "services" / "callers" / "recorded.wav"
_WARM_UP_TURNS = 50
_PAUSE_S = 3


@dataclass(frozen=True, slots=True)
class DetectorFigures:
    """``cpu_us``: of a frame, in detector, level and gate. ``slot_ms_p99``, ``slot_ms_max``: of a slot's batch."""

    cpu_us: float
    gate_us: float
    slot_ms_p99: float
    slot_ms_max: float


def cpu_us_100_calls() -> float:
    """Return the CPU time in µs of a frame of one of 100 calls that all talk: detector, level and gate."""
    return measure(talking=True).cpu_us


def slot_ms_p99() -> float:
    """Return the 99th percentile of a slot's time in ms, over 100 calls that talk and pause, so replays are in it."""
    return measure(talking=False).slot_ms_p99


def measure(*, talking: bool, turns: int = 500) -> DetectorFigures:
    """Measure ``turns`` frames of each call."""
    settings = load(MediaSettings, {"MEDIA_ADVERTISED_ADDRESS": "loopback"})
    detector = open_detector(settings.chosen_detector, settings.webrtc_detector)
    states = [detector.new_state() for _ in range(CALLS)]
    gates = [VadGate(settings.gate) for _ in range(CALLS)]
    sound = _sound(pause_s=0 if talking else _PAUSE_S)
    offsets = [number * 37 % len(sound) for number in range(CALLS)]
    slots: list[float] = []
    in_gate = 0.0
    for turn in range(turns + _WARM_UP_TURNS):
        for slot in range(SLOTS):
            numbers = range(slot, CALLS, SLOTS)
            frames = [PcmFrame(turn, sound[(offsets[number] + turn) % len(sound)]) for number in numbers]
            began = time.thread_time()
            scores = detector.probabilities([(states[n], frame) for n, frame in zip(numbers, frames, strict=True)])
            levels = levels_dbfs(frames)
            detected = time.thread_time()
            for number, frame, score, level in zip(numbers, frames, scores, levels, strict=True):
                gates[number].on_frame(frame, probability=score, level_dbfs=level, now=turn * 0.02)
            ended = time.thread_time()
            if turn >= _WARM_UP_TURNS:
                slots.append(ended - began)
                in_gate += ended - detected
    count = turns * CALLS
    p99, longest = np.percentile(slots, [99, 100]) * 1e3
    return DetectorFigures(sum(slots) / count * 1e6, in_gate / count * 1e6, float(p99), float(longest))


def _sound(*, pause_s: float) -> list[bytes]:
    """Return the frames of a recorded sentence, and of ``pause_s`` of a quiet room."""
    with wave.open(str(_RECORDED)) as file:
        speech = file.readframes(file.getnframes())
    room = np.random.default_rng(1).normal(0, 10, int(pause_s * UP_HZ)).astype("<i2").tobytes()
    pcm = speech + room
    return [pcm[at : at + 640] for at in range(0, len(pcm) - 639, 640)]


def main() -> None:
    """Print the figures."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    table = Table("", "µs a frame", "of it the gate", "slot p99 ms", "slot max ms", title=f"{CALLS} calls")
    for name, talking in (("talking", True), ("conversation", False)):
        found = measure(talking=talking)
        table.add_row(
            name, *(f"{value:.2f}" for value in (found.cpu_us, found.gate_us, found.slot_ms_p99, found.slot_ms_max))
        )
    Console().print(table)


if __name__ == "__main__":
    main()
