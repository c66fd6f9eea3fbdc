"""The row of the Latency dashboard that shows whether the objectives are met."""

from deploy.dashboards import objectives
from deploy.dashboards.panel_kit import About, Board, Panel, Query, Thresholds, tile
from deploy.dashboards.promql import (
    PROVIDER,
    SHOWN,
    increase,
    or_zero,
    quantile,
    total,
)

_TURN = "turn_response_latency_seconds"
_OFFER = 'route=~"/v1/realtime/calls|/v1/whip"'
_OURS = 'reason=~"provider_error|drained|internal"'
"""End reasons of calls that the gateway or the provider caused against the caller's intent."""


def row(board: Board) -> None:
    """Add the row to ``board``."""
    board.row("Objectives, over the time shown", *_setup_promises(), *_turn_promises(), *_other_promises())


def _added(window: str) -> str:
    parts = (
        quantile(0.95, "bus_frame_age_seconds", 'direction="up"', window=window),
        quantile(0.95, "bus_frame_age_seconds", 'direction="down"', window=window),
        quantile(0.95, "pacer_lateness_seconds", window=window),
    )
    return " + ".join(parts)


def _setup_promises() -> tuple[Panel, ...]:
    offers = total(increase("requests_total", _OFFER, 'code=~"201|5.."'))
    failed = total(increase("requests_total", _OFFER, 'code=~"5.."'))
    unconnected = total(increase("calls_ended_total", 'reason=~"setup_timeout|dtls_failed"'))
    return (
        tile(
            About(
                "Set-up success",
                "Offers that became a connected call, without client errors. Objective: 99.5 %. "
                "Below: check placements and refusals (docs/runbooks/HushgateSetupFailsFast.md).",
                "percentunit",
                width=4,
                height=4,
                decimals=2,
            ),
            Query(f"1 - (({or_zero(failed)}) + ({or_zero(unconnected)})) / {offers}"),
            Thresholds(objectives.SETUP_SUCCESS, 0.99, above=True),
        ),
        tile(
            About(
                "Set-up p95",
                "From the offer at the media process to a connected leg. Objective: 2 s. "
                "The stages below show which part is slow.",
                "s",
                width=4,
                height=4,
                decimals=2,
            ),
            Query(quantile(0.95, "call_setup_duration_seconds", 'stage="total"', window=SHOWN)),
            Thresholds(objectives.SETUP_P95_S, 2 * objectives.SETUP_P95_S),
        ),
    )


def _turn_promises() -> tuple[Panel, ...]:
    return (
        tile(
            About(
                "Turn p50",
                "End of the caller's speech to the first packet of the answer; half of the turns are faster. "
                "Objective: 800 ms with a provider that answers in 500 ms.",
                "s",
                width=4,
                height=4,
                decimals=2,
            ),
            Query(quantile(0.5, _TURN, PROVIDER, window=SHOWN)),
            Thresholds(objectives.TURN_P50_S, objectives.TURN_P95_S),
        ),
        tile(
            About(
                "Turn p95",
                "The same for all but the slowest twentieth. Objective: 1.5 s. Above: the waterfall shows whether the "
                "provider or the gateway is slow (docs/runbooks/HushgateTurnsSlow.md).",
                "s",
                width=4,
                height=4,
                decimals=2,
            ),
            Query(quantile(0.95, _TURN, PROVIDER, window=SHOWN)),
            Thresholds(objectives.TURN_P95_S, 2 * objectives.TURN_P95_S),
        ),
    )


def _other_promises() -> tuple[Panel, ...]:
    ended = total(increase("calls_ended_total", PROVIDER))
    dropped = total(increase("calls_ended_total", PROVIDER, _OURS))
    return (
        tile(
            About(
                "Dropped calls",
                "Calls that ended by the provider, a drain or a bug, of all that ended. Objective: 0.5 %.",
                "percentunit",
                width=4,
                height=4,
                decimals=2,
            ),
            Query(f"({or_zero(dropped)}) / {ended}"),
            Thresholds(objectives.DROPPED_CALLS, 2 * objectives.DROPPED_CALLS),
        ),
        tile(
            About(
                "Added latency, p95",
                "The bus up, the bus down and late sending, each its p95, added: an upper bound of what the gateway's "
                "queues add. Objective: 60 ms. Without decoding and jitter buffer.",
                "s",
                width=4,
                height=4,
                decimals=1,
            ),
            Query(_added(SHOWN)),
            Thresholds(objectives.ADDED_P95_S, 2 * objectives.ADDED_P95_S),
        ),
    )
