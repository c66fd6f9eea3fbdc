"""Every event is booked or kept aside for a reason; its place in the outbox is found where it can be."""

import json
from typing import Any

import pytest

from services.contracts.usage import UsageEvent
from services.metering.core.reading import MAX_INTEGER, Place, Reason, Unbookable, read

Maker = Any  # that of conftest.py, which nothing can import


def changed(event: UsageEvent, **fields: Any) -> bytes:  # noqa: ANN401 - any JSON  # noqa: ANN401 - any JSON
    return json.dumps(json.loads(event.encode()) | fields).encode()


def test_an_event_in_order_is_read(make: Maker) -> None:
    event = make.event({"audio_sent_ms": 20})
    assert read(event.encode(), tenant="acme") == event


@pytest.mark.parametrize(
    ("usage", "reason"),
    [
        ({"meters": {"audio_sent_ms": 1, "tokens_audio_in": 1}}, Reason.MIXED_METERS),
        ({"meters": {"tokens_audio_in": 1}}, Reason.NO_REFERENCE),
        ({"meters": {"audio_sent_ms": 1}, "sequence": MAX_INTEGER + 1}, Reason.IMPLAUSIBLE),
        ({"meters": {"audio_sent_ms": 1}, "epoch": MAX_INTEGER + 1}, Reason.IMPLAUSIBLE),
        ({"meters": {"audio_sent_ms": 1}, "tenant": "other"}, Reason.WRONG_TENANT),
    ],
)
def test_what_contradicts_itself_is_kept_aside(make: Maker, usage: dict[str, Any], reason: Reason) -> None:
    found = read(make.event(**usage).encode(), tenant="acme")
    assert isinstance(found, Unbookable)
    assert found.reason is reason


def test_a_meter_that_we_do_not_know_is_named_as_such(make: Maker) -> None:
    event = make.event({"audio_sent_ms": 20})
    data = json.loads(event.encode())["data"] | {"meters": {"coffees": 1}}
    assert read(changed(event, data=data), tenant="acme") == Unbookable(Reason.UNKNOWN_METER, Place("outbox-1", 1, 1))


def test_content_that_does_not_match_its_hash_is_named_as_such(make: Maker) -> None:
    body = changed(make.event({"audio_sent_ms": 20}), contenthash="0" * 64)
    assert read(body, tenant="acme") == Unbookable(Reason.WRONG_HASH, Place("outbox-1", 1, 1))


def test_the_place_of_an_event_that_is_too_large_is_still_read(make: Maker) -> None:
    body = changed(make.event({"audio_sent_ms": 20}), outboxseq=9, outboxfloor=12, padding="x" * 5000)
    assert read(body, tenant="acme") == Unbookable(Reason.TOO_LARGE, Place("outbox-1", 9, 9))


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"time": "noon"}, Place("outbox-1", 1, 1)),
        ({"time": "noon", "outboxfloor": None}, Place("outbox-1", 1, 1)),
        ({"data": None}, Place("outbox-1", 1, 1)),
        ({"data": {"meters": []}}, Place("outbox-1", 1, 1)),
        ({"outboxseq": 0}, None),
        ({"outboxseq": True}, None),
        ({"outboxseq": 2**70}, None),
        ({"source": "a.b"}, None),
        ({"source": 7}, None),
    ],
)
def test_the_place_is_used_only_if_it_is_one(make: Maker, fields: dict[str, Any], place: Place | None) -> None:
    body = changed(make.event({"audio_sent_ms": 20}), type="other", **fields)
    assert read(body, tenant="acme") == Unbookable(Reason.MALFORMED, place)


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b"7", b"[" * 4000, b"9" * 4000])
def test_bytes_of_any_kind_are_only_malformed(body: bytes) -> None:
    assert read(body, tenant="acme") == Unbookable(Reason.MALFORMED, None)
