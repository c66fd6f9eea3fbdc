"""The row of the Cost dashboard for spend."""

from deploy.dashboards.panel_kit import About, Board, Panel, Query, bars, lines, rows, tile
from deploy.dashboards.promql import (
    PROVIDER,
    TENANT,
    increase,
    rate,
    total,
)

_PAYER = (PROVIDER, TENANT)
_HOUR = 3600
_MONTH = 30 * 24 * _HOUR


def row(board: Board) -> None:
    """Add the row to ``board``."""
    board.row("Spend", *_spent(), *_share(), *_pace(), *_burn(), *_who())


def _spent() -> tuple[Panel, ...]:
    cost, saved = (total(increase(f"{name}_usd_total", *_PAYER)) for name in ("cost", "saved"))
    return (
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
                "What the withheld silence would have cost. 0 for providers that bill only answer tokens.",
                "currencyUSD",
                width=4,
                height=4,
            ),
            Query(saved),
        ),
    )


def _share() -> tuple[Panel, ...]:
    cost, saved = (total(increase(f"{name}_usd_total", *_PAYER)) for name in ("cost", "saved"))
    talked = total(increase("conversation_seconds_total", *_PAYER))
    return (
        tile(
            About(
                "Saved share",
                "Share saved of the cost without the gate. If low, check the silence share below: "
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
                "Dollars for a minute of call. It rises with long histories: check the cached share of the input.",
                "currencyUSD",
                width=4,
                height=4,
                decimals=4,
            ),
            Query(f"{cost} / ({talked} / 60)"),
        ),
    )


def _pace() -> tuple[Panel, ...]:
    cost = total(increase("cost_usd_total", *_PAYER))
    return (
        tile(
            About(
                "Burn, an hour",
                "Cost of an hour at the current rate. Answers are booked at their end, so few calls look like a comb.",
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
                "Cost of 30 days at the rate of the time shown: show a week to include a weekend.",
                "currencyUSD",
                width=4,
                height=4,
            ),
            Query(f"{cost} / $__range_s * {_MONTH}"),
        ),
    )


def _burn() -> tuple[Panel, ...]:
    return (
        lines(
            About(
                "Burn by model, an hour",
                "Dollars an hour, by provider and model. A step without a deployment: a longer prompt, or "
                "a new caller.",
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
        lines(
            About(
                "Answers taken back, an hour",
                "Requested before the end of a turn, paid for and never heard, as the caller spoke on. In the ledger "
                "their usage has `taken_back:` before its reference.",
                "short",
                width=24,
                height=6,
            ),
            Query(f"{total(rate('turns_taken_back_total', PROVIDER), 'provider')} * {_HOUR}", "{{provider}}"),
        ),
    )


def _who() -> tuple[Panel, ...]:
    return (
        bars(
            About(
                "Top tenants",
                "The ten that cost most in the time shown. Limit a tenant in the tenants file.",
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
