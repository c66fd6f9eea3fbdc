import json
import re

import pytest

from services.rehearsal.core.commands import Now
from services.rehearsal.core.session import RehearsalSession, SessionTerms
from tests.rehearsal.driver import WALL, SessionDriver, error_of, only, types


def test_a_session_opens_with_its_whole_object() -> None:
    client = SessionDriver()
    session = client.events[0]["session"]
    assert types(client.events) == ["session.created", "conversation.created"]
    assert session["id"].startswith("sess_")
    assert session["object"] == "realtime.session"
    assert session["model"] == "gpt-realtime-2.1"
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
    assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}


def test_ids_look_like_those_of_the_provider() -> None:
    assert re.fullmatch(r"sess_[A-Za-z0-9]{21}", RehearsalSession(SessionTerms("m"), Now(0, WALL)).id)


def test_every_event_has_an_id_of_its_own() -> None:
    client = SessionDriver()
    client.say("hello")
    ids = [event["event_id"] for event in client.events]
    assert len(set(ids)) == len(ids)
    assert all(name.startswith("event_") for name in ids)


def test_an_update_changes_what_it_names_and_keeps_the_rest() -> None:
    client = SessionDriver()
    client.configure(instructions="Be kind.", audio={"input": {"transcription": {"model": "whisper-1"}}})
    updated = client.configure(audio={"input": {"turn_detection": None}, "output": {"speed": 1.2}})
    session = only(updated, "session.updated")["session"]
    assert session["instructions"] == "Be kind."
    assert session["audio"]["input"]["transcription"]["model"] == "whisper-1"
    assert session["audio"]["input"]["turn_detection"] is None
    assert session["audio"]["output"]["speed"] == 1.2
    assert session["audio"]["output"]["voice"] == "marin"


def test_turn_detection_is_replaced_as_a_whole() -> None:
    client = SessionDriver()
    client.configure(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.9}}})
    updated = client.configure(audio={"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}})
    detection = only(updated, "session.updated")["session"]["audio"]["input"]["turn_detection"]
    assert (detection["threshold"], detection["silence_duration_ms"]) == (0.5, 200)


def test_session_updates_of_agent_sdks_are_accepted() -> None:
    client = SessionDriver()
    first = client.configure(
        model="gpt-realtime-2.1",
        output_modalities=["audio"],
        tool_choice="auto",
        tools=[{"type": "function", "name": "f", "description": "d", "parameters": {}}],
        audio={"input": {"turn_detection": {"type": "semantic_vad"}, "noise_reduction": None}},
        prompt=None,
    )
    second = client.configure(tracing="auto")
    assert types(first) == types(second) == ["session.updated"]
    assert second[0]["session"]["tools"][0]["name"] == "f"


def test_the_model_stays_that_of_the_connection() -> None:
    client = SessionDriver()
    error = error_of(client.configure(model="gpt-realtime-2.1-mini", instructions="Be kind."))
    assert (error["code"], error["param"]) == ("invalid_value", "session.model")
    session = only(client.configure(model="gpt-realtime-2.1"), "session.updated")["session"]
    assert (session["model"], session["instructions"]) == ("gpt-realtime-2.1", "")


def test_the_voice_is_fixed_after_the_first_audio() -> None:
    client = SessionDriver()
    assert types(client.configure(audio={"output": {"voice": "cedar"}})) == ["session.updated"]
    client.text("hello")
    client.respond()
    assert error_of(client.configure(audio={"output": {"voice": "marin"}}))["code"] == "cannot_update_voice"
    assert types(client.configure(audio={"output": {"voice": "cedar"}})) == ["session.updated"]


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({}, "missing_required_parameter", "session.type"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        ({"type": "realtime", "colour": "red"}, "unknown_parameter", "session.colour"),
        ({"type": "realtime", "audio": {"output": {"pan": 1}}}, "unknown_parameter", "session.audio.output.pan"),
        (
            {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "mood": 1}}}},
            "unknown_parameter",
            "session.audio.input.turn_detection.mood",
        ),
        ({"type": "realtime", "instructions": 7}, "invalid_type", "session.instructions"),
        ({"type": "realtime", "output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
        (
            {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}},
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            {"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcmu"}}}},
            "invalid_value",
            "session.audio.output.format.type",
        ),
        ({"type": "realtime", "max_output_tokens": 0}, "invalid_value", "session.max_output_tokens"),
        ({"type": "realtime", "tool_choice": "perhaps"}, "invalid_value", "session.tool_choice"),
    ],
)
def test_a_wrong_session_is_refused_with_the_place_of_the_mistake(
    session: dict[str, object], code: str, param: str
) -> None:
    error = error_of(SessionDriver().send("session.update", event_id="mine", session=session))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("text", ["{", "[]", "7", '"x"', "[" * 100_000, '{"x": "\\ud800"}'])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    error = error_of(SessionDriver().send_raw(text))
    assert (error["code"], error["event_id"]) == ("invalid_json", None)


def test_an_unknown_event_is_refused_with_its_id() -> None:
    error = error_of(SessionDriver().send("response.dance", event_id="evt_7"))
    assert error["type"] == "invalid_request_error"
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "type", "evt_7")
    assert "'response.create'" in error["message"]


def test_an_event_without_a_type_or_with_a_strange_one_is_refused() -> None:
    assert error_of(SessionDriver().send_raw(json.dumps({"event_id": 5})))["code"] == "missing_required_parameter"
    assert error_of(SessionDriver().send_raw(json.dumps({"type": ["x"]})))["code"] == "invalid_value"


def test_output_audio_buffer_clear_is_for_webrtc_only() -> None:
    assert error_of(SessionDriver().send("output_audio_buffer.clear"))["param"] == "type"


def test_a_session_expires_with_an_error_and_a_close() -> None:
    client = SessionDriver(max_session_s=1800)
    assert error_of(client.wait(1801))["code"] == "session_expired"
    assert "CloseSocket(code=1001" in repr(client.commands[-1])


def test_a_socket_that_closes_in_a_response_is_billed_for_what_was_generated() -> None:
    client = SessionDriver()
    client.text("tell me a story")
    client.send("response.create")
    client.wait(0.2)
    client.append(bytes(4800))
    client.close()
    ((_, status, usage),) = client.session.book.responses
    assert status == "cancelled"
    assert 0 < usage.made.audio < 200
    assert client.session.book.generated_bytes > 0


def test_a_socket_that_closes_without_a_response_is_billed_nothing() -> None:
    client = SessionDriver()
    client.close()
    assert client.session.book.responses == []
