"""`hushgate gate tune FOLDER`: settings suggested from labelled recordings, with what they would trade."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.contracts.audio import FRAME_MS, PcmFrame
from services.gate.analysis import OnAnalysed
from services.gate.core.measures import GateFigures, StreamFigures, measure, summary
from services.gate.core.replay import ScoredStream, replay
from services.gate.core.search import Aims, Changes, CrossValidated, cross_validate, search
from services.gate.labelled import Basis, LabelledFolder, Pcm, read_folder
from services.gate.options import gate_settings
from services.gate.streams import Scorer
from services.gate.terminal import progress_bar
from services.media.settings import MediaSettings
from services.runtime.errors import SettingsError

GRID: dict[str, tuple[float, ...]] = {
    "VAD_ONSET_SCORE": (0.2, 0.3, 0.35, 0.45),
    "VAD_CERTAIN_SCORE": (0.6, 0.7, 0.8, 0.9),
    "VAD_ONSET_MS": (40, 60, 80, 100, 140),
    "VAD_CALLER_ODDS": (1, 2, 3.3, 5),
    "VAD_STRANGER_ODDS": (0.3, 0.5, 1),
    "VAD_TURN_SCORE": (0.3, 0.4, 0.5, 0.6),
    "VAD_RESUME_MS": (20, 40, 60),
    "VAD_HOLD_WITHIN_DB": (9, 12, 15, 20),
    "VAD_HANGOVER_MS": (300, 400, 500, 600, 700, 800, 1000, 1200),
    "VAD_DOUBT_SCORE": (0.03, 0.06, 0.1, 0.2),
    "VAD_DOUBT_MS": (60, 100, 160, 240),
    "VAD_TAIL_MS": (40, 60, 100, 160),
    "VAD_AUDIBLE_TAIL_MS": (0, 60, 120),
    "VAD_PRE_ROLL_MS": (100, 160, 200, 260),
    "VAD_AUDIBLE_PRE_ROLL_MS": (0, 60, 100, 160),
}
"""The values that are tried of each setting."""
COLUMNS = (
    ("delivered_pct", "delivered, %", 2),
    ("billed_ratio", "billed x", 3),
    ("cut_turns_pct", "cut turns, %", 1),
    ("eot_p50", "end of turn p50, ms", 0),
    ("eot_p95", "p95, ms", 0),
)
_BY_STEREO = ("VAD_HANGOVER_MS",)
"""What two channels without labels can tell: when turns end. What is speech they do not tell."""
_HOW: dict[Basis, str] = {
    "manifest": "labels of manifest.json",
    "labels": "labels beside the recordings",
    "stereo": "two-channel calls: turns by when the other party speaks next. What is speech is taken from the "
    "detector, so delivered and billed only compare settings, and only the hangover is suggested",
}


@dataclass(slots=True)
class Tuning:
    """What was found. ``changes``: each single change with its figures."""

    folder: LabelledFolder
    minutes: float
    current: GateFigures
    changes: list[tuple[str, float, GateFigures]]
    suggested: Changes
    figures: GateFigures
    validated: CrossValidated | None

    @property
    def notes(self) -> list[str]:
        """What the figures mean and what they do not."""
        notes = [f"Truth: {_HOW[self.folder.basis]}."]
        notes.append("The figures of the changes are those of the recordings on which they were chosen.")
        if self.validated:
            notes.append(
                f"Cross-validated: in each of {self.validated.folds} parts, with what was chosen on the other parts. "
                "Other callers and lines may differ more than these recordings do."
            )
        else:
            notes.append("Too few recordings for a cross-validation: two or more are needed.")
        notes += [f"not used: {name}: {reason}" for name, reason in self.folder.skipped.items()]
        return notes

    def as_json(self) -> dict[str, Any]:
        """Return the output of `--json`."""
        checked = self.validated
        return {
            "basis": self.folder.basis,
            "streams": len(self.folder.streams),
            "minutes": self.minutes,
            "current": self.current,
            "changes": [
                {"setting": f"MEDIA_{name}", "value": value, "figures": figures}
                for name, value, figures in self.changes
            ],
            "suggested": {f"MEDIA_{name}": value for name, value in self.suggested.items()},
            "figures": self.figures,
            "cross_validated": None if checked is None else {"folds": checked.folds, "figures": checked.figures},
            "notes": self.notes,
        }


@dataclass(slots=True)
class Trials:
    """The figures of all streams by settings; each set of settings is measured once."""

    folder: LabelledFolder
    base: dict[str, str]
    """Settings that all trials share, as given by `--set`."""
    _known: dict[tuple[tuple[str, float], ...], list[StreamFigures] | None] = field(default_factory=dict)

    def evaluate(self, changes: Changes) -> list[StreamFigures] | None:
        """Return the figures of each stream with ``changes``; None if the settings' rules refuse them."""
        key = tuple(sorted(changes.items()))
        if key not in self._known:
            self._known[key] = self._measure(changes)
        return self._known[key]

    def _measure(self, changes: Changes) -> list[StreamFigures] | None:
        try:
            config = gate_settings(self.base | {name: f"{value:g}" for name, value in changes.items()}).gate
        except SettingsError:
            return None
        return [measure(stream.labels, replay(config, stream.scored)) for stream in self.folder.streams]


def run(settings: MediaSettings, asked: argparse.Namespace) -> int:
    """Suggest settings; return 0.

    Raises:
        NothingToTuneError: the folder has no labelled recordings.
    """
    tuning = tune(settings, asked)
    if asked.json:
        sys.stdout.write(json.dumps(tuning.as_json(), indent=2, ensure_ascii=False) + "\n")
    else:
        show(tuning, Console())
    return 0


def tune(settings: MediaSettings, asked: argparse.Namespace) -> Tuning:
    """Score the recordings once, then try settings on the scores."""
    with progress_bar("scoring", None) as on_progress:
        folder = read_folder(asked.folder, lambda channels: score(settings, channels, on_progress))
    grid = {name: values for name, values in GRID.items() if folder.basis != "stereo" or name in _BY_STEREO}
    trials = Trials(folder, dict(asked.changes))
    aims = Aims(delivered_pct=asked.delivered, cut_pct=asked.cut)
    current = trials.evaluate({}) or []
    changes = []
    singles = [(name, value) for name, values in grid.items() for value in values]
    with progress_bar("trying settings", len(singles)) as on_progress:
        for name, value in singles:
            if value != getattr(settings, name.lower()) and (found := trials.evaluate({name: value})) is not None:
                changes.append((name, value, summary(found)))
            on_progress(1)
    suggested = search(grid, trials.evaluate, aims, range(len(folder.streams)))
    groups = [stream.group for stream in folder.streams]
    frames = sum(len(stream.scored.scores) for stream in folder.streams)
    return Tuning(
        folder=folder,
        minutes=round(frames * FRAME_MS / 60_000, 1),
        current=summary(current),
        changes=changes,
        suggested=suggested,
        figures=summary(trials.evaluate(suggested) or []),
        validated=cross_validate(grid, trials.evaluate, aims, groups, folds=asked.folds),
    )


def score(settings: MediaSettings, channels: Sequence[Pcm], on_progress: OnAnalysed) -> list[ScoredStream]:
    """Run the detector on streams that run at the same time."""
    scorer = Scorer(settings, len(channels))
    scored: list[tuple[list[float], list[float]]] = [([], []) for _ in channels]
    for index, frames in enumerate(zip(*channels, strict=True)):
        results = scorer.score([PcmFrame(index, pcm) for pcm in frames])
        for (scores, levels), (found, level_dbfs) in zip(scored, results, strict=True):
            scores.append(found)
            levels.append(level_dbfs)
    on_progress(len(scored[0][0]) * FRAME_MS / 1000)
    return [ScoredStream(scores, levels) for scores, levels in scored]


def show(tuning: Tuning, console: Console) -> None:
    """Print the table of trades, the suggestion and its notes."""
    table = Table(title=f"{len(tuning.folder.streams)} streams, {tuning.minutes} minutes", title_justify="left")
    table.add_column("setting")
    for _, title, _ in COLUMNS:
        table.add_column(title, justify="right")
    table.add_row("current", *_cells(tuning.current), style="bold", end_section=True)
    last = tuning.changes[-1][0] if tuning.changes else ""
    for number, (name, value, figures) in enumerate(tuning.changes):
        ends = name != last and tuning.changes[number + 1][0] != name
        table.add_row(f"{name}={value:g}", *_cells(figures), end_section=ends)
    table.add_section()
    table.add_row("suggested", *_cells(tuning.figures), style="bold")
    if tuning.validated:
        table.add_row("suggested, cross-validated", *_cells(tuning.validated.figures), style="bold")
    console.print(table)
    for name, value in tuning.suggested.items():
        console.print(Text(f"MEDIA_{name}={value:g}", style="bold green"))
    if not tuning.suggested:
        console.print("No change improves on the current settings.")
    for note in tuning.notes:
        console.print(Text(note, style="dim"))


def _cells(figures: GateFigures) -> list[str]:
    return ["none" if (value := figures[key]) is None else f"{value:,.{digits}f}" for key, _, digits in COLUMNS]
