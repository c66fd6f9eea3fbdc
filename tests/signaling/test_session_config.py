import pytest
from openai.types.realtime import RealtimeSessionCreateRequest
from pydantic import JsonValue

from services.contracts.grant import SessionConfig
from services.signaling.core.session_config import (
    LOCKABLE,
    MAX_SESSION_BYTES,
    InvalidSessionError,
    LockedFieldError,
    bounded,
    checked,
    merged,
    narrowed,
)

SDK: SessionConfig = {  # what the JS agents SDK sends, as far as it differs from what the rest of this file has
    "type": "realtime",
    "model": "gpt-realtime-2.1",
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "noise_reduction": None,
            "transcription": {"model": "gpt-4o-mini-transcribe"},
            "turn_detection": {"type": "semantic_vad", "model_version": "x"},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "ash", "speed": 1},
    },
    "tool_choice": "auto",
    "tools": [{"type": "function", "name": "get_time", "parameters": {"type": "object"}}],
    "tracing": "auto",
    "max_output_tokens": "inf",
    "truncation": {"type": "retention_ratio", "retention_ratio": 0.8},
    "something_new": {"deep": [1, 2]},
}


def test_what_stock_clients_send_is_kept_whole() -> None:
    assert checked(SDK) == SDK


def test_every_field_of_the_providers_package_is_known_or_passed_on() -> None:
    known = set(RealtimeSessionCreateRequest.model_fields) - {"type"}
    assert known == LOCKABLE


def test_what_only_a_server_sets_is_left_out() -> None:
    assert checked({"id": "sess_1", "object": "realtime.session", "expires_at": 1, "model": "m"}) == {"model": "m"}


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"type": "transcription"}, "session.type"),
        ({"type": "other"}, "session.type"),
        ({"hushgate": {}}, "session.hushgate"),
        ({"model": ""}, "session.model"),
        ({"model": "a b"}, "session.model"),
        ({"instructions": 1}, "session.instructions"),
        ({"output_modalities": ["audio", "text"]}, "session.output_modalities"),
        ({"output_modalities": []}, "session.output_modalities"),
        ({"audio": []}, "session.audio"),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}, "session.audio.input.format.rate"),
        ({"audio": {"input": {"format": {"type": "audio/ogg"}}}}, "session.audio.input.format"),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}},
            "session.audio.input.turn_detection.threshold",
        ),
        ({"audio": {"output": {"speed": 0.2}}}, "session.audio.output.speed"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "session.tools.0.name"),
        ({"tools": [{"type": "function"}] * 129}, "session.tools"),
        ({"tool_choice": 1}, "session.tool_choice"),
        ({"max_output_tokens": 4097}, "session.max_output_tokens"),
        ({"truncation": {"type": "retention_ratio", "retention_ratio": 2}}, "session.truncation"),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(session: dict[str, JsonValue], param: str) -> None:
    with pytest.raises(InvalidSessionError) as refused:
        checked(session)
    assert refused.value.param == param


def test_audio_is_merged_field_by_field_and_lists_as_a_whole() -> None:
    base: SessionConfig = {
        "tools": [{"type": "a"}],
        "audio": {"input": {"noise_reduction": None}, "output": {"voice": "a"}},
    }
    over: SessionConfig = {"tools": [], "audio": {"output": {"speed": 1.1}}}
    assert merged(base, over) == {
        "tools": [],
        "audio": {"input": {"noise_reduction": None}, "output": {"voice": "a", "speed": 1.1}},
    }


def test_turn_detection_of_one_kind_keeps_nothing_of_the_other() -> None:
    base: SessionConfig = {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.9}}}}
    over: SessionConfig = {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}
    assert merged(base, over) == over


def test_null_switches_off_where_that_means_something_and_elsewhere_means_not_set() -> None:
    base: SessionConfig = {
        "instructions": "a",
        "tracing": "auto",
        "audio": {"input": {"turn_detection": {"type": "x"}}},
    }
    over: SessionConfig = {"instructions": None, "tracing": None, "audio": {"input": {"turn_detection": None}}}
    assert merged(base, over) == {"instructions": "a", "tracing": None, "audio": {"input": {"turn_detection": None}}}


def test_a_locked_field_may_be_repeated_but_not_changed() -> None:
    sealed: SessionConfig = {"model": "m", "instructions": "a", "audio": {"output": {"voice": "v", "speed": 1}}}
    locked = frozenset({"model", "audio"})
    same: SessionConfig = {"model": "m", "audio": {"output": {"voice": "v"}}, "instructions": "b"}
    assert narrowed(sealed, same, locked=locked) == {**sealed, "instructions": "b"}
    with pytest.raises(LockedFieldError) as refused:
        narrowed(sealed, {"audio": {"output": {"voice": "w"}}}, locked=locked)
    assert refused.value.param == "session.audio"


def test_a_session_that_no_data_channel_could_carry_is_refused() -> None:
    assert bounded({"instructions": "x"})
    with pytest.raises(InvalidSessionError):
        bounded({"instructions": "x" * MAX_SESSION_BYTES})


def test_a_session_that_no_message_could_hold_is_refused() -> None:
    deep: JsonValue = 1
    for _ in range(195):
        deep = [deep]
    with pytest.raises(InvalidSessionError, match="nested too deeply"):
        bounded({"x": deep})
