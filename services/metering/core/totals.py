"""Integer sums over all calls, for the counters: exact, and restored from the ledger after a restart."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.contracts.usage import Meter
from services.metering.core.ledger import LedgerLine, LineKey

OTHER = "other"
RESULTS = ("booked", "superseded", "duplicate", "held", "quarantined")
"""Possible outcomes of an event; label of the metric."""
_BILLED_SECONDS = frozenset({Meter.AUDIO_SENT_MS, Meter.AUDIO_GENERATED_MS})


@dataclass(frozen=True, slots=True)
class Growth:
    """Increase of a tenant's lines for one model and meter. ``unpriced``: change in the number of unpriced lines."""

    tenant: str
    provider: str
    model: str
    meter: Meter
    quantity: int
    cost_nano: int
    saved_nano: int
    unpriced: int


def growth(before: Mapping[LineKey, LedgerLine], after: Mapping[LineKey, LedgerLine]) -> list[Growth]:
    """Return the increase of each line from ``before`` to ``after``."""
    return [
        Growth(
            tenant=key.tenant,
            provider=key.provider,
            model=key.model,
            meter=key.meter,
            quantity=line.quantity - before.get(key, LedgerLine()).quantity,
            cost_nano=line.cost_nano - before.get(key, LedgerLine()).cost_nano,
            saved_nano=line.saved_nano - before.get(key, LedgerLine()).saved_nano,
            unpriced=int(line.unpriced and not before.get(key, LedgerLine()).unpriced),
        )
        for key, line in after.items()
    ]


TotalLabels = tuple[str, ...]


@dataclass(slots=True)
class Totals:
    """Sums by label values. ``tenants``: those with their own label; all others are `other`."""

    tenants: frozenset[str]
    billed_ms: dict[TotalLabels, int] = field(default_factory=lambda: defaultdict(int))
    gated_ms: dict[TotalLabels, int] = field(default_factory=lambda: defaultdict(int))
    call_ms: dict[TotalLabels, int] = field(default_factory=lambda: defaultdict(int))
    units: dict[TotalLabels, int] = field(default_factory=lambda: defaultdict(int))
    cost_nano: dict[TotalLabels, int] = field(default_factory=lambda: defaultdict(int))
    saved_nano: dict[TotalLabels, int] = field(default_factory=lambda: defaultdict(int))
    unpriced: dict[TotalLabels, int] = field(default_factory=lambda: defaultdict(int))
    results: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, grown: Iterable[Growth]) -> None:
        """Add what was booked to the sums."""
        for each in grown:
            payer = (each.provider, each.model, each.tenant if each.tenant in self.tenants else OTHER)
            self.units[each.provider, each.model, each.meter] += each.quantity
            self.cost_nano[payer] += each.cost_nano
            self.saved_nano[payer] += each.saved_nano
            if each.meter in _BILLED_SECONDS:
                self.billed_ms[payer] += each.quantity
            if each.meter is Meter.AUDIO_GATED_MS:
                self.gated_ms[payer] += each.quantity
            if each.meter is Meter.CALL_MS:
                self.call_ms[payer] += each.quantity
            if each.unpriced:
                self.unpriced[each.provider, each.model, each.meter] += each.unpriced
