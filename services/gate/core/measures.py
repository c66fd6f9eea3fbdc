"""GateFigures of a gate on labelled streams: what was delivered, billed, and how soon turns ended.

The definitions are those of a benchmark of gates that the project is compared by. Times are in seconds of the stream
unless a name says otherwise; frames are 20 ms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from services.contracts.audio import FRAME_MS

Segment = tuple[float, float]
GateFigures = dict[str, float | int | None]
_PER_S = 1000 // FRAME_MS
_PART_MS = 5
_PARTS = FRAME_MS // _PART_MS
_MERGE_S, _UTTERANCE_GAP_S = 0.2, 0.3
"""Pauses that count as spoken for "billed", and that belong to one utterance."""
_REACH = 5
_NEAR = np.ones(2 * _REACH + 1)
"""Sent audio within 100 ms of speech is not falsely sent."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known about a stream. ``ignored``: neither speech nor silence."""

    speech: tuple[Segment, ...] = ()
    ignored: tuple[Segment, ...] = ()
    turns: tuple[Segment, ...] = ()


@dataclass(slots=True)
class GateTrace:
    """What a gate did, by frame."""

    delivered_at: list[int]
    """In which frame each frame was sent, -1: never."""
    is_open: list[bool]
    """Whether the gate was open after each frame."""


@dataclass(slots=True)
class StreamFigures:
    """Counts of one stream, which add up over streams."""

    frames: int
    sent_frames: int
    speech_frames: int
    lost_frames: int
    """Frames of speech that were not sent."""
    spoken_s: float
    turn_s: float
    silent_frames: int
    false_frames: int
    false_opens: int
    onset_ms: list[int] = field(default_factory=list)
    """Speech lost at the beginning of each utterance."""
    tail_ms: list[int] = field(default_factory=list)
    open_latency_ms: list[int] = field(default_factory=list)
    frame_latency_ms: list[int] = field(default_factory=list)
    turn_end_ms: list[int] = field(default_factory=list)
    """From the true end of each turn until the gate was closed."""
    missed_utterances: int = 0
    turns: int = 0
    """Turns in which the gate was open."""
    cut_turns: int = 0
    """Turns in which it closed at a pause."""
    closes_in_turns: int = 0
    merged_turns: int = 0
    """Turns after which it did not close before the next."""


def merged(segments: Sequence[Segment], *, gap_s: float) -> list[Segment]:
    """Return the segments in order, joined where the gap between them is shorter than ``gap_s``."""
    found: list[Segment] = []
    for start, end in sorted(segments):
        if found and start - found[-1][1] < gap_s:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def measure(labels: Labels, trace: GateTrace) -> StreamFigures:
    """Return the figures of one stream."""
    delivered_at, is_open = np.array(trace.delivered_at), np.array(trace.is_open, bool)
    frames, sent = len(delivered_at), delivered_at >= 0
    speech = _share_of_frames(labels.speech, frames) >= 0.5  # noqa: PLR2004 - most of the frame
    ignored = (_share_of_frames(labels.ignored, frames) > 0) & ~speech
    near = np.convolve((speech | ignored).astype(float), _NEAR)[_REACH : _REACH + frames] > 0
    starts, ends = _edges(sent)
    found = StreamFigures(
        frames=frames,
        sent_frames=int(sent.sum()),
        speech_frames=int(speech.sum()),
        lost_frames=int((speech & ~sent).sum()),
        spoken_s=sum(end - start for start, end in merged(labels.speech, gap_s=_MERGE_S)),
        turn_s=sum(end - start for start, end in labels.turns),
        silent_frames=int((~speech & ~ignored).sum()),
        false_frames=int((sent & ~near).sum()),
        false_opens=sum(not near[start:end].any() for start, end in zip(starts, ends, strict=True)),
    )
    heard = np.flatnonzero(speech & sent)
    found.frame_latency_ms = ((delivered_at[heard] - heard) * FRAME_MS).tolist()
    _measure_utterances(found, labels, delivered_at)
    _measure_turns(found, labels, is_open)
    return found


def summary(streams: Sequence[StreamFigures]) -> GateFigures:
    """Return the figures of all streams together; None where nothing was measured."""
    frames, sent = sum(s.frames for s in streams), sum(s.sent_frames for s in streams)
    speech, spoken_s = sum(s.speech_frames for s in streams), sum(s.spoken_s for s in streams)
    sent_s = sent / _PER_S
    turns, silent_s = sum(s.turns for s in streams), sum(s.silent_frames for s in streams) / _PER_S
    onset, tail = ([ms for s in streams for ms in getattr(s, name)] for name in ("onset_ms", "tail_ms"))
    opened = [ms for s in streams for ms in s.open_latency_ms]
    frame_latency = [ms for s in streams for ms in s.frame_latency_ms]
    ended = [ms for s in streams for ms in s.turn_end_ms]
    lost = _ratio(sum(s.lost_frames for s in streams), speech)
    return {
        "minutes": round(frames / _PER_S / 60, 1),
        "speech_s": round(spoken_s, 1),
        "sent_share": _ratio(sent, frames),
        "delivered_pct": None if lost is None else 100 * (1 - lost),
        "billed_ratio": _ratio(sent_s, spoken_s),
        "billed_per_turnsec": _ratio(sent_s, sum(s.turn_s for s in streams)),
        "onset_p50": _percentile(onset, 50),
        "onset_p95": _percentile(onset, 95),
        "onset_max": _percentile(onset, 100),
        "tail_p95": _percentile(tail, 95),
        "missed_utt": sum(s.missed_utterances for s in streams),
        "utts": len(onset),
        "open_lat_p50": _percentile(opened, 50),
        "open_lat_p95": _percentile(opened, 95),
        "frame_lat_p50": _percentile(frame_latency, 50),
        "frame_lat_p95": _percentile(frame_latency, 95),
        "eot_p50": _percentile(ended, 50),
        "eot_p95": _percentile(ended, 95),
        "midturn_closes_per_100": _ratio(100 * sum(s.closes_in_turns for s in streams), turns),
        "cut_turns_pct": _ratio(100 * sum(s.cut_turns for s in streams), turns),
        "merged": sum(s.merged_turns for s in streams),
        "turns": turns,
        "merged_pct": _ratio(100 * sum(s.merged_turns for s in streams), turns),
        "false_opens_per_min": _ratio(60 * sum(s.false_opens for s in streams), silent_s),
        "false_sent_pct": _ratio(100 * sum(s.false_frames for s in streams) / _PER_S, silent_s),
    }


def _measure_utterances(found: StreamFigures, labels: Labels, delivered_at: npt.NDArray[np.int_]) -> None:
    for start_s, end_s in merged(labels.speech, gap_s=_UTTERANCE_GAP_S):
        start, end = round(start_s * _PER_S), min(found.frames, round(end_s * _PER_S))
        if end <= start:
            continue
        sent = np.flatnonzero(delivered_at[start:end] >= 0)
        if not len(sent):
            found.missed_utterances += 1
            found.onset_ms.append((end - start) * FRAME_MS)
            continue
        first, last = int(sent[0]), int(sent[-1])
        found.onset_ms.append(first * FRAME_MS)
        found.tail_ms.append((end - start - 1 - last) * FRAME_MS)
        found.open_latency_ms.append((int(delivered_at[start + first]) - start + 1) * FRAME_MS)


def _measure_turns(found: StreamFigures, labels: Labels, is_open: npt.NDArray[np.bool_]) -> None:
    for number, (start_s, end_s) in enumerate(labels.turns):
        start, end = round(start_s * _PER_S), round(end_s * _PER_S)
        is_last = number + 1 == len(labels.turns)
        following = found.frames if is_last else round(labels.turns[number + 1][0] * _PER_S)
        if end >= found.frames or not is_open[start:end].any():
            continue
        found.turns += 1
        if end - start > 8:  # noqa: PLR2004 - shorter than a pause
            closes = int((~is_open[start + 1 : end - 5] & is_open[start : end - 6]).sum())
            found.closes_in_turns += closes
            found.cut_turns += closes > 0
        closed = np.flatnonzero(~is_open[end:following])
        if len(closed):
            found.turn_end_ms.append(int(closed[0]) * FRAME_MS)
        elif following < found.frames:
            found.merged_turns += 1


def _share_of_frames(segments: Sequence[Segment], frames: int) -> npt.NDArray[np.float64]:
    """Return the share of each frame that the segments cover."""
    parts = np.zeros(frames * _PARTS + 2 * _PARTS)
    for start, end in segments:
        parts[round(start * 1000 / _PART_MS) : round(end * 1000 / _PART_MS)] = 1
    covered: npt.NDArray[np.float64] = parts[: frames * _PARTS].reshape(frames, _PARTS).mean(1)
    return covered


def _edges(flags: npt.NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    steps = np.diff(np.concatenate([[0], flags.astype(int), [0]]))
    return np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist()


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _percentile(values: Sequence[int], percent: int) -> float | None:
    return float(np.percentile(values, percent)) if values else None
