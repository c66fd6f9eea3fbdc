"""The Latency dashboard: what callers feel, and the machines below it."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboards import objectives, operations
from deploy.dashboards.kit import About, Board, Limits, Query, heat, lines, tile
from deploy.dashboards.promql import (
    PROVIDER,
    SHOWN,
    increase,
    mean,
    or_none,
    or_zero,
    quantile,
    rate,
    recorded,
    total,
)

_TURN = "turn_response_latency_seconds"
_OFFER = 'route=~"/v1/realtime/calls|/v1/whip"'
_ASKED = 'route!~"/metrics|/healthz|/readyz"'
_OURS = 'reason=~"provider_error|drained|internal"'
"""Endings that the caller did not want and the gateway or the provider caused."""


def build() -> Dashboard:
    """The dashboard."""
    board = Board(
        uid="hushgate-latency",
        title="Hushgate: Latency",
        text="What callers feel: set-up, turns, barge-in, the network; and bus, loops and capacity below it.",
        variables=("namespace", "provider"),
    )
    _promises(board)
    _turns(board)
    _setup(board)
    _network(board)
    operations.row(board)
    return board.build()


def _added(window: str) -> str:
    parts = (
        quantile(0.95, "bus_frame_age_seconds", 'direction="up"', window=window),
        quantile(0.95, "bus_frame_age_seconds", 'direction="down"', window=window),
        quantile(0.95, "pacer_lateness_seconds", window=window),
    )
    return " + ".join(parts)


def _promises(board: Board) -> None:
    offers = total(increase("requests_total", _OFFER, 'code=~"201|5.."'))
    failed = total(increase("requests_total", _OFFER, 'code=~"5.."'))
    unconnected = total(increase("calls_ended_total", 'reason="setup_timeout"'))
    ended = total(increase("calls_ended_total", PROVIDER))
    dropped = total(increase("calls_ended_total", PROVIDER, _OURS))
    board.row(
        "Promises, over the time shown",
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


def _turns(board: Board) -> None:
    created = mean("turn_stage_duration_seconds", 'stage="provider_created"')
    sounded = mean("turn_stage_duration_seconds", 'stage="provider_first_audio"')
    board.row(
        "Turns",
        heat(
            About(
                "Turn latency",
                "Each column is a moment, each cell the turns that took so long. Two bands are two populations: two "
                "providers, or answers with and without a tool call.",
                "s",
                width=12,
            ),
            Query(total(increase(f"{_TURN}_bucket", PROVIDER, window="$__rate_interval"), "le"), "{{le}}"),
        ),
        lines(
            About(
                "Turn latency, percentiles",
                "True end of speech to the first packet of the answer. The line is the promise for p95.",
                "s",
                width=12,
            ),
            *(Query(quantile(q, _TURN, PROVIDER), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)),
            limit=objectives.TURN_P95_S,
        ),
        lines(
            About(
                "Where a turn's time goes",
                "Averages, stacked: silence waited out before a turn is over (MEDIA_VAD_HANGOVER_MS, 500) and our "
                "own way; then the provider until it accepts, and until its first sound.",
                "s",
            ),
            Query(f"clamp_min({mean(_TURN, PROVIDER)} - {sounded}, 0)", "hangover and gateway"),
            Query(created, "provider accepts"),
            Query(f"clamp_min({sounded} - {created}, 0)", "provider's first sound"),
            stacked=True,
        ),
        lines(
            About(
                "Provider: end of utterance to first sound",
                "As the worker sees it. When this rises and nothing else does, the provider is slow: nothing to do "
                "here but another model or region.",
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
                "The caller's onset to the end of playout. It is MEDIA_VAD_BARGE_IN_ONSET_MS (120) and a frame; "
                "more is a busy process.",
                "s",
            ),
            Query(quantile(0.5, "barge_in_stop_latency_seconds"), "p50"),
            Query(quantile(0.95, "barge_in_stop_latency_seconds"), "p95"),
        ),
    )


def _setup(board: Board) -> None:
    board.row(
        "Set-up",
        lines(
            About(
                "Stages of the set-up, p95",
                "`claim` and `answer` from the offer, `connect` from the answer: the client's ICE and DTLS; `total` "
                "is offer to connected. A slow claim is a full or far worker.",
                "s",
            ),
            Query(quantile(0.95, "call_setup_duration_seconds", by=("stage",)), "{{stage}}"),
            limit=objectives.SETUP_P95_S,
        ),
        lines(
            About(
                "Error budget burnt",
                "1 is a pace that uses the month's 0.5 % of failed set-ups exactly up; at 14.4 it lasts two days, and "
                "somebody is paged.",
                "none",
            ),
            Query(f"{recorded('setup_failures:ratio_rate5m')} / {1 - objectives.SETUP_SUCCESS:g}", "5 min"),
            Query(f"{recorded('setup_failures:ratio_rate1h')} / {1 - objectives.SETUP_SUCCESS:g}", "1 h"),
            limit=14.4,
        ),
        lines(
            About(
                "Opening the provider's socket",
                "From opening to its session.created. It happens while ICE and DTLS go on, so callers feel it above "
                "a few hundred milliseconds only.",
                "s",
            ),
            Query(quantile(0.5, "upstream_connect_duration_seconds"), "p50"),
            Query(quantile(0.95, "upstream_connect_duration_seconds"), "p95"),
        ),
        lines(
            About(
                "Requests by route and status",
                "What comes to the door. 401: keys and tokens; 422: offers that are none; 429: limits; 503: no place.",
                "reqps",
            ),
            Query(f"{total(rate('requests_total', _ASKED), 'route', 'code')} > 0", "{{code}} {{route}}"),
        ),
        lines(
            About(
                "Placements by outcome",
                "Media processes asked for an answer, each second. `no_responders` and `timeout` are processes that "
                "died or hang; `full` asks for more of them.",
                "ops",
            ),
            Query(or_none(total(rate("placement_attempts_total"), "outcome"), "outcome"), "{{outcome}}"),
        ),
        lines(
            About(
                "Calls begun and ended",
                "A minute. `hangup` and `client_gone` are callers; `provider_error`, `drained` and `internal` are "
                "dropped calls.",
                "cpm",
            ),
            Query(f"{total(rate('calls_started_total'))} * 60", "begun"),
            Query(f"{total(rate('calls_ended_total', PROVIDER), 'reason')} * 60 > 0", "{{reason}}"),
        ),
    )


def _network(board: Board) -> None:
    frames = total(rate("packets_total", 'direction="up"'))
    board.row(
        "Network",
        lines(
            About(
                "Packet loss",
                "`up` are callers' packets that did not come in time, `down` what clients report of ours. To 3 % "
                "nobody hears it; above, look whether it is one network or all (docs/runbooks/HushgatePacketLoss.md).",
                "percentunit",
            ),
            Query(recorded("packet_loss:ratio_rate5m"), "{{direction}}"),
            limit=objectives.PACKET_LOSS,
        ),
        lines(
            About(
                "Jitter and round trip, p95",
                "By RTCP. Jitter above 50 ms makes the receiver wait longer; the round trip is the caller's network.",
                "s",
            ),
            Query(quantile(0.95, "jitter_seconds"), "jitter"),
            Query(quantile(0.95, "rtt_seconds"), "round trip"),
        ),
        lines(
            About(
                "Caller audio concealed",
                "Share of the caller's audio that was lost, by what took its place: `fec` is as good as whole, `plc` "
                "is made up, `silence` is a gap.",
                "percentunit",
            ),
            Query(
                f"{total(rate('concealed_seconds_total'), 'how')} / ignoring (how) group_left {frames} * 50", "{{how}}"
            ),
        ),
        lines(
            About(
                "Answers that ran dry",
                "Times a minute that the provider's audio did not come in time, so that callers heard a gap; and "
                "chunks that a worker sent beyond its credit.",
                "cpm",
            ),
            Query(f"{total(rate('playout_underruns_total'))} * 60", "underruns"),
            Query(f"{total(rate('playout_overruns_total'))} * 60", "overruns"),
        ),
        lines(
            About(
                "Clients lost and found",
                "A minute. Lost: five seconds without a packet. Found: packets again, another address, an ICE "
                "restart. Moved: to another address. Many at once are an access network, or a NAT before the cluster.",
                "cpm",
            ),
            Query(f"{total(rate('legs_lost_total'))} * 60", "lost"),
            Query(or_zero(f"{total(rate('legs_recovered_total'))} * 60"), "found"),
            Query(or_zero(f"{total(rate('ice_path_changes_total'))} * 60"), "moved"),
        ),
        lines(
            About(
                "Datagrams dropped",
                "What came to the media port and was thrown away, each second. `…_unverified` and `…_too_many` are "
                "attacks or mistakes (docs/runbooks/HushgateUnverifiedDatagrams.md).",
                "pps",
            ),
            Query(or_none(total(rate("datagrams_dropped_total"), "reason"), "reason"), "{{reason}}"),
        ),
    )
