"""Which process may report which usage of a call, and how much: without a database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.subjects import UsageSender
from services.contracts.usage import MEDIA_METERS, Meter
from services.metering.core.ceiling import EARLIER_S, SLACK_S, Ceiling, seconds_since
from services.metering.core.reading import Reason
from services.metering.core.validation import (
    MAX_UNCLAIMED_MS,
    Facts,
    Mismatch,
    PlacementRecord,
    Rules,
    SessionOwner,
    may_be_unclaimed,
    mismatch,
    named_owner,
    process_mismatch,
)
from tests.metering.event_maker import EventMaker

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OWNER = SessionOwner("upstream-0", "rehearsal", "gpt-realtime-2.1")
PLACED = PlacementRecord("acme", frozenset({"media-0"}), "gpt-realtime-2.1", frozenset({"rehearsal"}), 3600, NOW)
FACTS = Facts(PLACED, {("sess_1", 7): OWNER})
MEDIA = UsageSender("media", "media-0", "acme")
WORKER = UsageSender("upstream", "upstream-0", "acme")
SENT, PLAYED = {"audio_sent_ms": 20}, {"audio_played_ms": 20}


def test_who_carries_a_call_and_who_owns_it_are_believed(make: EventMaker) -> None:
    assert mismatch(make.event(PLAYED), MEDIA, FACTS) is None
    assert mismatch(make.event(SENT), WORKER, FACTS) is None
    assert mismatch(make.event({"transcribe_ms": 5}, model="whisper", provider_ref="r"), WORKER, FACTS) is None


@pytest.mark.parametrize(
    ("meters", "sender", "changes", "expected"),
    [
        (PLAYED, replace(MEDIA, process="media-1"), {}, Mismatch(Reason.WRONG_PRODUCER, may_resolve=True)),
        (PLAYED, MEDIA, {"tenant": "other"}, Mismatch(Reason.WRONG_TENANT)),
        (PLAYED, MEDIA, {"model": "expensive"}, Mismatch(Reason.WRONG_MODEL)),
        (PLAYED, MEDIA, {"provider": "openai"}, Mismatch(Reason.WRONG_PROVIDER)),
        (PLAYED, MEDIA, {"worker": "upstream-1"}, Mismatch(Reason.CHANGED)),
        (SENT, MEDIA, {}, Mismatch(Reason.WRONG_METER)),
        ({"tokens_audio_in": 1}, MEDIA, {"provider_ref": "r"}, Mismatch(Reason.WRONG_METER)),
        (SENT, replace(WORKER, process="upstream-1"), {}, Mismatch(Reason.WRONG_PRODUCER)),
        (SENT, WORKER, {"tenant": "other"}, Mismatch(Reason.WRONG_TENANT)),
        (SENT, WORKER, {"provider": "openai"}, Mismatch(Reason.WRONG_PROVIDER)),
        (SENT, WORKER, {"model": "expensive"}, Mismatch(Reason.WRONG_MODEL)),
        (SENT, WORKER, {"session_id": "sess_2"}, Mismatch(Reason.UNCLAIMED, may_resolve=True)),
        (SENT, WORKER, {"epoch": 8}, Mismatch(Reason.UNCLAIMED, may_resolve=True)),
        (PLAYED, WORKER, {}, Mismatch(Reason.WRONG_METER)),
    ],
)
def test_who_speaks_for_another_is_not(
    make: EventMaker, meters: dict[str, int], sender: UsageSender, changes: dict[str, Any], expected: Mismatch
) -> None:
    assert mismatch(make.event(meters, **changes), sender, FACTS) == expected


def test_a_worker_whose_provider_is_not_the_one_that_media_named_is_not_believed(make: EventMaker) -> None:
    any_provider = replace(FACTS, placement=replace(PLACED, providers=frozenset()))
    assert mismatch(make.event(SENT, provider="openai"), WORKER, any_provider) == Mismatch(Reason.WRONG_PROVIDER)


def test_of_a_call_that_nobody_placed_nothing_is_believed(make: EventMaker) -> None:
    for meters, sender in ((PLAYED, MEDIA), (SENT, WORKER)):
        assert mismatch(make.event(meters), sender, Facts()) == Mismatch(Reason.NO_CALL, may_resolve=True)
    assert process_mismatch("acme", "media-0", Facts()) == Mismatch(Reason.NO_CALL, may_resolve=True)


def test_without_a_model_in_the_session_that_of_its_owner_counts(make: EventMaker) -> None:
    facts = replace(FACTS, placement=replace(PLACED, model=""))
    assert mismatch(make.event(PLAYED, session_id="new", model="any"), MEDIA, facts) is None
    assert mismatch(make.event(SENT), WORKER, facts) is None
    assert mismatch(make.event(SENT, model="any"), WORKER, facts) == Mismatch(Reason.WRONG_MODEL)


def test_media_names_an_owner_once(make: EventMaker) -> None:
    event = make.event(PLAYED)
    assert named_owner(event, MEDIA, Facts(PLACED)) == OWNER
    assert named_owner(event, MEDIA, FACTS) is None
    assert named_owner(event, WORKER, Facts(PLACED)) is None
    assert named_owner(make.event(PLAYED, worker=""), MEDIA, Facts(PLACED)) is None


def test_a_session_that_was_never_heard_is_time_and_nothing_else(make: EventMaker) -> None:
    assert may_be_unclaimed(make.event({"session_ms": MAX_UNCLAIMED_MS, "audio_sent_ms": 0}))
    assert not may_be_unclaimed(make.event({"session_ms": MAX_UNCLAIMED_MS + 1}))
    assert not may_be_unclaimed(make.event({"session_ms": 5, "audio_sent_ms": 1}))
    assert not may_be_unclaimed(make.event({"tokens_audio_in": 1}, provider_ref="r"))


def test_what_was_made_before_placements_were_known_is_judged_by_nobody_for_a_day() -> None:
    rules = Rules(since=NOW)
    assert rules.is_earlier(NOW - timedelta(hours=1), now=NOW + timedelta(hours=23))
    assert not rules.is_earlier(NOW - timedelta(hours=1), now=NOW + timedelta(hours=24))
    assert not rules.is_earlier(NOW, now=NOW)
    assert not Rules().is_earlier(NOW, now=NOW)


CEILING = Ceiling(nano_per_minute=20 * 10**9)


@given(seconds=st.integers(0, 86_400), factor=st.floats(0, 1))
def test_no_call_that_talks_all_the_time_comes_near_the_ceiling(seconds: int, factor: float) -> None:
    ms = int(seconds * 1000 * factor)
    used = {meter: ms for meter in Meter if meter.endswith("_ms")}
    assert CEILING.exceeded(used, seconds * 10**8, seconds=seconds) is None


@given(meter=st.sampled_from(sorted(Meter)), seconds=st.integers(0, 86_400))
def test_every_meter_has_a_ceiling_that_grows_with_time(meter: Meter, seconds: int) -> None:
    most = next(n for n in (10**k for k in range(20)) if CEILING.exceeded({meter: n}, 0, seconds=seconds))
    assert CEILING.exceeded({meter: most}, 0, seconds=seconds) is Reason.OVER_TIME
    assert CEILING.exceeded({meter: most}, 0, seconds=most) is None


def test_sixty_four_thousand_dollars_are_more_than_any_call_costs() -> None:
    assert CEILING.exceeded({}, 64_000 * 10**9, seconds=86_400) is Reason.OVER_PRICE
    assert CEILING.exceeded({}, 101 * 10**9, seconds=0) is Reason.OVER_PRICE
    assert CEILING.exceeded({}, 100 * 10**9, seconds=0) is None


def test_a_call_lasts_no_longer_than_it_may_and_not_less_than_nothing() -> None:
    assert seconds_since(PLACED, NOW + timedelta(seconds=5)) == 5
    assert seconds_since(PLACED, NOW + timedelta(days=9)) == PLACED.max_seconds
    assert seconds_since(PLACED, NOW - timedelta(seconds=5)) == 0
    assert seconds_since(None, NOW) == EARLIER_S
    assert SLACK_S > 0


def test_media_measures_nothing_that_is_billed() -> None:
    assert {Meter.AUDIO_GATED_MS, Meter.AUDIO_PLAYED_MS, Meter.CALL_MS} == MEDIA_METERS
