"""The row of the Latency dashboard for call set-up."""

from deploy.dashboards import objectives
from deploy.dashboards.panel_kit import About, Board, Panel, Query, lines
from deploy.dashboards.promql import (
    PROVIDER,
    or_none,
    quantile,
    rate,
    recorded,
    total,
)

_ASKED = 'route!~"/metrics|/healthz|/readyz"'


def row(board: Board) -> None:
    """Add the row to ``board``."""
    board.row("Set-up", *_durations(), *_rejections())


def _durations() -> tuple[Panel, ...]:
    return (
        lines(
            About(
                "Stages of the set-up, p95",
                "`claim` and `answer` from the offer, `connect` from the answer: the client's ICE and DTLS; `total` "
                "is offer to connected. A slow claim: a full or distant worker.",
                "s",
            ),
            Query(quantile(0.95, "call_setup_duration_seconds", by=("stage",)), "{{stage}}"),
            limit=objectives.SETUP_P95_S,
        ),
        lines(
            About(
                "Error budget burnt",
                "At 1 the month's budget of 0.5 % failed set-ups is used up exactly; at 14.4 it lasts two days, and "
                "an alert pages.",
                "none",
            ),
            Query(f"{recorded('setup_failures:ratio_rate5m')} / {1 - objectives.SETUP_SUCCESS:g}", "5 min"),
            Query(f"{recorded('setup_failures:ratio_rate1h')} / {1 - objectives.SETUP_SUCCESS:g}", "1 h"),
            limit=14.4,
        ),
        lines(
            About(
                "Opening the provider's session",
                "From opening its socket to its session.created, and from there until it has confirmed the call's "
                "session. Both run during ICE and DTLS, so callers notice them above a few hundred milliseconds.",
                "s",
            ),
            Query(quantile(0.5, "upstream_connect_duration_seconds"), "connect p50"),
            Query(quantile(0.95, "upstream_connect_duration_seconds"), "connect p95"),
            Query(quantile(0.95, "upstream_session_in_force_seconds"), "in force p95"),
        ),
    )


def _rejections() -> tuple[Panel, ...]:
    return (
        lines(
            About(
                "Requests by route and status",
                "HTTP requests. 401: keys and tokens; 422: invalid offers; 429: limits; 503: no capacity.",
                "reqps",
            ),
            Query(f"{total(rate('requests_total', _ASKED), 'route', 'code')} > 0", "{{code}} {{route}}"),
        ),
        lines(
            About(
                "Placements by outcome",
                "Media processes asked for an answer, each second. `no_responders` and `timeout` are processes that "
                "exited or hang; `full`: add processes.",
                "ops",
            ),
            Query(or_none(total(rate("placement_attempts_total"), "outcome"), "outcome"), "{{outcome}}"),
        ),
        lines(
            About(
                "Calls started and ended",
                "A minute. `hangup` and `client_gone` are callers; `provider_error`, `drained` and `internal` are "
                "dropped calls.",
                "cpm",
            ),
            Query(f"{total(rate('calls_started_total'))} * 60", "begun"),
            Query(f"{total(rate('calls_ended_total', PROVIDER), 'reason')} * 60 > 0", "{{reason}}"),
        ),
    )
