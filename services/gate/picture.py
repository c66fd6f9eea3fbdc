"""A picture of what the gate does with a recording: waveform, score, gate, what is sent, and where turns end."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from services.contracts.audio import FRAME_MS
from services.gate.analysis import AnalysedFile, AnalysedStream

_ROW_S = 30
"""Seconds of a row, where that makes no more than `_MAX_ROWS` rows of a stream."""
_MAX_ROWS = 8
_WIDTH, _ROW_HEIGHT = 13, 1.75
_WAVE, _SCORE, _OPEN, _SENT = "#475569", "#8b5cf6", "#3b82f6", "#10b981"
_TURN = "#ef4444"
_WAVE_AT, _SCORE_FROM, _OPEN_AT, _SENT_AT = 0.0, -2.3, -2.75, -3.15
_BAR = 0.25
_STYLE: Any = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}


def draw(analysed: AnalysedFile, target: Path) -> None:
    """Write the picture as PNG.

    Raises:
        OSError: the file cannot be written.
    """
    rows = min(_MAX_ROWS, max(1, math.ceil(analysed.seconds / _ROW_S)))
    with mpl.rc_context(_STYLE):
        count = rows * len(analysed.streams)
        figure = Figure(figsize=(_WIDTH, 0.9 + _ROW_HEIGHT * count), layout="constrained")
        FigureCanvasAgg(figure)
        axes: list[Axes] = list(figure.subplots(count, 1, squeeze=False)[:, 0])
        for number, stream in enumerate(analysed.streams):
            _draw_stream(axes[number * rows : (number + 1) * rows], stream, analysed.seconds / rows)
        axes[-1].set_xlabel("seconds")
        handles = [
            Line2D([], [], color=_TURN, linestyle="--", label="turn ends"),
            Patch(color=_SENT, alpha=0.25, label="sent"),
        ]
        figure.legend(handles=handles, loc="upper right", ncols=len(handles), frameon=False)
        figure.savefig(target, format="png", dpi=110)


def _draw_stream(rows: Sequence[Axes], stream: AnalysedStream, row_s: float) -> None:
    decisions = stream.decisions
    columns = np.array(stream.envelope.columns)
    at = np.arange(len(columns)) * stream.envelope.frames_per_column * FRAME_MS / 1000
    peak = max(float(np.abs(columns[:, :2]).max()), 1e-4)
    title = (
        f"{stream.name}: {decisions.sent_ms / 1000:.1f} s sent, {100 * decisions.share_saved:.0f} % saved, "
        f"{len(decisions.turn_ends_ms)} turns; peak {20 * math.log10(peak):.0f} dBFS"
    )
    rows[0].set_title(title, loc="left", fontsize=9)
    opened = _open_spans(stream)
    for number, axes in enumerate(rows):
        axes.fill_between(at, columns[:, 0] / peak, columns[:, 1] / peak, color=_WAVE, linewidth=0.3)
        axes.plot(at, _SCORE_FROM + columns[:, 2], color=_SCORE, linewidth=0.8)
        _bars(axes, opened, _OPEN_AT, _OPEN)
        _bars(axes, _seconds(decisions.sent), _SENT_AT, _SENT)
        for start, end in _seconds(decisions.sent):
            if end > number * row_s and start < (number + 1) * row_s:
                axes.axvspan(start, end, color=_SENT, alpha=0.12, linewidth=0)
        ends = [end / 1000 for end in decisions.turn_ends_ms]
        axes.vlines(ends, _SENT_AT - _BAR, 1, colors=_TURN, linestyles="--", linewidth=0.9)
        axes.set_xlim(number * row_s, (number + 1) * row_s)
        axes.set_ylim(_SENT_AT - _BAR, 1.05)
        axes.set_yticks([_WAVE_AT, _SCORE_FROM + 0.5, _OPEN_AT, _SENT_AT], ["waveform", "score", "open", "sent"])
        axes.tick_params(axis="y", length=0)


def _bars(axes: Axes, spans: list[tuple[float, float]], at: float, colour: str) -> None:
    axes.broken_barh([(start, end - start) for start, end in spans], (at - _BAR / 2, _BAR), color=colour, linewidth=0)


def _seconds(spans: list[list[int]]) -> list[tuple[float, float]]:
    return [(start / 1000, end / 1000) for start, end in spans]


def _open_spans(stream: AnalysedStream) -> list[tuple[float, float]]:
    decided = [*((opened["ms"], True) for opened in stream.decisions.opens)]
    decided += [(closed["ms"], False) for closed in stream.decisions.closes]
    moves = sorted(decided)
    return [(start / 1000, end / 1000) for (start, opens), (end, _) in pairwise(moves) if opens]
