"""The row of the Latency dashboard for operators: capacity, event loops, bus, machines."""

from deploy.dashboards import objectives
from deploy.dashboards.panel_kit import About, Board, Panel, Query, lines
from deploy.dashboards.promql import NAMESPACE, metric, or_none, or_zero, quantile, rate, recorded, total


def row(board: Board) -> None:
    """Add the row to ``board``."""
    board.row("Operations: capacity, loops, bus", *_capacity(), *_loops(), *_bus(), *_machines())


def _capacity() -> tuple[Panel, ...]:
    return (
        lines(
            About(
                "Load",
                "Calls of media processes and sessions of workers, as a share of their limits. Above 80 % add "
                "replicas (docs/runbooks/HushgateMediaFull.md).",
                "percentunit",
            ),
            Query(recorded("media_load:ratio"), "media"),
            Query(recorded("upstream_load:ratio"), "upstream"),
            limit=objectives.LOAD,
            top=1,
        ),
        lines(
            About(
                "Calls",
                "Calls that media processes have or are answering, and calls that workers own. They differ "
                "briefly; a lasting difference is a leak.",
                "none",
            ),
            Query(total(metric("media_calls_active")), "carried"),
            Query(total(metric("media_calls_reserved")), "being answered"),
            Query(total(metric("upstream_calls_owned")), "owned by workers"),
            Query(total(metric("upstream_sessions_active")), "open sessions"),
        ),
        lines(
            About(
                "Media processes",
                "With a heartbeat within five seconds, as seen by signaling: the minimum of its replicas. Fewer "
                "than expected: check media's pods and NATS.",
                "none",
            ),
            Query(f"min({metric('media_processes')})", "heard"),
            Query(f"count({metric('media_calls_capacity')})", "running"),
        ),
    )


def _loops() -> tuple[Panel, ...]:
    return (
        lines(
            About(
                "Event loop lag",
                "How late event loops woke, the worst of each role. Above 50 ms audio stutters and heartbeats are late "
                "(docs/runbooks/HushgateLoopLag.md).",
                "s",
            ),
            Query(f"max by (role) (max_over_time({metric('event_loop_lag_seconds')}[$__rate_interval]))", "{{role}}"),
            limit=objectives.LOOP_LAG_S,
        ),
        lines(
            About(
                "Late sending",
                "How late audio frames left the media processes. p99 above 20 ms is a process with too many calls "
                "(docs/runbooks/HushgateSendingLate.md).",
                "s",
            ),
            *(Query(quantile(q, "pacer_lateness_seconds"), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)),
            limit=objectives.LATENESS_P99_S,
        ),
        lines(
            About(
                "Tasks",
                "Tasks on the event loops, by role. It follows the calls; what remains without calls is a leak.",
                "none",
            ),
            Query(total(metric("event_loop_tasks"), "role"), "{{role}}"),
        ),
    )


def _bus() -> tuple[Panel, ...]:
    return (
        lines(
            About(
                "Age of frames, p95",
                "From sending to handling, by two machines' clocks, including their difference. Above 25 ms NATS "
                "or the receiver is busy.",
                "s",
            ),
            Query(quantile(0.95, "bus_frame_age_seconds", by=("direction",)), "{{direction}}"),
        ),
        lines(
            About(
                "Frames dropped",
                "Each second, by reason. `no_call` and `stale_epoch` are the last frames of calls that ended; all "
                "others are gaps in the audio (docs/runbooks/HushgateFramesDropped.md).",
                "ops",
            ),
            Query(or_none(total(rate("bus_frames_dropped_total"), "reason"), "reason"), "{{reason}}"),
        ),
        lines(
            About(
                "NATS: reconnects and errors",
                "A minute. After a restart of NATS each connection reconnects once; more: the network, or a server "
                "that is full (docs/runbooks/HushgateBusUnsteady.md).",
                "cpm",
            ),
            Query(or_none(f"{total(rate('bus_reconnects_total'), 'connection')} * 60", "connection"), "{{connection}}"),
            Query(or_zero(f"{total(rate('bus_errors_total'))} * 60"), "errors"),
        ),
    )


def _machines() -> tuple[Panel, ...]:
    ours = f"and on (namespace, pod) {metric('event_loop_tasks')}"
    cpu = f"rate(process_cpu_seconds_total{{{NAMESPACE}}}[$__rate_interval])"
    memory = f"process_resident_memory_bytes{{{NAMESPACE}}}"
    return (
        lines(
            About(
                "CPU",
                "Cores, by pod; a media process fills at most one. Scale before it does.",
                "none",
                width=12,
            ),
            Query(f"sum by (pod) ({cpu} {ours})", "{{pod}}"),
        ),
        lines(
            About(
                "Memory",
                "Resident, by pod. 0.3 MB per call in media; growth without calls is a leak.",
                "bytes",
                width=12,
            ),
            Query(f"sum by (pod) ({memory} {ours})", "{{pod}}"),
        ),
    )
