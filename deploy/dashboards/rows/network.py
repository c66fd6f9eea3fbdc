"""The row of the Latency dashboard for the network between callers and media."""

from deploy.dashboards import objectives
from deploy.dashboards.panel_kit import About, Board, Panel, Query, lines
from deploy.dashboards.promql import (
    or_none,
    or_zero,
    quantile,
    rate,
    recorded,
    total,
)


def row(board: Board) -> None:
    """Add the row to ``board``."""
    board.row("Network", *_packets(), *_clients())


def _packets() -> tuple[Panel, ...]:
    frames = total(rate("packets_total", 'direction="up"'))
    return (
        lines(
            About(
                "Packet loss",
                "`up`: callers' packets that were late or lost; `down`: losses that clients report. Up to 3 % "
                "is inaudible; above, check whether one network is affected (docs/runbooks/HushgatePacketLoss.md).",
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
                "Share of the caller's audio that was lost, by what took its place: `fec` restores it, `plc` "
                "extrapolates, `silence` is a gap.",
                "percentunit",
            ),
            Query(
                f"{total(rate('concealed_seconds_total'), 'how')} / ignoring (how) group_left {frames} * 50", "{{how}}"
            ),
        ),
    )


def _clients() -> tuple[Panel, ...]:
    return (
        lines(
            About(
                "Playout underruns",
                "Times a minute that the provider's audio was late and callers heard a gap; and "
                "chunks that a worker sent beyond its credit.",
                "cpm",
            ),
            Query(f"{total(rate('playout_underruns_total'))} * 60", "underruns"),
            Query(f"{total(rate('playout_overruns_total'))} * 60", "overruns"),
        ),
        lines(
            About(
                "Clients lost and recovered",
                "A minute. Lost: five seconds without a packet. Recovered: packets, another address, an ICE "
                "restart. Moved: to another address. Many at once: an access network, or a NAT before the cluster.",
                "cpm",
            ),
            Query(f"{total(rate('legs_lost_total'))} * 60", "lost"),
            Query(or_zero(f"{total(rate('legs_recovered_total'))} * 60"), "found"),
            Query(or_zero(f"{total(rate('ice_path_changes_total'))} * 60"), "moved"),
        ),
        lines(
            About(
                "Datagrams dropped",
                "Datagrams dropped at the media port, each second. `…_unverified` and `…_too_many` are "
                "attacks or mistakes (docs/runbooks/HushgateUnverifiedDatagrams.md).",
                "pps",
            ),
            Query(or_none(total(rate("datagrams_dropped_total"), "reason"), "reason"), "{{reason}}"),
        ),
    )
