"""What the provider refuses, the rehearsal refuses: with the code and the path of the field, and nothing is applied."""

from typing import Any, get_args

import pytest

from services.rehearsal.core.voices import VoiceName
from tests.rehearsal.driver import SessionDriver, error_of, only, types

VAD = ("audio", "input", "turn_detection")
BETA_NAMES = (
    "modalities",
    "voice",
    "speed",
    "temperature",
    "input_audio_format",
    "output_audio_format",
    "input_audio_transcription",
    "input_audio_noise_reduction",
    "turn_detection",
    "max_response_output_tokens",
)
SERVER_NAMES = ("id", "object", "expires_at", "client_secret")


def nested(path: tuple[str, ...], value: object) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def function(**fields: object) -> list[dict[str, Any]]:
    return [{"type": "function", "name": "f", **fields}]


def refused(client: SessionDriver, session: dict[str, Any]) -> tuple[str, str]:
    """Code and path of the refusal of ``session``, which must not change anything."""
    before = only(client.configure(), "session.updated")["session"]
    error = error_of(client.configure(**{"instructions": "Changed.", **session}))
    assert only(client.configure(), "session.updated")["session"] == before
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith(("Invalid", "Unknown", "Missing", "'", "The ", "Tracing", "Cannot"))
    return error["code"], error["param"]


@pytest.mark.parametrize("name", [*BETA_NAMES, *SERVER_NAMES, "Colour", "x" * 60])
def test_unknown_fields_are_refused_by_name(name: str) -> None:
    assert refused(SessionDriver(), {name: 1}) == ("unknown_parameter", f"session.{name}")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        (nested(("audio",), {"pan": 1}), "audio.pan"),
        (nested(("audio", "input"), {"gain": 1}), "audio.input.gain"),
        (nested(("audio", "input", "format"), {"type": "audio/pcm", "bits": 16}), "audio.input.format.bits"),
        (nested(("audio", "input", "transcription"), {"hints": "low"}), "audio.input.transcription.hints"),
        (nested(("audio", "output"), {"pitch": 1}), "audio.output.pitch"),
        (nested(VAD, {"type": "server_vad", "eagerness": "low"}), "audio.input.turn_detection.eagerness"),
        (nested(VAD, {"type": "semantic_vad", "threshold": 0.5}), "audio.input.turn_detection.threshold"),
        ({"tools": function(strict=True)}, "tools[0].strict"),
        ({"tools": [*function(), *function(color=1)]}, "tools[1].color"),
        ({"tools": function(), "tool_choice": {"type": "function", "name": "f", "x": 1}}, "tool_choice.x"),
        ({"truncation": {"type": "retention_ratio", "retention_ratio": 0.5, "x": 1}}, "truncation.x"),
        ({"tracing": {"workflow": "w"}}, "tracing.workflow"),
        ({"reasoning": {"summary": "auto"}}, "reasoning.summary"),
    ],
)
def test_unknown_fields_are_refused_at_every_depth(fields: dict[str, Any], path: str) -> None:
    assert refused(SessionDriver(), fields) == ("unknown_parameter", f"session.{path}")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"output_modalities": []}, "output_modalities"),
        ({"output_modalities": ["video"]}, "output_modalities[0]"),
        ({"max_output_tokens": 4097}, "max_output_tokens"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        (nested(("audio", "output", "voice"), "robot"), "audio.output.voice"),
        (nested(("audio", "output", "voice"), {"id": "voice_1234"}), "audio.output.voice"),
        (nested(("audio", "output", "speed"), 1.6), "audio.output.speed"),
        (nested(("audio", "output", "format"), {"type": "audio/pcma"}), "audio.output.format.type"),
        (nested(("audio", "input", "format"), {"type": "audio/pcm", "rate": 16000}), "audio.input.format.rate"),
        (nested(("audio", "input", "noise_reduction"), {"type": "near_field"}), "audio.input.noise_reduction"),
        (nested(("audio", "input", "transcription"), {"model": "ears-1"}), "audio.input.transcription.model"),
        (nested(("audio", "input", "transcription"), {"language": "de"}), "audio.input.transcription.language"),
        (nested(("audio", "input", "transcription"), {"delay": "low"}), "audio.input.transcription.delay"),
        (nested(("audio", "input", "transcription"), {"keywords": ["a"]}), "audio.input.transcription.keywords"),
        (nested(("audio", "input", "transcription"), {"languages": ["en"]}), "audio.input.transcription.languages"),
        (
            nested(("audio", "input", "transcription"), {"model": "gpt-transcribe", "languages": ["en", "de"]}),
            "audio.input.transcription.languages[1]",
        ),
        (
            nested(VAD, {"type": "server_vad", "silence_duration_ms": -1}),
            "audio.input.turn_detection.silence_duration_ms",
        ),
        (nested(VAD, {"type": "server_vad", "idle_timeout_ms": 6000}), "audio.input.turn_detection.idle_timeout_ms"),
        (nested(VAD, {"type": "semantic_vad", "eagerness": "keen"}), "audio.input.turn_detection.eagerness"),
        (nested(VAD, {"type": "client_vad"}), "audio.input.turn_detection.type"),
        ({"tools": function(name="what's up?")}, "tools[0].name"),
        ({"tools": function(parameters={"type": "string"})}, "tools[0].parameters"),
        ({"tools": function(parameters={"properties": []})}, "tools[0].parameters"),
        ({"tools": function(parameters={"properties": {"a": "string"}})}, "tools[0].parameters"),
        ({"tools": function(parameters={"required": "a"})}, "tools[0].parameters"),
        ({"tools": function(parameters={"required": [1]})}, "tools[0].parameters"),
        ({"tools": [{"type": "mcp", "server_label": "s"}]}, "tools[0].type"),
        ({"tools": [{"type": "web_search", "name": "f"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [*function(), *function()]}, "tools"),
        ({"tools": function(), "tool_choice": {"type": "mcp", "name": "f"}}, "tool_choice.type"),
        ({"truncation": "never"}, "truncation"),
        ({"truncation": {"type": "retention_ratio", "retention_ratio": 1.1}}, "truncation.retention_ratio"),
        ({"include": ["item.everything"]}, "include[0]"),
        ({"tracing": "manual"}, "tracing"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"reasoning": {"effort": "extreme"}}, "reasoning.effort"),
        ({"model": "gpt-realtime"}, "model"),
    ],
)
def test_values_that_cannot_be_are_refused(fields: dict[str, Any], path: str) -> None:
    assert refused(SessionDriver(), fields) == ("invalid_value", f"session.{path}")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"instructions": None}, "instructions"),
        ({"output_modalities": "text"}, "output_modalities"),
        ({"audio": []}, "audio"),
        (nested(("audio", "output", "voice"), 7), "audio.output.voice"),
        (nested(("audio", "output", "speed"), "1"), "audio.output.speed"),
        (nested((*VAD, "threshold"), "0.5"), "audio.input.turn_detection.type"),
        ({"tools": {}}, "tools"),
        ({"tools": function(parameters=[])}, "tools[0].parameters"),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"include": "logprobs"}, "include"),
    ],
)
def test_values_of_another_type_are_refused(fields: dict[str, Any], path: str) -> None:
    code, param = refused(SessionDriver(), fields)
    assert code in {"invalid_type", "invalid_value", "missing_required_parameter"}
    assert param == f"session.{path}"


@pytest.mark.parametrize("voice", get_args(VoiceName))
def test_every_voice_of_the_api_is_accepted_and_shown(voice: str) -> None:
    session = only(SessionDriver().configure(audio={"output": {"voice": voice}}), "session.updated")["session"]
    assert session["audio"]["output"]["voice"] == voice


@pytest.mark.parametrize("field", [{"reasoning": {"effort": "low"}}, {"parallel_tool_calls": True}])
@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        ("gpt-realtime-2", True),
        ("gpt-realtime-2.1", True),
        ("gpt-realtime-2.1-mini", True),
        ("gpt-realtime", False),
        ("gpt-realtime-2025-08-28", False),
    ],
)
def test_only_models_that_reason_have_its_settings(model: str, reasons: bool, field: dict[str, Any]) -> None:  # noqa: FBT001 - a column
    client = SessionDriver(model=model)
    (name,) = field
    if reasons:
        assert types(client.configure(**field)) == ["session.updated"]
        assert "response.created" in types(client.respond(**field))
    else:
        assert refused(client, field) == ("invalid_value", f"session.{name}")
        assert error_of(client.respond(**field))["param"] == f"response.{name}"


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"temperature": 0.8}, "unknown_parameter", "temperature"),
        ({"modalities": ["text"]}, "unknown_parameter", "modalities"),
        ({"audio": {"input": {}}}, "unknown_parameter", "audio.input"),
        ({"audio": {"output": {"speed": 1}}}, "unknown_parameter", "audio.output.speed"),
        ({"audio": {"output": {"voice": "robot"}}}, "invalid_value", "audio.output.voice"),
        ({"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, "invalid_value", "audio.output.format.type"),
        ({"conversation": "other"}, "invalid_value", "conversation"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "invalid_value", "metadata"),
        ({"metadata": {"k" * 65: "x"}}, "invalid_value", "metadata." + "k" * 64),
        ({"metadata": {"k": "x" * 513}}, "invalid_value", "metadata.k"),
        ({"metadata": {"k": 1}}, "invalid_type", "metadata.k"),
        ({"output_modalities": ["audio", "text"]}, "invalid_value", "output_modalities"),
        ({"max_output_tokens": 0}, "invalid_value", "max_output_tokens"),
        ({"tools": function(name="")}, "invalid_value", "tools[0].name"),
        ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "invalid_value", "tool_choice"),
        ({"prompt": {"id": "pmpt_1"}}, "invalid_value", "prompt"),
        ({"input": [{"type": "message", "role": "user", "content": [{"type": "x"}]}]}, "invalid_value",
         "input[0].content[0].type"),
        ({"input": [{"type": "message", "role": "system", "content": [{"type": "output_text", "text": "x"}]}]},
         "invalid_value", "input[0].content[0].type"),
        ({"input": [{"type": "item_reference", "id": "item_x"}]}, "invalid_value", "input[0].id"),
    ],
)  # fmt: skip
def test_a_wrong_response_create_is_refused_and_makes_no_response(fields: dict[str, Any], code: str, path: str) -> None:
    events = SessionDriver().respond(**fields)
    assert types(events) == ["error"]
    error = error_of(events)
    assert (error["code"], error["param"]) == (code, f"response.{path}")


def test_a_voice_that_spoke_is_fixed_for_responses_too() -> None:
    client = SessionDriver()
    other = {"output": {"voice": "ash"}}
    assert "response.done" in types(client.respond(audio=other))
    error = error_of(client.respond(audio=other))
    assert (error["code"], error["param"]) == ("cannot_update_voice", "response.audio.output.voice")
    assert "response.done" in types(client.respond(audio={"output": {"voice": "marin"}}))


def test_tracing_once_enabled_is_only_disabled() -> None:
    client = SessionDriver()
    assert types(client.configure(tracing={"workflow_name": "w"})) == ["session.updated"]
    assert types(client.configure(tracing={"workflow_name": "w"})) == ["session.updated"]
    assert refused(client, {"tracing": "auto"}) == ("invalid_value", "session.tracing")
    assert types(client.configure(tracing=None)) == ["session.updated"]
