"""The row of the Cost dashboard for the ledger: usage not booked, failures, booking delay."""

from deploy.dashboards import objectives
from deploy.dashboards.panel_kit import About, Board, Panel, Query, Thresholds, lines, tile
from deploy.dashboards.promql import (
    PROVIDER,
    increase,
    metric,
    or_none,
    or_zero,
    quantile,
    rate,
    total,
)


def row(board: Board) -> None:
    """Add the row to ``board``."""
    board.row("Is the bill right?", *_not_booked(), *_failures(), *_booking())


def _not_booked() -> tuple[Panel, ...]:
    return (
        tile(
            About(
                "Unpriced lines",
                "Bill lines that no price book prices: their calls appear cheaper than they were. Add the price and "
                "restart metering (docs/runbooks/HushgateUsageUnpriced.md).",
                "none",
                width=6,
                height=4,
            ),
            Query(or_zero(total(metric("ledger_unpriced_total", PROVIDER)))),
            Thresholds(1, 1),
        ),
        tile(
            About(
                "Quarantined events",
                "Usage events quarantined in the time shown. They are not billed until they are released "
                "(docs/runbooks/HushgateUsageQuarantined.md).",
                "none",
                width=6,
                height=4,
            ),
            Query(or_zero(total(increase("ledger_quarantined_total")))),
            Thresholds(1, 1),
        ),
    )


def _failures() -> tuple[Panel, ...]:
    unwritten = " + ".join(
        f"({or_zero(total(increase(name)))})"
        for name in ("usage_write_failed_total", "upstream_usage_write_failed_total")
    )
    return (
        tile(
            About(
                "Events not written",
                "Usage that media or upstream could not write to its disk: lost when the process ends "
                "(docs/runbooks/HushgateUsageNotWritten.md).",
                "none",
                width=6,
                height=4,
            ),
            Query(unwritten),
            Thresholds(1, 1),
        ),
        tile(
            About(
                "Ledger errors",
                "Times that metering could not fetch, book or acknowledge. Nothing is lost: it retries "
                "(docs/runbooks/HushgateLedgerFailing.md).",
                "none",
                width=6,
                height=4,
            ),
            Query(or_zero(total(increase("ledger_feed_errors_total")))),
            Thresholds(1, 10),
        ),
    )


def _booking() -> tuple[Panel, ...]:
    return (
        lines(
            About(
                "Usage events by what the ledger did",
                "Events a second. Duplicates are usual after a restart and are not booked twice.",
                "ops",
            ),
            Query(or_none(total(rate("ledger_events_total"), "result"), "result"), "{{result}}"),
        ),
        lines(
            About(
                "Oldest usage not in the ledger",
                "Age of the oldest event in any outbox. Above a minute the ledger is not reached "
                "(docs/runbooks/HushgateUsageStuck.md).",
                "s",
            ),
            Query(f"max by (pod) ({metric('usage_outbox_oldest_seconds')})", "{{pod}}"),
            limit=objectives.OUTBOX_S,
        ),
        lines(
            About(
                "Booking a batch",
                "Time until a batch of events is on the ledger's disk. Rises with a slow volume or database.",
                "s",
            ),
            Query(quantile(0.5, "ledger_commit_duration_seconds"), "p50"),
            Query(quantile(0.95, "ledger_commit_duration_seconds"), "p95"),
        ),
    )
