from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import JsonValue

from services.contracts.session.parse import InvalidSessionError
from services.upstream.core.event_fields import check_fields
from services.upstream.core.json_shape import Json
from tests.upstream.drive import Drive, core_of

EVENTS: dict[str, Json] = {
    "session.update": {"session": {}},
    "input_audio_buffer.append": {"audio": "AAAA"},
    "input_audio_buffer.commit": {},
    "input_audio_buffer.clear": {},
    "output_audio_buffer.clear": {},
    "conversation.item.create": {"item": {}, "previous_item_id": "item_1"},
    "conversation.item.retrieve": {"item_id": "item_1"},
    "conversation.item.truncate": {"item_id": "item_1", "content_index": 0, "audio_end_ms": 1},
    "conversation.item.delete": {"item_id": "item_1"},
    "response.create": {"response": {}},
    "response.cancel": {"response_id": "resp_1"},
}


THEIRS = {
    get_args(kind.model_fields["type"].annotation)[0]: kind for kind in get_args(get_args(RealtimeClientEvent)[0])
}
REQUIRED = [
    (kind, name) for kind, fields in EVENTS.items() for name in fields if THEIRS[kind].model_fields[name].is_required()
]


def test_the_events_have_the_fields_of_the_providers_package() -> None:
    assert {name: {*kind.model_fields} - {"type", "event_id"} for name, kind in THEIRS.items()} == {
        name: {*fields} for name, fields in EVENTS.items()
    }


@pytest.mark.parametrize("kind", EVENTS)
@given(name=st.text(min_size=1), value=st.integers() | st.none())
def test_a_field_that_the_event_does_not_have_is_refused(kind: str, name: str, value: JsonValue) -> None:
    event: Json = {"type": kind, "event_id": "mine", **EVENTS[kind]}
    check_fields(event)
    if name not in event:
        with pytest.raises(InvalidSessionError) as refused:
            check_fields({**event, name: value})
        assert (refused.value.code, refused.value.param) == ("unknown_parameter", name[:64])


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, fields in EVENTS.items() for name in fields])
@pytest.mark.parametrize("without", [{}, {"null": None}])
def test_a_field_is_needed_if_the_providers_package_requires_it(kind: str, name: str, without: Json) -> None:
    drive = Drive(core_of()).ready()
    others = {other: value for other, value in EVENTS[kind].items() if other != name}
    drive.client(kind, event_id="mine", **others, **({name: None} if without else {}))
    missing = (kind, name) in REQUIRED
    errors = [event for event in drive.shown if event == "error"]
    if missing:
        assert (drive.error["code"], drive.error["param"]) == ("missing_required_parameter", name)
        assert (drive.error["event_id"], drive.sent_types) == ("mine", [])
    elif errors:
        assert drive.error["code"] != "missing_required_parameter" or drive.error["param"] != name


OTHER_TYPES: dict[str, list[JsonValue]] = {
    "session": [1, "x", []],
    "item": [1, "x", []],
    "response": [1, "x", []],
    "audio": [1, [], {}, True],
    "item_id": [1, "", [], {}],
    "previous_item_id": [1, "", [], {}],
    "response_id": [True, -1, 1.5, "", [], {"x": 1}],
    "content_index": [True, -1, 1.5, "", [], {"x": 1}],
    "audio_end_ms": [True, -1, 1.5, "", [], {"x": 1}],
}


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, value) for kind, fields in EVENTS.items() for name in fields for value in OTHER_TYPES[name]],
)
def test_a_field_of_another_type_does_not_count_as_missing(kind: str, name: str, value: JsonValue) -> None:
    with pytest.raises(InvalidSessionError) as refused:
        check_fields({"type": kind, **EVENTS[kind], name: value})
    assert (refused.value.code, refused.value.param) == ("invalid_type", name)


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("response.create", "instructions", "It belongs into 'response'."),
        ("session.update", "voice", ""),
        ("session.update", "tools", "It belongs into 'session'."),
        ("response.cancel", "response", ""),
    ],
)
def test_the_refusal_says_where_a_setting_belongs(kind: str, name: str, hint: str) -> None:
    drive = Drive(core_of()).ready()
    drive.client(kind, event_id="mine", **EVENTS[kind], **{name: "x"})
    assert drive.error["code"] == "unknown_parameter"
    assert (drive.error["param"], drive.error["event_id"]) == (name, "mine")
    assert str(drive.error["message"]).endswith(hint)
    assert drive.sent_types == []


def test_a_cancellation_with_an_id_of_another_type_cancels_nothing() -> None:
    drive = Drive(core_of()).ready()
    drive.client("response.create")
    drive.forget().client("response.cancel", response_id=7)
    assert drive.error["code"] == "invalid_type"
    assert drive.shown == ["error"]


def test_null_counts_as_not_given_and_unknown_events_are_not_judged() -> None:
    check_fields({"type": "response.cancel", "response_id": None})
    check_fields({"type": "conversation.item.create", "item": {}, "previous_item_id": None})
    check_fields({"type": "unknown", "field": 1})
