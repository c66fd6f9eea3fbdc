"""Labels of recordings: Audacity's text, or what the other channel of a stereo call tells."""

from collections.abc import Sequence

import numpy as np

from services.contracts.audio import FRAME_MS
from services.gate.core.measures import Labels, Segment, merged

PAUSE_S = 2.0
"""Without labels of turns, speech with shorter pauses than this is one turn."""
_SPEECH_SCORE = 0.5
_GAP_S, _LEAST_S = 0.3, 0.1
"""Of a channel without labels: pauses within a word or phrase, and the shortest speech."""
_ANSWER_S = 0.7
"""The other party speaks next if it speaks for this long: shorter is a sign of listening ("mm-hm")."""


class LabelSyntaxError(Exception):
    """A file of labels cannot be read. ``str()`` is the reason, without the file's name."""


def parse_audacity(text: str) -> Labels:
    """Return labels as Audacity exports them: start, end and label, separated by tabs, on each line.

    `turn` is a turn, `ignore` is neither speech nor silence, every other label is speech. Without turns, speech with
    pauses below `PAUSE_S` is one.

    Raises:
        LabelSyntaxError: a line has no two times, or its end is before its start.
    """
    found: dict[str, list[Segment]] = {"turn": [], "ignore": [], "speech": []}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("\\"):  # the frequencies of the label before
            continue
        start, end, label = _parse_line(line, number)
        kind = label.strip().lower()
        found[kind if kind in found else "speech"].append((start, end))
    speech = tuple(sorted(found["speech"]))
    turns = sorted(found["turn"]) or merged(speech, gap_s=PAUSE_S)
    return Labels(speech=speech, ignored=tuple(found["ignore"]), turns=tuple(turns))


def _parse_line(line: str, number: int) -> tuple[float, float, str]:
    start_text, _, rest = line.partition("\t")
    end_text, _, label = rest.partition("\t")
    try:
        start, end = float(start_text), float(end_text)
    except ValueError:
        raise LabelSyntaxError(f"line {number} is not start, end and label, separated by tabs") from None
    if not 0 <= start <= end < float("inf"):
        raise LabelSyntaxError(f"line {number} ends before it begins, or is not within a recording")
    return start, end, label


def speech_of(scores: Sequence[float]) -> list[Segment]:
    """Return where a channel has speech by its detector's scores, one for each frame."""
    flags = np.array(scores) >= _SPEECH_SCORE
    steps = np.diff(np.concatenate([[0], flags.astype(int), [0]]))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    frame_s = FRAME_MS / 1000
    segments = [(float(start * frame_s), float(end * frame_s)) for start, end in zip(starts, ends, strict=True)]
    return [(start, end) for start, end in merged(segments, gap_s=_GAP_S) if end - start >= _LEAST_S]


def labels_of_stereo(own: Sequence[Segment], other: Sequence[Segment]) -> Labels:
    """Return labels of one channel of a call: a turn is its speech until the other party speaks next.

    Speech of the other party that is short, or that begins and ends while this one speaks, ends no turn.
    """
    answers = [start for start, end in other if end - start >= _ANSWER_S]
    turns: list[Segment] = []
    for start, end in own:
        if turns and not any(turns[-1][1] <= answer < start for answer in answers):
            turns[-1] = (turns[-1][0], end)
        else:
            turns.append((start, end))
    return Labels(speech=tuple(own), turns=tuple(turns))
