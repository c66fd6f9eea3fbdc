"""Every event is valid or refused with a reason; its outbox position is read if possible."""

import json
from typing import Any

import pytest

from services.contracts import subjects
from services.contracts.usage import UsageEvent
from services.metering.core.reading import MAX_INTEGER, OutboxPosition, Reason, ReceivedUsage, Unbookable, read
from tests.metering.event_maker import EventMaker

UPSTREAM = "hg.usage.upstream.upstream-0.acme"
OUTBOX = f"upstream-0-{'b' * 16}"


def changed(event: UsageEvent, **fields: Any) -> bytes:  # noqa: ANN401 - any JSON  # noqa: ANN401 - any JSON
    return json.dumps(json.loads(event.encode()) | fields).encode()


def test_an_event_in_order_is_read(make: EventMaker) -> None:
    event = make.event({"audio_sent_ms": 20})
    found = read(event.encode(), subject=UPSTREAM)
    assert isinstance(found, ReceivedUsage)
    assert (found.event, found.place) == (event, OutboxPosition(make.worker_outbox, 1, 1, "upstream-0"))
    assert found.sender == subjects.UsageSender("upstream", "upstream-0", "acme")


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
def test_what_contradicts_itself_is_kept_aside(make: EventMaker, usage: dict[str, Any], reason: Reason) -> None:
    found = read(make.event(**usage).encode(), subject=UPSTREAM)
    assert isinstance(found, Unbookable)
    assert found.reason is reason


def test_a_meter_that_we_do_not_know_is_named_as_such(make: EventMaker) -> None:
    event = make.event({"audio_sent_ms": 20})
    data = json.loads(event.encode())["data"] | {"meters": {"coffees": 1}}
    assert read(changed(event, data=data), subject=UPSTREAM) == Unbookable(
        Reason.UNKNOWN_METER, OutboxPosition(OUTBOX, 1, 1, "upstream-0")
    )


def test_content_that_does_not_match_its_hash_is_named_as_such(make: EventMaker) -> None:
    body = changed(make.event({"audio_sent_ms": 20}), contenthash="0" * 64)
    assert read(body, subject=UPSTREAM) == Unbookable(Reason.WRONG_HASH, OutboxPosition(OUTBOX, 1, 1, "upstream-0"))


def test_the_place_of_an_event_that_is_too_large_is_still_read(make: EventMaker) -> None:
    body = changed(make.event({"audio_sent_ms": 20}), outboxseq=9, outboxfloor=12, padding="x" * 5000)
    assert read(body, subject=UPSTREAM) == Unbookable(Reason.TOO_LARGE, OutboxPosition(OUTBOX, 9, 9, "upstream-0"))


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"time": "noon"}, OutboxPosition(OUTBOX, 1, 1, "upstream-0")),
        ({"time": "noon", "outboxfloor": None}, OutboxPosition(OUTBOX, 1, 1, "upstream-0")),
        ({"data": None}, OutboxPosition(OUTBOX, 1, 1, "upstream-0")),
        ({"data": {"meters": []}}, OutboxPosition(OUTBOX, 1, 1, "upstream-0")),
        ({"outboxseq": 0}, None),
        ({"outboxseq": True}, None),
        ({"outboxseq": 2**70}, None),
        ({"source": "a.b"}, None),
        ({"source": 7}, None),
    ],
)
def test_the_place_is_used_only_if_it_is_one(
    make: EventMaker, fields: dict[str, Any], place: OutboxPosition | None
) -> None:
    body = changed(make.event({"audio_sent_ms": 20}), type="other", **fields)
    assert read(body, subject=UPSTREAM) == Unbookable(Reason.MALFORMED, place)


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b"7", b"[" * 4000, b"9" * 4000])
def test_bytes_of_any_kind_are_only_malformed(body: bytes) -> None:
    assert read(body, subject=UPSTREAM) == Unbookable(Reason.MALFORMED, None)


@pytest.mark.parametrize(
    ("source", "is_ours"),
    [
        (OUTBOX, True),
        (f"outbox-upstream-{OUTBOX}", True),  # the form of older versions
        (f"outbox-media-{OUTBOX}", True),
        (f"upstream-1-{'b' * 16}", False),
        (f"x-{OUTBOX}", False),
        ("upstream-0", False),
        (f"{OUTBOX}b", False),
    ],
)
@pytest.mark.parametrize("spoiled", [False, True])
def test_nobody_says_where_the_outbox_of_another_is(
    make: EventMaker, *, source: str, is_ours: bool, spoiled: bool
) -> None:
    body = make.event({"audio_sent_ms": 20}, source=source, sequence=9, floor=9).encode()
    found = read(body.replace(b"hushgate.usage.v1", b"other") if spoiled else body, subject=UPSTREAM)
    assert found.place == (OutboxPosition(source, 9, 9, "upstream-0") if is_ours else None)
    if not is_ours and not spoiled:
        assert isinstance(found, Unbookable)
        assert found.reason is Reason.WRONG_SOURCE


@pytest.mark.parametrize(
    "subject", ["hg.usage.metering.x.acme", "hg.usage.upstream.x", "hg.usage.upstream.a.b.acme", "", "x"]
)
def test_a_subject_that_is_nobodys_is_kept_aside(make: EventMaker, subject: str) -> None:
    event = make.event({"audio_sent_ms": 20})
    assert read(event.encode(), subject=subject) == Unbookable(Reason.WRONG_SUBJECT, None, make.call)


def test_on_the_subject_of_a_version_before_nobody_is_named_and_no_outbox_believed(make: EventMaker) -> None:
    event = make.event({"audio_sent_ms": 20})
    assert read(event.encode(), subject="hg.usage.acme") == ReceivedUsage(event, None, None)
    assert read(b"?", subject="hg.usage.acme") == Unbookable(Reason.MALFORMED, None)
    assert read(event.encode(), subject="hg.usage.other") == Unbookable(Reason.WRONG_TENANT, None, make.call)
