"""The row of the Cost dashboard for savings of the gate and for audio billed but not played."""

from deploy.dashboards.panel_kit import About, Board, Panel, Query, lines
from deploy.dashboards.promql import (
    PROVIDER,
    TENANT,
    rate,
    total,
)

_PAYER = (PROVIDER, TENANT)
_HOUR = 3600


def row(board: Board) -> None:
    """Add the row to ``board``."""
    board.row("What is not paid for", *_shares(), *_gate())


def _meter(pattern: str) -> str:
    return f'meter=~"{pattern}"'


def _units(pattern: str, *by: str) -> str:
    return total(rate("usage_units_total", PROVIDER, _meter(pattern)), *by)


def _shares() -> tuple[Panel, ...]:
    sent, gated = _units("audio_sent_ms", "provider"), _units("audio_gated_ms", "provider")
    played, generated = _units("audio_played_ms", "provider"), _units("audio_generated_ms", "provider")
    return (
        lines(
            About(
                "Silence share",
                "Share of caller audio that the gate withheld. Each side speaks less than half of the time, so "
                "0.5 and more is normal. It falls with noise: see the row Gate.",
                "percentunit",
            ),
            Query(f"{gated} / ({gated} + {sent})", "{{provider}}"),
            top=1,
        ),
        lines(
            About(
                "Cached share of input tokens",
                "Share of input tokens from the provider's cache, which cost a fraction. It falls when "
                "instructions or tools change within a call.",
                "percentunit",
            ),
            Query(
                f"{_units('tokens_.+_in_cached', 'provider', 'model')} "
                f"/ {_units('tokens_.+_in(_cached)?', 'provider', 'model')}",
                "{{provider}} {{model}}",
            ),
            top=1,
        ),
        lines(
            About(
                "Generated but never played",
                "Answer audio that was billed and not played, after barge-in or hang-up. Prompt the "
                "model for shorter answers.",
                "percentunit",
            ),
            Query(f"clamp_min(1 - {played} / {generated}, 0)", "{{provider}}"),
            top=1,
        ),
    )


def _gate() -> tuple[Panel, ...]:
    cost, saved = (f"{total(rate(f'{name}_usd_total', *_PAYER))} * {_HOUR}" for name in ("cost", "saved"))
    return (
        lines(
            About(
                "With and without the gate, an hour",
                "Dollars an hour as billed, and as if all silence had been sent.",
                "currencyUSD",
                width=12,
            ),
            Query(f"{cost} + {saved}", "without the gate"),
            Query(cost, "as billed"),
        ),
        lines(
            About(
                "Seconds of audio, each second",
                "Calls that speak (sent), are silent (gated), get an answer (generated) and play it (played).",
                "none",
                width=12,
            ),
            Query(f"{_units('audio_.+_ms', 'meter')} / 1000", "{{meter}}"),
            top=1,
        ),
    )
