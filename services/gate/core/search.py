"""A bounded search for settings: one change at a time, then those that help are put together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.gate.core.measures import GateFigures, StreamFigures, summary

Changes = dict[str, float]
"""Settings by name, other than the current ones."""
Evaluate = Callable[[Changes], Sequence[StreamFigures] | None]
"""Returns the figures of each stream with changed settings; None where the settings contradict each other."""
_LEAST_GAIN = 0.002
"""A change must improve the cost by this: less is chance."""
_PER_LOST_PCT, _PER_CUT_PCT = 10.0, 0.1
_PER_MEDIAN_S, _PER_P95_S = 0.5, 0.1


@dataclass(frozen=True, slots=True)
class Aims:
    """Limits that a suggestion must keep, in percent."""

    delivered_pct: float
    """Speech that must be delivered."""
    cut_pct: float
    """Turns that may be cut at a pause."""


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """GateFigures of each part of the recordings with the settings that were chosen on the other parts."""

    folds: int
    figures: GateFigures
    chosen: list[Changes]


def cost(figures: GateFigures, aims: Aims) -> float:
    """Return what a search minimises.

    That is the billed ratio, plus half a point for a second of the median time until the end of a turn is seen and a
    tenth for one of its 95th percentile; and what exceeds a limit, at a price that nothing else outweighs.
    """
    lost = max(0.0, aims.delivered_pct - _or(figures["delivered_pct"], 100.0))
    cut = max(0.0, _or(figures["cut_turns_pct"], 0.0) - aims.cut_pct)
    delay = _PER_MEDIAN_S * _or(figures["eot_p50"], 0.0) + _PER_P95_S * _or(figures["eot_p95"], 0.0)
    billed = _or(figures["billed_ratio"], _or(figures["sent_share"], 0.0))
    return billed + delay / 1000 + _PER_LOST_PCT * lost + _PER_CUT_PCT * cut


def search(grid: Mapping[str, Sequence[float]], evaluate: Evaluate, aims: Aims, members: Sequence[int]) -> Changes:
    """Return the changes that suit the streams ``members`` best; empty: the current settings are not beaten.

    Each value of ``grid`` is tried alone; then, from the most useful setting on, each one's best value is added if it
    improves what was chosen before. So it evaluates at most the values of the grid plus the number of settings.
    """

    def cost_of(changes: Changes) -> float:
        streams = evaluate(changes)
        return float("inf") if streams is None else cost(summary([streams[at] for at in members]), aims)

    current = cost_of({})
    best = [min((cost_of({name: value}), name, value) for value in values) for name, values in grid.items()]
    chosen: Changes = {}
    for _, name, value in sorted(best):
        trial = cost_of(chosen | {name: value})
        if trial < current - _LEAST_GAIN:
            chosen, current = chosen | {name: value}, trial
    return chosen


def cross_validate(
    grid: Mapping[str, Sequence[float]], evaluate: Evaluate, aims: Aims, groups: Sequence[str], *, folds: int
) -> CrossValidated | None:
    """Choose settings on all parts but one, measure them on that one, for each part; None with fewer than two groups.

    ``groups``: what each stream was made of. Streams of one group are in the same part.
    """
    names = sorted(set(groups))
    parts = min(folds, len(names))
    if parts < 2:  # noqa: PLR2004 - to choose on and to measure on
        return None
    measured: list[StreamFigures] = []
    chosen = []
    for part in range(parts):
        held = set(names[part::parts])
        changes = search(grid, evaluate, aims, [at for at, group in enumerate(groups) if group not in held])
        chosen.append(changes)
        streams = evaluate(changes) or ()
        measured += [figures for figures, group in zip(streams, groups, strict=True) if group in held]
    return CrossValidated(parts, summary(measured), chosen)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
