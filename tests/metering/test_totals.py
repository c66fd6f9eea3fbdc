"""The sums exported as counters."""

from services.contracts.ids import CallId, TenantId
from services.contracts.usage import Meter
from services.metering.core.ledger import LedgerLine, LineKey
from services.metering.core.totals import Growth, Totals, growth


def key(meter: Meter, tenant: str = "acme") -> LineKey:
    return LineKey(TenantId(tenant), CallId("rtc_1"), "xai", "grok", meter)


def test_growth_is_from_the_line_before() -> None:
    sent = key(Meter.AUDIO_SENT_MS)
    (grown,) = growth({sent: LedgerLine(10, 100, 0, "b")}, {sent: LedgerLine(30, 300, 0, "b", unpriced=True)})
    assert grown == Growth("acme", "xai", "grok", Meter.AUDIO_SENT_MS, 20, 200, 0, unpriced=1)


def test_a_line_is_counted_as_unpriced_once() -> None:
    sent = key(Meter.AUDIO_SENT_MS)
    (grown,) = growth({sent: LedgerLine(10, unpriced=True)}, {sent: LedgerLine(30, unpriced=True)})
    assert grown.unpriced == 0


def test_seconds_and_money_are_counted_for_the_tenants_that_are_listed() -> None:
    totals = Totals(frozenset({"acme"}))
    for tenant in ("acme", "b", "c"):
        totals.add(
            growth(
                {},
                {
                    key(Meter.AUDIO_SENT_MS, tenant): LedgerLine(1000, 5, 0, "b"),
                    key(Meter.AUDIO_GENERATED_MS, tenant): LedgerLine(500, 3, 0, "b"),
                    key(Meter.AUDIO_GATED_MS, tenant): LedgerLine(200, 0, 1, "b"),
                    key(Meter.CALL_MS, tenant): LedgerLine(3000),
                    key(Meter.TOKENS_IMAGE_IN, tenant): LedgerLine(4, unpriced=True),
                },
            )
        )
    assert totals.billed_ms == {("xai", "grok", "acme"): 1500, ("xai", "grok", "other"): 3000}
    assert totals.gated_ms == {("xai", "grok", "acme"): 200, ("xai", "grok", "other"): 400}
    assert totals.call_ms == {("xai", "grok", "acme"): 3000, ("xai", "grok", "other"): 6000}
    assert totals.cost_nano["xai", "grok", "other"] == 16
    assert totals.saved_nano["xai", "grok", "other"] == 2
    assert totals.units["xai", "grok", "tokens_image_in"] == 12
    assert totals.unpriced == {("xai", "grok", "tokens_image_in"): 3}
