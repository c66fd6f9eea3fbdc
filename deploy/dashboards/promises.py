"""The row of the Latency dashboard that says whether the promises are kept."""

from deploy.dashboards import objectives
from deploy.dashboards.kit import About, Board, Limits, Panel, Query, tile
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
"""Endings that the caller did not want and the gateway or the provider caused."""


def row(board: Board) -> None:
    """Add it to ``board``."""
    board.row("Promises, over the time shown", *_setup_promises(), *_turn_promises(), *_other_promises())


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
                "Offers that became a connected call, of all that were not the client's mistake. Promise: 99.5 %. "
                "Below: look at placements and refusals (docs/runbooks/HushgateSetupFailsFast.md).",
                "percentunit",
                width=4,
                height=4,
                decimals=2,
            ),
            Query(f"1 - (({or_zero(failed)}) + ({or_zero(unconnected)})) / {offers}"),
            Limits(objectives.SETUP_SUCCESS, 0.99, above=True),
        ),
        tile(
            About(
                "Set-up p95",
                "From the offer at the media process to a connected leg. Promise: 2 s. "
                "The stages below say which part is slow.",
                "s",
                width=4,
                height=4,
                decimals=2,
            ),
            Query(quantile(0.95, "call_setup_duration_seconds", 'stage="total"', window=SHOWN)),
            Limits(objectives.SETUP_P95_S, 2 * objectives.SETUP_P95_S),
        ),
    )


def _turn_promises() -> tuple[Panel, ...]:
    return (
        tile(
            About(
                "Turn p50",
                "True end of the caller's speech to the first packet of the answer; half of the turns are faster. "
                "Promise: 800 ms with a provider that answers in 500 ms.",
                "s",
                width=4,
                height=4,
                decimals=2,
            ),
            Query(quantile(0.5, _TURN, PROVIDER, window=SHOWN)),
            Limits(objectives.TURN_P50_S, objectives.TURN_P95_S),
        ),
        tile(
            About(
                "Turn p95",
                "The same for all but the slowest twentieth. Promise: 1.5 s. Above: the waterfall says whether the "
                "provider or the gateway is slow (docs/runbooks/HushgateTurnsSlow.md).",
                "s",
                width=4,
                height=4,
                decimals=2,
            ),
            Query(quantile(0.95, _TURN, PROVIDER, window=SHOWN)),
            Limits(objectives.TURN_P95_S, 2 * objectives.TURN_P95_S),
        ),
    )


def _other_promises() -> tuple[Panel, ...]:
    ended = total(increase("calls_ended_total", PROVIDER))
    dropped = total(increase("calls_ended_total", PROVIDER, _OURS))
    return (
        tile(
            About(
                "Dropped calls",
                "Calls that ended by the provider, a drain or a fault of ours, of all that ended. Promise: 0.5 %.",
                "percentunit",
                width=4,
                height=4,
                decimals=2,
            ),
            Query(f"({or_zero(dropped)}) / {ended}"),
            Limits(objectives.DROPPED_CALLS, 2 * objectives.DROPPED_CALLS),
        ),
        tile(
            About(
                "Added on the way, p95",
                "The bus up, the bus down and late sending, each its p95, added: an upper bound of what the gateway's "
                "queues cost. Promise: 60 ms. Decoding and the jitter buffer are not in it.",
                "s",
                width=4,
                height=4,
                decimals=1,
            ),
            Query(_added(SHOWN)),
            Limits(objectives.ADDED_P95_S, 2 * objectives.ADDED_P95_S),
        ),
    )
