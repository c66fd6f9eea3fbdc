"""The usage event is a public format: its golden JSON must round-trip, and invalid events are refused."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.contracts.ids import CallId, Epoch, SessionId, TenantId
from services.contracts.usage import (
    MAX_EVENT_BYTES,
    TIME_METERS,
    MalformedUsageError,
    Meter,
    UsageData,
    UsageEvent,
    decode,
    usage_event,
)

GOLDEN = Path(__file__).parent / "golden"


def time_usage(**changes: Any) -> UsageData:  # noqa: ANN401 - any field of the model
    fields: dict[str, Any] = {
        "call_id": CallId("rtc_abcdefghij0123456789abcdef"),
        "session_id": SessionId("sess_abcdefghij0123456789"),
        "epoch": Epoch(7),
        "seq": 3,
        "provider": "rehearsal",
        "model": "gpt-realtime-2.1",
        "meters": {Meter.AUDIO_SENT_MS: 5000, Meter.AUDIO_GENERATED_MS: 7340},
    }
    return UsageData(**fields | changes)


def sealed(data: UsageData) -> UsageEvent:
    return usage_event(
        data,
        event_id="0f8fad5bd9cb469fa16570867728950e",
        source="outbox-upstream-local-0-0123456789abcdef",
        tenant=TenantId("acme"),
        time=datetime(2026, 11, 20, 12, 0, 5, tzinfo=UTC),
        sequence=42,
        floor=40,
    )


EXAMPLES = {
    "usage_time.json": sealed(time_usage()),
    "usage_of_media.json": sealed(time_usage(meters={Meter.CALL_MS: 5000}, worker="upstream-0")),
    "usage_exact.json": sealed(
        time_usage(
            provider_ref="resp_1",
            meters={Meter.TOKENS_AUDIO_IN: 50, Meter.TOKENS_AUDIO_IN_CACHED: 150, Meter.TOKENS_TEXT_OUT: 31},
        )
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_golden_event_is_what_we_write_and_read(name: str) -> None:
    golden = json.loads((GOLDEN / name).read_text())
    assert json.loads(EXAMPLES[name].encode()) == golden
    assert decode(json.dumps(golden).encode()) == EXAMPLES[name]


def test_fields_that_a_later_version_adds_are_ignored() -> None:
    golden = json.loads((GOLDEN / "usage_time.json").read_text())
    golden["later"] = golden["data"]["later"] = "x"
    assert decode(json.dumps(golden).encode()) == EXAMPLES["usage_time.json"]


def test_an_event_of_a_version_that_named_no_worker_keeps_its_hash() -> None:
    golden = json.loads((GOLDEN / "usage_time.json").read_text())
    del golden["data"]["worker"]
    assert decode(json.dumps(golden).encode()) == EXAMPLES["usage_time.json"]


def test_every_meter_is_either_cumulative_or_exact() -> None:
    exact = {meter for meter in Meter if meter not in TIME_METERS}
    assert all(meter.startswith(("tokens_", "transcribe_")) for meter in exact)


def test_the_hash_covers_the_content_and_not_the_count_of_the_producer() -> None:
    assert time_usage(seq=9).content_hash() == time_usage().content_hash()
    assert time_usage(meters={Meter.AUDIO_SENT_MS: 5001}).content_hash() != time_usage().content_hash()


def test_the_largest_event_fits() -> None:
    data = time_usage(
        provider="p" * 64, model="m" * 128, provider_ref="r" * 128, meters=dict.fromkeys(Meter, 2**53 - 1)
    )
    assert len(sealed(data).encode()) < MAX_EVENT_BYTES


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("meters", {}),
        ("meters", {"audio_sent_ms": -1}),
        ("meters", {"audio_sent_ms": 1.5}),
        ("meters", {"audio_sent_ms": 1e30}),
        ("meters", {"audio_sent_ms": True}),
        ("meters", {"coffees": 1}),
        ("call_id", "rtc_; DROP TABLE"),
        ("model", ""),
    ],
)
def test_nonsense_is_no_event(field: str, value: object) -> None:
    golden = json.loads((GOLDEN / "usage_time.json").read_text())
    golden["data"][field] = value
    with pytest.raises(MalformedUsageError):
        decode(json.dumps(golden).encode())


def test_a_changed_quantity_does_not_match_its_hash() -> None:
    golden = json.loads((GOLDEN / "usage_time.json").read_text())
    golden["data"]["meters"]["audio_sent_ms"] = 1
    with pytest.raises(MalformedUsageError, match="hash"):
        decode(json.dumps(golden).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"{" * 2000, b" " * (MAX_EVENT_BYTES + 1)])
def test_bytes_of_any_kind_are_no_event(body: bytes) -> None:
    with pytest.raises(MalformedUsageError):
        decode(body)
