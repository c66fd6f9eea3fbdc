import pytest
from hypothesis import given
from openai.types.realtime import RealtimeSessionCreateRequest
from pydantic import JsonValue
from pydantic_core import from_json, to_json

from services.contracts.session.fields import BETA_FIELDS, SERVER_FIELDS, SessionConfig
from services.contracts.session.locks import LOCKABLE
from services.contracts.session.parse import InvalidSessionError, parse_session
from tests.contracts.sessions import SESSIONS

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
    assert parse_session(SDK) == SDK


def test_every_field_of_the_providers_package_is_known_or_passed_on() -> None:
    known = set(RealtimeSessionCreateRequest.model_fields) - {"type"}
    assert known == LOCKABLE


def test_what_only_a_server_sets_is_left_out() -> None:
    assert parse_session({"id": "sess_1", "object": "realtime.session", "expires_at": 1, "model": "m"}) == {
        "model": "m"
    }


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
        ({"tools": [{"name": "no_type"}]}, "session.tools.0"),
        ({"audio": {"input": {"transcription": {"model": ""}}}}, "session.audio.input.transcription.model"),
        ({"tool_choice": 1}, "session.tool_choice"),
        ({"max_output_tokens": 4097}, "session.max_output_tokens"),
        ({"truncation": {"type": "retention_ratio", "retention_ratio": 2}}, "session.truncation"),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(session: dict[str, JsonValue], param: str) -> None:
    with pytest.raises(InvalidSessionError) as refused:
        parse_session(session)
    assert refused.value.param == param


@given(session=SESSIONS)
def test_what_is_read_is_what_was_written(session: SessionConfig) -> None:
    assert parse_session(from_json(to_json(session))) == session


@given(session=SESSIONS)
def test_what_has_no_effect_is_left_out_and_nothing_else(session: SessionConfig) -> None:
    ignored: SessionConfig = dict.fromkeys(BETA_FIELDS | SERVER_FIELDS, "x")
    assert parse_session({**session, **ignored}) == session


def test_null_is_allowed_wherever_it_means_not_set() -> None:
    nothing: SessionConfig = {"type": None, **dict.fromkeys(LOCKABLE)}
    assert parse_session(nothing) == nothing
