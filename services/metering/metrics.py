"""Metrics of metering. Cost and usage are the ledger's sums: a restart neither resets nor doubles them."""

from collections.abc import Iterator, Mapping

from prometheus_client import Counter, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from services.metering.core.pricing import NANO
from services.metering.core.reading import Reason
from services.metering.core.totals import RESULTS, TotalLabels, Totals
from services.runtime.telemetry.metrics import announce

COMMIT_DURATION = Histogram(
    "hushgate_ledger_commit_duration_seconds",
    "Time to book a batch of usage events and have it on the disk.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
FEED_ERRORS = Counter(
    "hushgate_ledger_feed_errors_total", "Times that events could not be fetched, booked or acknowledged.", ["reason"]
)

announce(FEED_ERRORS, ("fetch", "commit", "ack"))

_PAYER = ["provider", "model", "tenant"]
_METER = ["provider", "model", "meter"]


class LedgerCollector(Collector):
    """Prometheus collector of ``totals``."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield all counters with their current values."""
        sums = self._totals
        yield _family("billed_seconds", "Audio seconds sent and generated.", _PAYER, sums.billed_ms, 1000)
        yield _family("gated_seconds", "Caller audio withheld by the gate.", _PAYER, sums.gated_ms, 1000)
        yield _family("conversation_seconds", "Length of calls.", _PAYER, sums.call_ms, 1000)
        yield _family("usage_units", "Usage in the unit of its meter.", _METER, sums.units, 1)
        yield _family("cost_usd", "What the providers bill, by the price books.", _PAYER, sums.cost_nano, NANO)
        yield _family("saved_usd", "What the gate saved, by the price books.", _PAYER, sums.saved_nano, NANO)
        yield _family("ledger_unpriced", "Bill lines of calls that no price book prices.", _METER, sums.unpriced, 1)
        results: dict[TotalLabels, int] = {(result,): sums.results[result] for result in RESULTS}
        yield _family("ledger_events", "Usage events by what the ledger did with them.", ["result"], results, 1)
        reasons: dict[TotalLabels, int] = {(reason,): sums.reasons[reason] for reason in Reason}
        yield _family("ledger_quarantined", "Usage events quarantined, by reason.", ["reason"], reasons, 1)


def _family(
    name: str, text: str, labels: list[str], values: Mapping[TotalLabels, int], per_unit: int
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"hushgate_{name}", text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(list(key), value / per_unit)
    return family
