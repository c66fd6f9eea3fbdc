"""Savings of the gate by meter kind, often zero."""

from decimal import Decimal

from services.contracts.usage import Meter
from services.metering.core.counterfactual import saved_nano, saved_note
from services.metering.core.pricing import MeterKind, PriceRule, UnitPrice

BY_THE_MINUTE = PriceRule("*", MeterKind.AUDIO_SECONDS, {Meter.AUDIO_SENT_MS: UnitPrice(Decimal("0.05"), 60_000)})


def test_held_back_audio_saves_its_price_where_audio_is_billed() -> None:
    assert saved_nano(BY_THE_MINUTE, 120_000) == 100_000_000


def test_where_responses_are_billed_silence_was_free_anyway() -> None:
    assert saved_nano(PriceRule("*", MeterKind.RESPONSE_TOKENS, {}), 120_000) == 0
    assert saved_note([MeterKind.RESPONSE_TOKENS, MeterKind.TRANSCRIPTION]) == "This provider does not bill silence."


def test_without_a_price_nothing_is_claimed() -> None:
    assert saved_nano(None, 120_000) == 0
    assert saved_note([]).startswith("There is no price")


def test_a_call_with_two_providers_has_a_sentence_for_each() -> None:
    note = saved_note([MeterKind.SESSION_SECONDS, MeterKind.AUDIO_SECONDS, MeterKind.AUDIO_SECONDS])
    assert note.count(".") == 2
