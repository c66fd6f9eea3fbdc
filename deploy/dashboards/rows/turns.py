"""The row of the Latency dashboard for turns: voice-to-voice latency and its stages."""

from deploy.dashboards import objectives
from deploy.dashboards.panel_kit import About, Board, Panel, Query, heat, lines
from deploy.dashboards.promql import (
    PROVIDER,
    increase,
    mean,
    quantile,
    rate,
    total,
)

_TURN = "turn_response_latency_seconds"


def row(board: Board) -> None:
    """Add the row to ``board``."""
    board.row("Turns", *_latency(), *_stages(), *_eager())


def _latency() -> tuple[Panel, ...]:
    return (
        heat(
            About(
                "Turn latency",
                "Each column is a time, each cell the turns of that latency. Two bands are two populations: two "
                "providers, or answers with and without a tool call.",
                "s",
                width=12,
            ),
            Query(total(increase(f"{_TURN}_bucket", PROVIDER, window="$__rate_interval"), "le"), "{{le}}"),
        ),
        lines(
            About(
                "Turn latency, percentiles",
                "End of speech to the first packet of the answer. The line is the objective for p95.",
                "s",
                width=12,
            ),
            *(Query(quantile(q, _TURN, PROVIDER), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)),
            limit=objectives.TURN_P95_S,
        ),
    )


def _stages() -> tuple[Panel, ...]:
    created = mean("turn_stage_duration_seconds", 'stage="provider_created"')
    sounded = mean("turn_stage_duration_seconds", 'stage="provider_first_audio"')
    return (
        lines(
            About(
                "Where a turn's time goes",
                "Averages, stacked: the hangover (MEDIA_VAD_HANGOVER_MS, 500) and the gateway's "
                "own latency; then the provider until it accepts, and until its first audio.",
                "s",
            ),
            Query(f"clamp_min({mean(_TURN, PROVIDER)} - {sounded}, 0)", "hangover and gateway"),
            Query(created, "provider accepts"),
            Query(f"clamp_min({sounded} - {created}, 0)", "provider's first sound"),
            stacked=True,
        ),
        lines(
            About(
                "Provider: end of utterance to first audio",
                "Measured in the worker. When only this rises, the provider is slow: the remedy is "
                "another model or region.",
                "s",
            ),
            *(
                Query(
                    quantile(q, "turn_stage_duration_seconds", 'stage="provider_first_audio"'),
                    f"p{q * 100:.0f}",
                )
                for q in (0.5, 0.95)
            ),
        ),
        lines(
            About(
                "Barge-in: onset to silence",
                "The caller's onset to the end of playout, which is held before it is given up. It is "
                "MEDIA_VAD_BARGE_IN_HOLD_MS (40) plus a frame; more: a busy process.",
                "s",
            ),
            Query(quantile(0.5, "barge_in_stop_latency_seconds"), "p50"),
            Query(quantile(0.95, "barge_in_stop_latency_seconds"), "p95"),
        ),
    )


def _eager() -> tuple[Panel, ...]:
    outcomes = total(rate("eager_turns_total"), "outcome")
    return (
        lines(
            About(
                "Answers requested before the end of a turn",
                "A minute, by outcome: kept, taken back as the caller spoke on, or refused, as something was in "
                "progress. Many taken back: raise MEDIA_VAD_EAGER_MS (300).",
                "short",
                width=12,
            ),
            Query(f"{outcomes} * 60", "{{outcome}}"),
            stacked=True,
        ),
        lines(
            About(
                "Calls whose answers come later again",
                "An hour: taken-back answers cost more than UPSTREAM_EAGER_WASTE_PERCENT (10) of the call's tokens.",
                "short",
                width=12,
            ),
            Query(f"{total(rate('eager_limited_total'), 'limit')} * 3600", "{{limit}}"),
        ),
    )
