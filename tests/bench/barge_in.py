"""What callers utter over an answer, and what the answer does: is held, goes on, or is stopped.

Each trial is a conversation of the media process, with its detector and its gate as the environment sets them, whose
answer plays while the caller utters one sound, or its microphone hears the answer. Writes docs/bench/barge-in.json.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_HZ, PcmFrame
from services.contracts.frame import Flag, Frame, Kind
from services.contracts.ids import Epoch, ItemId
from services.gate.options import gate_settings
from services.gate.streams import Scorer
from services.media.core.commands import CountGateOpen
from services.media.core.conversation.conversation import Conversation, ConversationConfig
from services.media.core.speech.gate_config import GateConfig
from services.media.settings import MediaSettings
from services.runtime.audio.opus import LOWDELAY, VOIP, OpusDecoder, OpusEncoder
from tests.bench import barge_sounds as sounds
from tests.bench.barge_sounds import FRAME, HZ, EchoPath, Rng, Sound
from tests.bench.machine import cpu_model

RESULTS = Path(__file__).parents[2] / "docs" / "bench" / "barge-in.json"
SECONDS = 5
_BEFORE_S = 1  # of the call, before the answer: the first scores of a detector say little
_CALL_S = _BEFORE_S + SECONDS
_ONSET_S = (_BEFORE_S + 2.0, _BEFORE_S + 2.6)
_EPOCH, _ITEM = Epoch(1), ItemId("item_bench")


@dataclass(frozen=True, slots=True)
class Trial:
    """An answer, what the caller and the room utter (16 kHz), when the caller begins, the way of an echo, the codec.

    ``onset_ms``: None: the caller says nothing.
    """

    answer: Sound
    uttered: Sound
    onset_ms: float | None
    echo: EchoPath | None
    opus: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """When the answer was first held or stopped, and when it was stopped, in ms; None: it was not. How often held."""

    onset_ms: float | None
    silent_ms: float | None
    stopped_ms: float | None
    holds: int


def to_pcm(x: Sound) -> bytes:
    return np.clip(np.round(x * 32768), -32768, 32767).astype("<i2").tobytes()


def to_sound(pcm: bytes) -> Sound:
    return np.frombuffer(pcm, "<i2").astype(float) / 32768


def _trial(rng: Rng, x: Sound, onset_ms: float | None, echo: EchoPath | None = None) -> Trial:
    """A trial over an answer of -24 to -16 dBFS, said again until it is over, in a room with some noise."""
    answer = sounds.answer(rng)
    answer = np.tile(answer, 1 + SECONDS * HZ // len(answer))[: SECONDS * HZ]
    answer = np.clip(answer * 10 ** (rng.uniform(-24, -16) / 20) / answer.std(), -0.98, 0.98)
    x = x + sounds.noise(rng, len(x)) * 10 ** (rng.uniform(-75, -55) / 20)
    return Trial(answer, x, onset_ms, echo, opus=rng.random() < 0.7)


def _uttered(make: Callable[[Rng], Sound], low_dbfs: float, high_dbfs: float, rng: Rng) -> tuple[Sound, float]:
    x, onset = np.zeros(_CALL_S * HZ), int(rng.uniform(*_ONSET_S) * HZ)
    sound = make(rng)[: 2 * HZ]
    gain = min(10 ** (rng.uniform(low_dbfs, high_dbfs) / 20) / sound.std(), 0.97)
    x[onset : onset + len(sound)] += gain * sound
    return x, onset / HZ * 1000


def uttered(make: Callable[[Rng], Sound], low_dbfs: float, high_dbfs: float, rng: Rng) -> Trial:
    """A trial in which the caller, who hears the answer by headphones, utters a sound at a level within bounds."""
    return _trial(rng, *_uttered(make, low_dbfs, high_dbfs, rng))


def echoing(rng: Rng, *, canceller: bool, caller: bool = False) -> Trial:
    """A trial in which a microphone hears the answer, -6 to -30 dB, 60 to 450 ms later; with the caller or without."""
    delay_ms = rng.uniform(50, 300) + rng.uniform(10, 150)
    echo = EchoPath(rng, gain_db=rng.uniform(-30, -6), delay_ms=delay_ms, canceller=canceller)
    if not caller:
        return _trial(rng, np.zeros(_CALL_S * HZ), None, echo)
    return _trial(rng, *_uttered(sounds.speech, -32, -18, rng), echo)


KINDS: dict[str, tuple[int, Callable[[Rng], Trial]]] = {
    "speech": (150, partial(uttered, sounds.speech, -36, -18)),
    "speech over an echo": (60, partial(echoing, canceller=False, caller=True)),
    "mm-hm": (100, partial(uttered, sounds.hummed, -38, -20)),
    "cough": (100, partial(uttered, sounds.cough, -32, -14)),
    "beep": (60, partial(uttered, sounds.beep, -36, -16)),
    "dtmf": (60, partial(uttered, sounds.dtmf, -36, -16)),
    "door": (60, partial(uttered, sounds.door, -36, -14)),
    "click": (60, partial(uttered, sounds.click, -36, -14)),
    "echo": (100, partial(echoing, canceller=False)),
    "echo behind a canceller": (100, partial(echoing, canceller=True)),
    "uh-huh, yeah, okay": (40, partial(uttered, sounds.backchannel, -36, -20)),
}


class RunningTrial:
    """A trial frame by frame: the answer as it is really played comes back as its echo."""

    def __init__(self, trial: Trial, gate: GateConfig) -> None:
        self._trial = trial
        self._call = Conversation(ConversationConfig(_EPOCH, 3600, gate), now=0.0)
        self._down = (OpusEncoder(LOWDELAY), OpusDecoder(HZ))
        self._up = (OpusEncoder(VOIP), OpusDecoder(HZ))
        self._was_held = False
        self._holds = 0
        self._silent_ms: float | None = None
        self.outcome: Outcome | None = None

    def next_frame(self, index: int) -> PcmFrame:
        """Play a frame, and return what is received after it."""
        if index * FRAME == _BEFORE_S * HZ:
            answer = to_pcm(sounds.resample(self._trial.answer, HZ, DOWN_HZ))
            frame = Frame(Kind.AUDIO_DOWN, _EPOCH, 0, 0, _ITEM, Flag.ITEM_END, answer)
            self._call.on_worker_frame(frame, now=float(_BEFORE_S))
        x = self._trial.uttered[index * FRAME : (index + 1) * FRAME]
        pulled, _ = self._call.pull(now=index * 0.02)
        if self._trial.echo is not None:
            pcm = pulled.pcm if pulled else bytes(DOWN_FRAME_BYTES)
            encoder, decoder = self._down
            x = x + self._trial.echo.heard(to_sound(decoder.decode(encoder.encode(pcm))))
        if self._trial.opus:
            encoder, decoder = self._up
            x = to_sound(decoder.decode(encoder.encode(to_pcm(sounds.resample(x, HZ, DOWN_HZ)))))
        return PcmFrame(index, to_pcm(x))

    def on_scored(self, frame: PcmFrame, probability: float, level_dbfs: float) -> None:
        """Give the frame to the call; note what the answer does."""
        now_ms = (frame.index + 1) * 20.0
        commands = self._call.on_caller_frame(frame, probability=probability, level_dbfs=level_dbfs, now=now_ms / 1000)
        onset_ms = self._trial.onset_ms
        if self.outcome is not None or (onset_ms is not None and now_ms < onset_ms):
            return
        stopped = any(isinstance(command, CountGateOpen) for command in commands)
        is_held = self._call.down.playout.is_held
        self._holds += is_held and not self._was_held
        self._was_held = is_held
        if self._silent_ms is None and (stopped or is_held):
            self._silent_ms = now_ms
        if stopped:
            self.outcome = Outcome(onset_ms, self._silent_ms, now_ms, self._holds)

    def end(self) -> Outcome:
        return self.outcome or Outcome(self._trial.onset_ms, self._silent_ms, None, self._holds)


def run(trials: Sequence[Trial], settings: MediaSettings) -> list[Outcome]:
    """Carry out trials beside each other."""
    scorer = Scorer(settings, len(trials))
    running = [RunningTrial(trial, settings.gate) for trial in trials]
    for index in range(_CALL_S * HZ // FRAME):
        frames = [trial.next_frame(index) for trial in running]
        for trial, frame, (probability, level_dbfs) in zip(running, frames, scorer.score(frames), strict=True):
            trial.on_scored(frame, probability, level_dbfs)
    return [trial.end() for trial in running]


def percentile(values: list[float], share: float) -> int | None:
    return round(float(np.percentile(values, share))) if values else None


def figures(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return shares in percent and times since the onset in ms."""
    silent = [o.silent_ms - (o.onset_ms or 0) for o in outcomes if o.silent_ms is not None]
    stopped = [o.stopped_ms - (o.onset_ms or 0) for o in outcomes if o.stopped_ms is not None]
    found: dict[str, Any] = {
        "trials": len(outcomes),
        "held_pct": round(100 * len(silent) / len(outcomes), 1),
        "holds_a_trial": round(sum(o.holds for o in outcomes) / len(outcomes), 2),
        "stopped_pct": round(100 * len(stopped) / len(outcomes), 1),
        "stops_an_hour": round(3600 * len(stopped) / (len(outcomes) * SECONDS), 1),
    }
    if all(o.onset_ms is not None for o in outcomes):
        found |= {"silent_ms_p50": percentile(silent, 50), "silent_ms_p95": percentile(silent, 95)}
        found |= {"stopped_ms_p50": percentile(stopped, 50), "stopped_ms_p95": percentile(stopped, 95)}
    return found


def measure(share: float, seed: int, changes: dict[str, str]) -> dict[str, Any]:
    """Run ``share`` of the trials of each kind."""
    settings = gate_settings(changes)
    results: dict[str, Any] = {}
    for kind, (count, make) in KINDS.items():
        rng = np.random.default_rng([seed, *kind.encode()])
        trials = [make(rng) for _ in range(max(1, round(share * count)))]
        outcomes = run(trials, settings)
        results[kind] = figures(outcomes)
        Console(stderr=True).print(kind, results[kind])
    return {"detector": settings.chosen_detector.name, "cpu": cpu_model(), "kinds": results}


def show(report: dict[str, Any]) -> None:
    table = Table(title=f"barge-in, {report['detector']}", title_justify="left")
    columns = (
        "trials",
        "held_pct",
        "holds_a_trial",
        "stopped_pct",
        "silent_ms_p50",
        "silent_ms_p95",
        "stopped_ms_p50",
        "stopped_ms_p95",
    )
    for name in ("", *columns):
        table.add_column(name)
    for kind, found in report["kinds"].items():
        table.add_row(kind, *(str(found.get(name, "")) for name in columns))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the trials; less is sooner done")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the gate")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    report = measure(arguments.share, arguments.seed, dict(change.split("=", 1) for change in arguments.set))
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    show(report)


if __name__ == "__main__":
    main()
