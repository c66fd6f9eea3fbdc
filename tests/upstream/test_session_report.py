"""What a provider reports about its session, compared with what it was sent."""

import pytest
from hypothesis import given
from pydantic import JsonValue

from services.upstream.core.json_paths import at_path
from services.upstream.core.session_report import OPTIONAL_FIELDS, contradicted_field, reported_values
from tests.contracts.sessions import SESSIONS
from tests.upstream.drive import Json

LOOK: Json = {"type": "function", "name": "look", "parameters": {"type": "object"}}


@given(SESSIONS)
def test_a_report_of_what_was_sent_or_of_nothing_contradicts_nothing(session: Json) -> None:
    assert contradicted_field(session, session, locked_paths=OPTIONAL_FIELDS) == ""
    assert contradicted_field(session, {}, locked_paths=OPTIONAL_FIELDS) == ""


@given(SESSIONS, SESSIONS)
def test_only_what_is_valid_and_bounded_is_taken_over(shown: Json, report: Json) -> None:
    assert set(reported_values(shown, report)) <= {*OPTIONAL_FIELDS, "max_output_tokens"}


@pytest.mark.parametrize(
    ("path", "sent", "reported", "contradicted"),
    [
        ("instructions", "Be kind.", "Be kind.\n", False),
        ("instructions", " Be kind. ", "You speak. Be kind.", False),
        ("instructions", "Be kind.", "", True),
        ("instructions", "Be kind.", None, False),
        ("instructions", "Be kind.", 7, True),
        ("tools", [LOOK], [{**LOOK, "strict": None, "description": ""}], False),
        ("tools", [{"type": "mcp", "server_label": "a"}], [{"type": "mcp", "server_label": "a", "url": "x"}], False),
        ("tools", [LOOK], [], True),
        ("tools", [], [LOOK], True),
        ("output_modalities", ["audio"], ["text", "audio"], False),
        ("output_modalities", ["text"], ["audio"], True),
        ("max_output_tokens", 100, 50, False),
        ("max_output_tokens", 100, 100, False),
        ("max_output_tokens", 100, 200, True),
        ("max_output_tokens", 100, "inf", True),
        ("max_output_tokens", "inf", 4096, False),
        ("tool_choice", "none", "auto", True),
        ("tool_choice", {"type": "function", "name": "look"}, {"type": "function", "name": "look", "x": 1}, False),
        ("tool_choice", {"type": "function", "name": "look"}, {"type": "function", "name": "see"}, True),
        ("prompt", {"id": "pmpt_1"}, {"id": "pmpt_1", "version": "2"}, False),
        ("prompt", {"id": "pmpt_1"}, None, True),
        ("parallel_tool_calls", True, 1, True),
        ("parallel_tool_calls", False, False, False),
        ("audio.input.turn_detection", None, {"type": "server_vad"}, True),
        ("audio.input.turn_detection", None, None, False),
        ("audio.input.format", {"type": "audio/pcm", "rate": 24000}, {"type": "audio/pcmu"}, False),
        ("audio.output.speed", 1.5, 1.0, False),
    ],
)
def test_a_field_is_contradicted_by_another_value(
    path: str, sent: JsonValue, reported: JsonValue, *, contradicted: bool
) -> None:
    assert contradicted_field(at_path(path, sent), at_path(path, reported)) == (path if contradicted else "")


def test_an_optional_field_is_contradicted_only_if_it_is_locked() -> None:
    sent: Json = {"audio": {"output": {"speed": 1.5}}, "include": ["a"]}
    report: Json = {"audio": {"output": {"speed": 1}}, "include": ["a", "b"]}
    assert contradicted_field(sent, report) == ""
    assert contradicted_field(sent, report, locked_paths=("audio.output.speed",)) == "audio.output.speed"
    assert contradicted_field(sent, report, locked_paths=("include",)) == "include"
    assert contradicted_field(sent, {"audio": {"output": {"speed": 1.5000000001}}}, locked_paths=OPTIONAL_FIELDS) == ""


@pytest.mark.parametrize(
    ("path", "shown", "reported", "is_taken"),
    [
        ("audio.output.voice", None, "alloy", True),
        ("audio.output.voice", "marin", "marin", False),
        ("audio.output.voice", "marin", None, False),
        ("audio.output.voice", "marin", ["alloy"], False),
        ("audio.output.voice", "marin", "x" * 2000, False),
        ("audio.output.speed", 1.5, 1.0, True),
        ("audio.output.speed", 1.5, 99, False),
        ("audio.input.transcription", {"model": "a"}, None, True),
        ("audio.input.transcription", {"model": "a"}, {"model": "a", "language": "en"}, False),
        ("audio.input.transcription", {"language": "en"}, {"language": "en", "model": "a"}, True),
        ("audio.input.transcription", {"language": "en"}, {"model": "a", "language": "de"}, True),
        ("audio.input.transcription", {"language": "en"}, {"language": "en", "model": 7}, False),
        ("audio.input.transcription", {"language": "en"}, {"language": "en"}, False),
        ("audio.input.noise_reduction", None, {"type": "near_field"}, True),
        ("tracing", "auto", None, True),
        ("tracing", "auto", {"group_id": "sess_theirs"}, False),
        ("tracing", None, "auto", True),
        ("max_output_tokens", "inf", 4096, True),
        ("instructions", "", "The provider's own.", False),
    ],
)
def test_what_is_taken_over_from_a_report(path: str, shown: JsonValue, reported: JsonValue, *, is_taken: bool) -> None:
    found = reported_values(at_path(path, shown), at_path(path, reported))
    assert found == ({path: reported} if is_taken else {})


def test_the_model_that_transcribes_is_shown_with_what_the_client_set() -> None:
    path = "audio.input.transcription"
    prompt = "x" * 2000
    theirs: Json = {"prompt": prompt, "model": "whisper-1", "language": None, "theirs": 1}
    for ours in ({"prompt": prompt}, {"prompt": prompt, "model": None}):
        found = reported_values(at_path(path, {**ours}), at_path(path, theirs))
        assert found == {path: {"prompt": prompt, "model": "whisper-1"}}
