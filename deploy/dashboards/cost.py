"""The Cost dashboard: what is spent and where, what is saved, and whether the bill is right.

Its counters are the ledger's own sums, so a restart neither resets nor doubles them.
"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboards import objectives
from deploy.dashboards.kit import About, Board, Limits, Query, bars, lines, rows, tile
from deploy.dashboards.promql import (
    PROVIDER,
    TENANT,
    increase,
    metric,
    or_none,
    or_zero,
    quantile,
    rate,
    total,
)

_PAYER = (PROVIDER, TENANT)
_HOUR = 3600
_MONTH = 30 * 24 * _HOUR


def _meter(pattern: str) -> str:
    return f'meter=~"{pattern}"'


def _units(pattern: str, *by: str) -> str:
    return total(rate("usage_units_total", PROVIDER, _meter(pattern)), *by)


def build() -> Dashboard:
    """The dashboard."""
    board = Board(
        uid="hushgate-cost",
        title="Hushgate: Cost",
        text="What calls cost by the price books, what the gate saved, and whether the ledger is complete.",
        variables=("namespace", "provider", "tenant"),
    )
    _spend(board)
    _saved(board)
    _ledger(board)
    return board.build()


def _spend(board: Board) -> None:
    cost, saved = (total(increase(f"{name}_usd_total", *_PAYER)) for name in ("cost", "saved"))
    talked = total(increase("conversation_seconds_total", *_PAYER))
    board.row(
        "Spend",
        tile(
            About(
                "Spent",
                "What the providers bill for the time shown, by the price books. The ledger is exact, this is a "
                "counter seen at each scrape: compare invoices with `GET /v1/usage`.",
                "currencyUSD",
                width=4,
                height=4,
            ),
            Query(cost),
        ),
        tile(
            About(
                "Saved by the gate",
                "What the silence that was withheld would have cost. 0 for providers that bill tokens of answers only.",
                "currencyUSD",
                width=4,
                height=4,
            ),
            Query(saved),
        ),
        tile(
            About(
                "Saved share",
                "Saved, of what the same calls would have cost without the gate. Low? Look at the silence share below: "
                "noisy lines keep the gate open.",
                "percentunit",
                width=4,
                height=4,
                decimals=1,
            ),
            Query(f"{saved} / ({cost} + {saved})"),
        ),
        tile(
            About(
                "Per conversation minute",
                "Dollars for a minute of call. It rises with long histories: look at the cached share of the input.",
                "currencyUSD",
                width=4,
                height=4,
                decimals=4,
            ),
            Query(f"{cost} / ({talked} / 60)"),
        ),
        tile(
            About(
                "Burn, an hour",
                "What an hour costs at the pace of this moment. Answers are booked at their end: few make a comb.",
                "currencyUSD",
                width=4,
                height=4,
            ),
            Query(f"{total(rate('cost_usd_total', *_PAYER))} * {_HOUR}"),
            over_time=True,
        ),
        tile(
            About(
                "Forecast, 30 days",
                "What 30 days cost at the pace of the time shown: show a week for a number that has seen a weekend.",
                "currencyUSD",
                width=4,
                height=4,
            ),
            Query(f"{cost} / $__range_s * {_MONTH}"),
        ),
        lines(
            About(
                "Burn by model, an hour",
                "Dollars an hour, by provider and model. A step that no deployment explains is a prompt that grew, or "
                "somebody new.",
                "currencyUSD",
                width=12,
            ),
            Query(
                f"{total(rate('cost_usd_total', *_PAYER), 'provider', 'model')} * {_HOUR}",
                "{{provider}} {{model}}",
            ),
            stacked=True,
        ),
        lines(
            About(
                "Burn by tenant, an hour",
                "Dollars an hour. Tenants outside METERING_METRIC_TENANTS are `other`.",
                "currencyUSD",
                width=12,
            ),
            Query(f"{total(rate('cost_usd_total', *_PAYER), 'tenant')} * {_HOUR}", "{{tenant}}"),
            stacked=True,
        ),
        bars(
            About(
                "Top tenants",
                "The ten that cost most in the time shown. Write a tenant's limits into the tenants file.",
                "currencyUSD",
            ),
            Query(f"topk(10, {total(increase('cost_usd_total', *_PAYER), 'tenant')})", "{{tenant}}"),
        ),
        rows(
            About(
                "Usage by model and meter",
                "What was measured, in the unit of its meter: `…_ms` are milliseconds, `tokens_…` tokens. All tenants.",
                "short",
                width=16,
            ),
            Query(f"{total(increase('usage_units_total', PROVIDER), 'provider', 'model', 'meter')} > 0"),
            columns={"provider": "Provider", "model": "Model", "meter": "Meter", "Value": "Quantity"},
        ),
    )


def _saved(board: Board) -> None:
    sent, gated = _units("audio_sent_ms", "provider"), _units("audio_gated_ms", "provider")
    played, generated = _units("audio_played_ms", "provider"), _units("audio_generated_ms", "provider")
    cost, saved = (f"{total(rate(f'{name}_usd_total', *_PAYER))} * {_HOUR}" for name in ("cost", "saved"))
    board.row(
        "What is not paid for",
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


def _ledger(board: Board) -> None:
    unwritten = " + ".join(
        f"({or_zero(total(increase(name)))})"
        for name in ("usage_write_failed_total", "upstream_usage_write_failed_total")
    )
    board.row(
        "Is the bill right?",
        tile(
            About(
                "Unpriced lines",
                "Bill lines that no price book prices: their calls look cheaper than they were. Add the price and "
                "restart metering (docs/runbooks/HushgateUsageUnpriced.md).",
                "none",
                width=6,
                height=4,
            ),
            Query(or_zero(total(metric("ledger_unpriced_total", PROVIDER)))),
            Limits(1, 1),
        ),
        tile(
            About(
                "Quarantined events",
                "Usage events kept aside in the time shown. They are not billed until somebody looks "
                "(docs/runbooks/HushgateUsageQuarantined.md).",
                "none",
                width=6,
                height=4,
            ),
            Query(or_zero(total(increase("ledger_quarantined_total")))),
            Limits(1, 1),
        ),
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
            Limits(1, 1),
        ),
        tile(
            About(
                "Ledger errors",
                "Times that metering could not fetch, book or acknowledge. Nothing is lost: it tries again "
                "(docs/runbooks/HushgateLedgerFailing.md).",
                "none",
                width=6,
                height=4,
            ),
            Query(or_zero(total(increase("ledger_feed_errors_total")))),
            Limits(1, 10),
        ),
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
                "Age of the oldest event in any outbox. Above a minute the way to the ledger is broken "
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
