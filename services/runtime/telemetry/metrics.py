"""Metrics that every process exports."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram


def announce(metric: Counter | Histogram, values: Iterable[str | tuple[str, ...]]) -> None:
    """Create the series of ``metric`` for label ``values`` that are known beforehand, at 0.

    A series that appears with its first event has no rate for that event, so an alert would miss it.
    """
    for value in values:
        metric.labels(*((value,) if isinstance(value, str) else value))


HTTP_CONNECTIONS = Gauge("hushgate_http_connections", "TCP connections that the HTTP listener holds.")
HTTP_REFUSALS = (
    "address_busy",
    "address_full",
    "body_timeout",
    "busy",
    "evicted",
    "full",
    "head_timeout",
    "head_too_large",
    "malformed",
    "pipelined",
    "small_chunks",
    "target_too_long",
    "tls",
    "unread_body",
    "write_timeout",
)
HTTP_REFUSED = Counter(
    "hushgate_http_refused_total",
    "Requests and connections that the HTTP listener refused or cut before an application answered, by reason.",
    ["reason"],
)
announce(HTTP_REFUSED, HTTP_REFUSALS)
LOOP_LAG = Gauge("hushgate_event_loop_lag_seconds", "Delay of the event loop's last 0.25 s timer.", ["role"])
TASKS = Gauge("hushgate_event_loop_tasks", "Tasks on the event loop.", ["role"])
BUS_DROPPED = Counter(
    "hushgate_bus_frames_dropped_total", "Frames that were not sent or not accepted, by reason.", ["reason"]
)
announce(
    BUS_DROPPED,
    ("backlog", "disconnected", "inbox", "malformed", "no_call", "stale_epoch", "wrong_sender", "wrong_way"),
)
BUS_RESENT = Counter(
    "hushgate_bus_frames_resent_total",
    "Frames resent after one side was disconnected from the bus.",
)
BUS_RECONNECTS = Counter("hushgate_bus_reconnects_total", "Reconnections to NATS.", ["connection"])
BUS_ERRORS = Counter("hushgate_bus_errors_total", "Errors that the NATS client reported, by kind.", ["kind"])
announce(BUS_ERRORS, ("PermissionsViolation",))
BUS_FRAME_AGE = Histogram(
    "hushgate_bus_frame_age_seconds",
    "Time from sending a frame to handling it, by the two machines' wall clocks.",
    ["direction"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
announce(BUS_FRAME_AGE, ("up", "down"))
OUTBOX_OLDEST = Gauge(
    "hushgate_usage_outbox_oldest_seconds", "Age of the oldest usage event that is not yet in the ledger."
)
OUTBOX_EVENTS = Counter(
    "hushgate_usage_outbox_events_total", "Usage events written to, published from and freed from the outbox.", ["step"]
)
SPANS = Counter(
    "hushgate_trace_spans_total",
    "Spans of traces by outcome: exported; failed, the collector rejected them; dropped, the queue was full.",
    ["outcome"],
)
