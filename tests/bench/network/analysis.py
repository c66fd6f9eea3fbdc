"""From recordings to figures. Takes seconds of a core for a minute of sound: run when no call is being measured.

PESQ-WB is ITU-T P.862.2: 1.0 (nothing like it) to 4.64 (the same).
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pesq import NoUtterancesError, pesq

from services.callers.speech import Samples, resample
from services.contracts.audio import FRAME_MS
from tests.bench.network.cells import Cell
from tests.bench.network.measure import ReceivedReading
from tests.bench.network.opus import StreamDecoder
from tests.bench.network.playout import Played, play
from tests.bench.network.reading import FRAME, HZ, SpokenReading, active, begins, find, piece
from tests.media.process import Came
from tests.network.browser import WIRE_HZ, ReceivedRtp

WORST = 1.0
LAST_FRAMES = 100


@dataclass(frozen=True, slots=True)
class DirectionResult:
    """One direction: a score for each sentence, and what explains them."""

    scores: tuple[float, ...]
    why: dict[str, Any]

    @property
    def pesq(self) -> float:
        """The figure that is shown."""
        return statistics.median(self.scores)

    def as_json(self) -> dict[str, Any]:
        """What goes into the file."""
        return {"pesq": round(self.pesq, 2), "all": [round(value, 2) for value in self.scores], **self.why}


@dataclass(frozen=True, slots=True)
class NetworkResult:
    """One network with its figures."""

    cell: Cell
    up: DirectionResult
    down: DirectionResult


def analyse(recording: ReceivedReading, whole: SpokenReading) -> NetworkResult:
    """Score both ways."""
    played = _played(recording.down)
    heard = resample(played.samples, from_hz=WIRE_HZ, to_hz=HZ)
    down = {
        "lost_pct": _lost_pct(recording.down),
        "recovered_pct": _percent(played.recovered, played.frames),
        "concealed_pct": _percent(played.concealed, played.frames),
        "late_packets": played.late,
        "playout_ms": round(played.delay_ms),
    }
    return NetworkResult(
        recording.cell, _up(recording, whole), DirectionResult(_scores(heard, whole, _places(heard, whole)), down)
    )


def _up(recording: ReceivedReading, whole: SpokenReading) -> DirectionResult:
    heard = _by_index(recording.up)
    places = _places(heard, whole)
    why = {
        "delivered_pct": _delivered_pct(heard, whole, places),
        "delay_ms": _delay_ms(recording.up),
        "gate_closes": list(recording.closes),
    }
    return DirectionResult(_scores(heard, whole, places), why)


def score(said: Samples, heard: Samples) -> float:
    """PESQ-WB of two pieces of one length at 16 kHz."""
    if not heard.any():
        return WORST
    try:
        return float(pesq(HZ, said.astype(np.int16), heard.astype(np.int16), "wb"))
    except NoUtterancesError:  # so little was left that nobody would call it speech
        return WORST


def _places(heard: Samples, whole: SpokenReading) -> list[int]:
    start = begins(heard, whole)
    return [find(heard, sentence, start=start) for sentence in whole.sentences]


def _scores(heard: Samples, whole: SpokenReading, places: Sequence[int]) -> tuple[float, ...]:
    spoken = [sentence.samples for sentence in whole.sentences]
    return tuple(score(said, piece(heard, at, len(said))) for said, at in zip(spoken, places, strict=True))


def _by_index(frames: Sequence[Came]) -> Samples:
    """The caller's frames at their places; a missing one is silence."""
    if not frames:
        return np.zeros(0, np.int16)
    first = frames[0].index
    sound = np.zeros((max(came.index for came in frames) - first + 1, FRAME), np.int16)
    for came in frames:
        sound[came.index - first] = np.frombuffer(came.pcm, "<i2")
    return sound.reshape(-1)


def _delivered_pct(heard: Samples, whole: SpokenReading, places: Sequence[int]) -> float:
    """Of the speech, what was received or concealed: whatever is in a frame that is not digital silence.

    Pauses do not count: a caller with DTX sends nothing in them.
    """
    there = np.repeat(heard.reshape(-1, FRAME).any(axis=1), FRAME)
    arrived = spoken = 0
    for sentence, at in zip(whole.sentences, places, strict=True):
        speech = np.repeat(active(sentence.samples), FRAME)
        arrived += int(piece(there, at, len(speech))[speech].sum())
        spoken += int(speech.sum())
    return _percent(arrived, spoken)


def _delay_ms(frames: Sequence[Came]) -> int:
    """From microphone to worker with the last sounds, give or take a frame: both count from the first packet on.

    Silence does not count: most of it stands for what was lost, and comes when the packet behind the hole does.
    """
    last = [came.lag for came in frames if any(came.pcm)][-LAST_FRAMES:]
    return round(FRAME_MS * statistics.median(last)) if last else 0


def _lost_pct(packets: Sequence[ReceivedRtp]) -> float:
    """What never came, by sequence numbers; a reading has fewer packets than there are numbers."""
    if not packets:
        return 100.0
    numbers = {(packet.sequence - packets[0].sequence + (1 << 15)) % (1 << 16) for packet in packets}
    sent = max(numbers) - min(numbers) + 1
    return _percent(sent - len(numbers), sent)


def _played(packets: Sequence[ReceivedRtp]) -> Played:
    return play(packets, StreamDecoder())


def _percent(part: int, of: int) -> float:
    return round(100 * part / max(1, of), 2)
