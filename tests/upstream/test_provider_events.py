"""Validation of the provider's events, with a golden example of each."""

import json
from pathlib import Path

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import JsonValue, TypeAdapter

from services.upstream.core.provider_events import BETA_NAMES, IGNORED, REQUIRED, MalformedEventError, checked
from tests.upstream.drive import Drive, Json, strings

GOLDEN = Path(__file__).parent.parent / "contracts" / "golden" / "provider"
PUBLISHED: TypeAdapter[object] = TypeAdapter(RealtimeServerEvent)


def golden(name: str) -> Json:
    event: Json = json.loads((GOLDEN / f"{name}.json").read_text())
    return event


def test_each_event_that_we_take_has_a_golden_example() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(REQUIRED) | set(BETA_NAMES)


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_golden_example_is_what_was_published(name: str) -> None:
    event = golden(name)
    parsed = PUBLISHED.validate_python(event)
    assert type(parsed).__name__ != "dict"
    assert PUBLISHED.dump_python(parsed, mode="json", exclude_unset=True) == event


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_golden_example_passes_unchanged(name: str) -> None:
    assert checked(golden(name)) == golden(name)


@pytest.mark.parametrize("name", sorted(BETA_NAMES))
def test_a_beta_event_gets_the_name_of_today(name: str) -> None:
    assert checked(golden(name)) == {**golden(name), "type": BETA_NAMES[name]}


@pytest.mark.parametrize("name", sorted(set(REQUIRED) | set(BETA_NAMES)))
def test_the_core_takes_every_example_after_any_other(name: str) -> None:
    drive = Drive().ready()
    drive.utter()
    for before in ("response.created", "response.output_item.added", "input_audio_buffer.committed", name):
        drive.record(drive.core.on_provider_event(golden(before), now=drive.now))
    assert "malformed" not in drive.faults
    assert not [s for e in drive.events for s in strings(e.event) if "CxQp" in s]


@pytest.mark.parametrize("name", sorted(n for n in REQUIRED if REQUIRED[n]))
def test_an_event_without_a_required_field_is_malformed(name: str) -> None:
    for missing in REQUIRED[name]:
        for wrong in ({}, {missing: 7}):
            event = {k: v for k, v in golden(name).items() if k != missing} | wrong
            with pytest.raises(MalformedEventError, match=missing):
                checked(event)


@pytest.mark.parametrize(
    "event",
    [
        None,
        7,
        [],
        {},
        {"type": 7},
        {"type": "response.created", "response": {}},
        {"type": "response.created", "response": {"id": "x" * 129}},
        {"type": "conversation.item.added", "item": {"id": 7}},
        {"type": "conversation.item.deleted", "item_id": ""},
    ],
)
def test_what_is_no_event_is_counted_and_left(event: JsonValue) -> None:
    drive = Drive().ready()
    drive.record(drive.core.on_provider_event(event, now=drive.now))
    assert drive.faults == ["malformed"]
    assert drive.events == []


def test_deep_json_is_malformed() -> None:
    deep: JsonValue = []
    for _ in range(40):
        deep = [deep]
    with pytest.raises(MalformedEventError, match="deep"):
        checked({"type": "anything", "more": deep})


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_what_is_ours_to_say_is_ignored(name: str) -> None:
    drive = Drive().ready()
    assert drive.provider(name) == []


def test_an_unknown_event_is_counted() -> None:
    drive = Drive().ready()
    drive.provider("response.telepathy.delta")
    assert drive.faults == ["unexpected"]
    assert drive.events == []
