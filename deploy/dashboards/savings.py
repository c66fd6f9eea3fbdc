"""The row of the Cost dashboard for what is not paid for, or paid for in vain."""

from deploy.dashboards.kit import About, Board, Panel, Query, lines
from deploy.dashboards.promql import (
    PROVIDER,
    TENANT,
    rate,
    total,
)

_PAYER = (PROVIDER, TENANT)
_HOUR = 3600


def row(board: Board) -> None:
    """Add it to ``board``."""
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
                "Caller audio that the gate withheld, of all. Under half of a conversation is one side's speech, so "
                "0.5 and more is usual. It falls with noise: raise MEDIA_VAD_MODE.",
                "percentunit",
            ),
            Query(f"{gated} / ({gated} + {sent})", "{{provider}}"),
            top=1,
        ),
        lines(
            About(
                "Cached share of input tokens",
                "Input tokens that the provider had in its cache, of all: they cost a fraction. It falls when "
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
                "Answer audio that was paid for and that nobody heard, as callers spoke over it or hung up. Ask the "
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
                "Dollars an hour as billed, and as they would have been had every caller's silence been sent.",
                "currencyUSD",
                width=12,
            ),
            Query(f"{cost} + {saved}", "without the gate"),
            Query(cost, "as billed"),
        ),
        lines(
            About(
                "Seconds of audio, each second",
                "As many calls as speak (sent), are silent (gated), are answered (generated) and hear (played).",
                "none",
                width=12,
            ),
            Query(f"{_units('audio_.+_ms', 'meter')} / 1000", "{{meter}}"),
            top=1,
        ),
    )
