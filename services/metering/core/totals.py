"""Sums over all calls, as integers: what the counters show never drifts and survives a restart."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.contracts.usage import Meter
from services.metering.core.ledger import Line, LineKey

OTHER = "other"
RESULTS = ("booked", "superseded", "duplicate", "held", "quarantined")
"""What the ledger does with an event."""
_BILLED_SECONDS = frozenset({Meter.AUDIO_SENT_MS, Meter.AUDIO_GENERATED_MS})


@dataclass(frozen=True, slots=True)
class Growth:
    """What the lines of a tenant for one model and meter grew by. ``unpriced``: lines that have no price since."""

    tenant: str
    provider: str
    model: str
    meter: Meter
    quantity: int
    cost_nano: int
    saved_nano: int
    unpriced: int


def growth(before: Mapping[LineKey, Line], after: Mapping[LineKey, Line]) -> list[Growth]:
    """From the lines ``before`` to those ``after``."""
    return [
        Growth(
            tenant=key.tenant,
            provider=key.provider,
            model=key.model,
            meter=key.meter,
            quantity=line.quantity - before.get(key, Line()).quantity,
            cost_nano=line.cost_nano - before.get(key, Line()).cost_nano,
            saved_nano=line.saved_nano - before.get(key, Line()).saved_nano,
            unpriced=int(line.unpriced and not before.get(key, Line()).unpriced),
        )
        for key, line in after.items()
    ]


Labels = tuple[str, ...]


@dataclass(slots=True)
class Totals:
    """Sums by label values. ``tenants``: those with a label of their own; all others are `other`."""

    tenants: frozenset[str]
    billed_ms: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    gated_ms: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    call_ms: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    units: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    cost_nano: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    saved_nano: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    unpriced: dict[Labels, int] = field(default_factory=lambda: defaultdict(int))
    results: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, grown: Iterable[Growth]) -> None:
        """Count what was booked."""
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
