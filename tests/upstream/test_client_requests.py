"""Client events: sent on with the provider's ids, answered by the core, or refused with an `error` event."""

import base64

import pytest
from pydantic import JsonValue

from services.contracts.usage import Meter
from services.upstream.core.json_paths import at_path, value_at
from tests.upstream.drive import Drive, Json, core_of, object_of

MESSAGE: Json = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
SECOND = base64.b64encode(bytes(48_000)).decode()


def add_item(drive: Drive, item: Json, **more: JsonValue) -> str:
    """Create an item as a client and confirm it as the provider; return the client's id of it."""
    drive.client("conversation.item.create", item=item, **more)
    sent = object_of(drive.sent("conversation.item.create"), "item")
    drive.provider("conversation.item.added", item={**sent, "object": "realtime.item"}, previous_item_id=None)
    drive.provider("conversation.item.done", item={**sent, "object": "realtime.item"}, previous_item_id=None)
    return str(object_of(drive.one("conversation.item.done"), "item")["id"])


# --- session.update


def test_the_provider_never_detects_turns_and_the_client_believes_its_wish() -> None:
    drive = Drive().ready()
    parameter: Json = {"type": "semantic_vad", "eagerness": "low"}
    audio: Json = {"input": {"turn_detection": parameter, "format": {"type": "audio/pcm", "rate": 24000}}}
    drive.client("session.update", session={"type": "realtime", "audio": audio})
    session = object_of(drive.one("session.updated"), "session")
    assert object_of(object_of(session, "audio"), "input")["turn_detection"] == {
        **parameter,
        "create_response": True,
        "interrupt_response": True,
    }
    assert drive.sent_types == []


def test_only_what_changes_is_sent_on() -> None:
    drive = Drive().ready()
    tools: JsonValue = [{"type": "function", "name": "weather", "parameters": {}}]
    transcription: Json = {"model": "gpt-4o-mini-transcribe"}
    audio: Json = {"input": {"turn_detection": None, "transcription": transcription}}
    drive.client("session.update", event_id="mine", session={"type": "realtime", "tools": tools, "audio": audio})
    assert object_of(drive.sent("session.update"), "session") == {
        "type": "realtime",
        "tools": tools,
        "audio": {"input": {"transcription": transcription}},
    }


@pytest.mark.parametrize(
    ("session", "param"),
    [({"instructions": "Yours."}, "session.instructions"), ({"model": "cheap"}, "session.model")],
)
def test_an_update_with_a_locked_field_or_another_model_is_refused_as_a_whole(session: Json, param: str) -> None:
    drive = Drive(core_of({"instructions": "Mine."}, locked=("instructions",))).ready()
    drive.client("session.update", event_id="mine", session={**session, "tool_choice": "none"})
    assert (drive.error["code"], drive.error["event_id"]) == ("locked_by_token", "mine")
    assert (drive.error["param"], drive.shown, drive.sent_types) == (param, ["error"], [])
    repeated: Json = {"instructions": "Mine.", "model": "gpt-realtime-2.1", "tool_choice": "none"}
    drive.forget().client("session.update", session=repeated)
    drive.confirm()
    assert object_of(drive.one("session.updated"), "session")["tool_choice"] == "none"


def test_the_voice_is_fixed_once_it_was_heard() -> None:
    drive = Drive().ready()
    drive.client("session.update", session={"audio": {"output": {"voice": "marin"}}})
    drive.confirm()
    drive.answer()
    drive.forget().client("session.update", event_id="mine", session={"audio": {"output": {"voice": "cedar"}}})
    assert (drive.error["code"], drive.error["param"]) == ("cannot_update_voice", "session.audio.output.voice")
    assert drive.sent_types == []
    drive.forget().client("session.update", session={"audio": {"output": {"voice": "marin", "speed": 1.1}}})
    assert drive.sent_types == ["session.update"]


DETECTION: Json = {"type": "server_vad", "idle_timeout_ms": 5000, "threshold": 0.9}


@pytest.mark.parametrize(
    ("path", "before", "update", "after"),
    [
        ("tracing", "auto", None, None),
        ("prompt", {"id": "p"}, None, None),
        ("audio.input.transcription", {"model": "w"}, None, None),
        ("audio.input.noise_reduction", {"type": "near_field"}, None, None),
        ("audio.input.turn_detection", DETECTION, None, None),
        ("audio.input.turn_detection.threshold", DETECTION, {**DETECTION, "threshold": None}, 0.5),
        ("audio.input.turn_detection.idle_timeout_ms", DETECTION, {**DETECTION, "idle_timeout_ms": None}, None),
    ],
)
def test_null_resets_what_it_disables(path: str, before: JsonValue, update: JsonValue, after: JsonValue) -> None:
    field = ".".join(path.split(".")[:3])
    drive = Drive(core_of(at_path(field, before))).ready()
    drive.client("session.update", session=at_path(field, update))
    if drive.sent_types:  # turn detection is not the provider's
        drive.confirm()
    assert value_at(object_of(drive.one("session.updated"), "session"), path) == after


def test_null_is_refused_where_it_changes_nothing() -> None:
    drive = Drive(core_of({"instructions": "Mine."})).ready()
    drive.client("session.update", event_id="mine", session={"instructions": None})
    assert (drive.error["code"], drive.error["param"]) == ("invalid_value", "session.instructions")
    assert drive.sent_types == []


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"instructions": 7}, "session.instructions"),
        ({"output_modalities": ["audio", "text"]}, "session.output_modalities"),
        ({"audio": {"output": {"speed": 9}}}, "session.audio.output.speed"),
        ({"audio": {"input": {"turn_detection": {"type": "psychic"}}}}, "session.audio.input.turn_detection"),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}},
            "session.audio.input.turn_detection.threshold",
        ),
        ({"tools": [{"type": "function", "name": "a b"}]}, "session.tools[0].name"),
        ({"type": "transcription"}, "session.type"),
    ],
)
def test_a_wrong_value_is_refused_and_changes_nothing(session: Json, param: str) -> None:
    drive = Drive().ready()
    drive.client("session.update", event_id="mine", session=session)
    assert (drive.error["code"], drive.error["event_id"]) == ("invalid_value", "mine")
    assert str(drive.error["param"]).startswith(param)
    assert drive.shown == ["error"]


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"temperature": 0.8}, "session.temperature"),
        ({"voice": "cedar"}, "session.voice"),
        ({"hushgate": {}}, "session.hushgate"),
        ({"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_ms": 1}}}}, "silence_ms"),
    ],
)
def test_an_unknown_field_refuses_the_whole_update(session: Json, param: str) -> None:
    drive = Drive().ready()
    drive.client("session.update", event_id="mine", session={**session, "tool_choice": "none"})
    assert (drive.error["code"], drive.error["event_id"]) == ("unknown_parameter", "mine")
    assert str(drive.error["param"]).endswith(param)
    assert (drive.shown, drive.sent_types) == (["error"], [])


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("session.update", {"session": {"tool_choice": "none"}, "instructions": "Sing."}),
        ("response.create", {"instructions": "Sing."}),
    ],
)
def test_a_setting_beside_the_object_of_the_settings_is_refused(kind: str, event: Json) -> None:
    drive = Drive().ready()
    drive.client(kind, event_id="mine", **event)
    assert (drive.error["code"], drive.error["event_id"]) == ("unknown_parameter", "mine")
    assert drive.error["param"] in event
    assert (drive.sent_types, drive.shown) == ([], ["error"])


def test_an_update_without_a_session_is_refused() -> None:
    drive = Drive().ready()
    drive.client("session.update")
    assert (drive.error["code"], drive.error["param"]) == ("missing_required_parameter", "session")


# --- items


def test_a_clients_item_keeps_its_id_and_is_acknowledged_at_once() -> None:
    drive = Drive().ready()
    assert add_item(drive, {**MESSAGE, "id": "my_item-1"}) == "my_item-1"
    assert {e.item_id for e in drive.events} == {None}
    assert drive.shown == ["conversation.item.added", "conversation.item.done"]


def test_an_item_without_an_id_gets_one_of_ours() -> None:
    drive = Drive().ready()
    assert add_item(drive, MESSAGE).startswith("item_")


def test_a_provider_that_makes_ids_of_its_own_is_understood() -> None:
    drive = Drive().ready()
    drive.client("conversation.item.create", item={**MESSAGE, "id": "mine"})
    drive.provider("conversation.item.created", item={**MESSAGE, "id": "item_P7"}, previous_item_id=None)
    assert drive.shown == ["conversation.item.added", "conversation.item.done"]
    assert object_of(drive.one("conversation.item.added"), "item")["id"] == "mine"
    drive.forget().client("conversation.item.delete", item_id="mine")
    assert drive.sent("conversation.item.delete")["item_id"] == "item_P7"


def test_an_assistant_item_of_the_client_is_no_answer() -> None:
    drive = Drive().ready()
    item: Json = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "before"}]}
    add_item(drive, item)
    assert drive.shown == ["conversation.item.added", "conversation.item.done"]


def test_created_items_are_counted() -> None:
    drive = Drive().ready()
    add_item(drive, MESSAGE)
    drive.advance(6)
    assert drive.booked[-1].meters[Meter.ITEMS_CREATED] == 1


def test_a_place_in_the_conversation_is_named_by_the_providers_id() -> None:
    drive = Drive().ready()
    item = drive.answer()
    drive.forget()
    add_item(drive, MESSAGE, previous_item_id=item)
    assert drive.sent("conversation.item.create")["previous_item_id"] == "item_P1"
    drive.forget().client("conversation.item.create", item=MESSAGE, previous_item_id="root")
    assert drive.sent("conversation.item.create")["previous_item_id"] == "root"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({}, "missing_required_parameter"),
        ({"item": {**MESSAGE, "id": "a b"}}, "invalid_value"),
        ({"item": {**MESSAGE, "id": 7}}, "invalid_value"),
        ({"item": {**MESSAGE, "id": "known"}}, "item_create_duplicate_id"),
        ({"item": MESSAGE, "previous_item_id": "nobody"}, "item_create_invalid_previous_item_id"),
    ],
)
def test_an_item_that_cannot_be_is_refused(event: Json, code: str) -> None:
    drive = Drive().ready()
    add_item(drive, {**MESSAGE, "id": "known"})
    drive.forget().client("conversation.item.create", **event)
    assert drive.error["code"] == code
    assert drive.sent_types == []


def test_an_item_is_retrieved_without_its_audio() -> None:
    drive = Drive().ready()
    ours = drive.answer()
    drive.forget().client("conversation.item.retrieve", item_id=ours)
    assert drive.sent("conversation.item.retrieve")["item_id"] == "item_P1"
    content: JsonValue = [{"type": "output_audio", "audio": "AAAA", "transcript": "Hi"}]
    item: Json = {"id": "item_P1", "type": "message", "role": "assistant", "content": content}
    drive.provider("conversation.item.retrieved", item=item)
    shown = object_of(drive.one("conversation.item.retrieved"), "item")
    assert (shown["id"], shown["content"]) == (ours, [{"type": "output_audio", "transcript": "Hi"}])
    assert drive.events[-1].item_id is None


def test_an_item_is_deleted() -> None:
    drive = Drive().ready()
    ours = drive.answer()
    drive.forget().client("conversation.item.delete", item_id=ours)
    drive.provider("conversation.item.deleted", item_id="item_P1")
    assert drive.one("conversation.item.deleted")["item_id"] == ours


@pytest.mark.parametrize("verb", ["retrieve", "delete", "truncate"])
def test_an_unknown_item_is_refused(verb: str) -> None:
    drive = Drive().ready()
    cut: Json = {"content_index": 0, "audio_end_ms": 0} if verb == "truncate" else {}
    drive.client(f"conversation.item.{verb}", item_id="nobody", event_id="mine", **cut)
    assert (drive.error["code"], drive.error["event_id"]) == (f"item_{verb}_invalid_item_id", "mine")


def test_a_clients_truncation_is_confirmed_by_the_provider() -> None:
    drive = Drive().ready()
    ours = drive.answer(ms=1000)
    drive.forget().client("conversation.item.truncate", item_id=ours, content_index=0, audio_end_ms=400)
    assert drive.shown == []
    for _ in range(2):
        drive.provider("conversation.item.truncated", item_id="item_P1", content_index=0, audio_end_ms=400)
    assert drive.one("conversation.item.truncated")["audio_end_ms"] == 400


def test_a_truncation_beyond_the_sound_is_refused() -> None:
    drive = Drive().ready()
    ours = drive.answer(ms=1000)
    drive.forget().client("conversation.item.truncate", item_id=ours, content_index=0, audio_end_ms=1001)
    assert drive.error["param"] == "audio_end_ms"
    drive.forget().client("conversation.item.truncate", item_id=ours, content_index=0)
    assert drive.error["param"] == "audio_end_ms"


def test_only_sound_can_be_truncated() -> None:
    drive = Drive().ready()
    ours = add_item(drive, MESSAGE)
    drive.forget().client("conversation.item.truncate", item_id=ours, content_index=0, audio_end_ms=0)
    assert drive.error["param"] == "item_id"


# --- the input buffer


def test_audio_on_the_data_channel_is_passed_on_and_counted() -> None:
    drive = Drive().ready()
    drive.client("input_audio_buffer.append", audio=SECOND)
    drive.client("input_audio_buffer.commit", event_id="mine")
    assert drive.sent_types == ["input_audio_buffer.append", "input_audio_buffer.commit"]
    drive.advance(6)
    assert drive.booked[-1].meters[Meter.AUDIO_SENT_MS] == 1000


@pytest.mark.parametrize("audio", [None, "", "%%%", "AA==", "AAAA"])
def test_audio_that_is_none_is_refused(audio: JsonValue) -> None:
    drive = Drive().ready()
    drive.client("input_audio_buffer.append", audio=audio)
    assert drive.error["param"] == "audio"


def test_a_commit_of_too_little_is_refused_here() -> None:
    drive = Drive().ready()
    drive.client("input_audio_buffer.append", audio=base64.b64encode(bytes(4798)).decode())
    drive.forget().client("input_audio_buffer.commit", event_id="mine")
    assert (drive.error["code"], drive.error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
    assert drive.sent_types == []


def test_a_commit_in_the_middle_of_speech_ends_its_utterance() -> None:
    drive = Drive().ready()
    drive.start()
    drive.speak(10)
    drive.client("input_audio_buffer.commit")
    assert drive.shown == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ]
    assert len({e.event["item_id"] for e in drive.events}) == 1
    assert drive.named("input_audio_buffer.speech_stopped")[0].event["audio_end_ms"] == 200


def test_a_clients_clear_is_confirmed() -> None:
    drive = Drive().ready()
    drive.client("input_audio_buffer.clear")
    drive.provider("input_audio_buffer.cleared")
    drive.provider("input_audio_buffer.cleared")
    assert drive.shown == ["input_audio_buffer.cleared"]
