"""A session is accepted whole or refused by the name of its first wrong field."""

from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeResponseCreateParams, RealtimeSessionCreateRequest
from pydantic import BaseModel, JsonValue
from pydantic_core import from_json, to_json

from services.contracts.session.fields import MERGED, NULLABLE, ResponseFields, SessionConfig, SessionFields
from services.contracts.session.locks import LOCKABLE
from services.contracts.session.parse import InvalidSessionError, parse_response, parse_session
from services.contracts.session.registry import RESPONSE_FIELDS, SESSION_FIELDS, FieldEntry
from tests.contracts.sessions import RESPONSES, SESSIONS, paths

SDK: SessionConfig = {  # what the JS agents SDK sends, as far as it differs from what the rest of this file has
    "type": "realtime",
    "model": "gpt-realtime-2.1",
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "noise_reduction": None,
            "transcription": {"model": "gpt-4o-mini-transcribe"},
            "turn_detection": {"type": "semantic_vad"},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "ash", "speed": 1},
    },
    "tool_choice": "auto",
    "tools": [{"type": "function", "name": "get_time", "parameters": {"type": "object"}}],
    "tracing": "auto",
    "max_output_tokens": "inf",
    "truncation": {"type": "retention_ratio", "retention_ratio": 0.8},
}
NAMES = st.text(alphabet="abcdefgh_", min_size=1, max_size=8).map("x{}".format)
REFUSED = [entry for entry in (*SESSION_FIELDS, *RESPONSE_FIELDS) if entry.by == "refused"]


def accepted(root: str) -> set[str]:
    """Return the paths of the registry's fields that are accepted, without the brackets of lists."""
    entries = (*SESSION_FIELDS, *RESPONSE_FIELDS)
    return {e.path.replace("[]", "") for e in entries if e.by != "refused" and e.path.startswith(f"{root}.")}


def nested(path: str, value: JsonValue) -> tuple[str, SessionConfig]:
    """Return the first name of ``path``, and an object that has ``value`` at the rest of it."""
    root, *names, last = path.split(".")
    inside: SessionConfig = {last: value}
    for name in reversed(names):
        inside = {name: inside}
    return root, inside


def deepest(value: JsonValue) -> SessionConfig:
    """Return the object within ``value`` that holds no further one."""
    values = list(value.values()) if isinstance(value, dict) else value
    inner = [one for one in values if isinstance(one, dict | list)] if isinstance(values, list) else []
    if inner:
        return deepest(inner[0])
    assert isinstance(value, dict)
    return value


def refusal(root: str, source: SessionConfig) -> InvalidSessionError:
    with pytest.raises(InvalidSessionError) as refused:
        (parse_session if root == "session" else parse_response)(source)
    return refused.value


def test_what_stock_clients_send_is_kept_whole() -> None:
    assert parse_session(SDK) == SDK


@pytest.mark.parametrize(
    ("root", "model", "package"),
    [
        ("session", SessionFields, RealtimeSessionCreateRequest),
        ("response", ResponseFields, RealtimeResponseCreateParams),
    ],
)
def test_every_field_of_the_providers_package_is_in_the_registry(
    root: str, model: type[BaseModel], package: type[BaseModel]
) -> None:
    known, listed = set(paths(model, root)), accepted(root)
    covered = {path for path in known if any(path == one or path.startswith(f"{one}.") for one in listed)}
    holders = {path for path in known - covered if any(one.startswith(f"{path}.") for one in listed)}
    assert listed <= known, "a line of the registry that the grammar does not have"
    assert known - covered - holders == set(), "a field of the grammar that the registry does not have"
    free = (f"{root}.input.", f"{root}.prompt.variables.")  # their contents are the provider's to judge
    theirs = {path for path in paths(package, root) if not path.startswith(free)}
    assert theirs - known == set()


def test_a_field_is_listed_once() -> None:
    listed = [entry.path for entry in (*SESSION_FIELDS, *RESPONSE_FIELDS)]
    assert len(listed) == len(set(listed))


def test_every_field_of_a_session_can_be_locked() -> None:
    assert set(SessionFields.model_fields) - {"type"} | {"voice"} == LOCKABLE


@pytest.mark.parametrize("entry", REFUSED, ids=lambda entry: str(entry.path))
def test_a_field_that_nobody_carries_out_is_refused_with_the_reason(entry: FieldEntry) -> None:
    error = refusal(*nested(entry.path, 1))
    assert (error.code, error.param) == ("unknown_parameter", entry.path)
    assert str(error) == f"Unknown parameter: '{entry.path}'. {entry.effect}"


@given(session=SESSIONS, name=NAMES)
def test_a_field_that_does_not_exist_refuses_the_whole_session(session: SessionConfig, name: str) -> None:
    error = refusal("session", {**session, name: 1})
    assert (error.code, error.param) == ("unknown_parameter", f"session.{name}")


@given(parameters=RESPONSES, name=NAMES)
def test_a_parameter_that_does_not_exist_refuses_the_whole_response(parameters: SessionConfig, name: str) -> None:
    error = refusal("response", {**parameters, name: 1})
    assert (error.code, error.param) == ("unknown_parameter", f"response.{name}")


@pytest.mark.parametrize(
    "holder",
    [
        {"audio": {}},
        {"audio": {"input": {}}},
        {"audio": {"input": {"format": {"type": "audio/pcm"}}}},
        {"audio": {"input": {"transcription": {}}}},
        {"audio": {"input": {"noise_reduction": {}}}},
        {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}},
        {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}},
        {"audio": {"output": {}}},
        {"audio": {"output": {"voice": {"id": "voice_1"}}}},
        {"tools": [{"type": "function", "name": "f"}]},
        {"tools": [{"type": "mcp", "server_label": "s", "tunnel_id": "t"}]},
        {"tools": [{"type": "mcp", "server_label": "s", "server_url": "u", "allowed_tools": {}}]},
        {"tools": [{"type": "mcp", "server_label": "s", "server_url": "u", "require_approval": {}}]},
        {"tools": [{"type": "mcp", "server_label": "s", "server_url": "u", "require_approval": {"never": {}}}]},
        {"tool_choice": {"type": "function", "name": "f"}},
        {"tool_choice": {"type": "mcp", "server_label": "s"}},
        {"truncation": {"type": "retention_ratio", "retention_ratio": 0.5}},
        {"truncation": {"type": "retention_ratio", "retention_ratio": 0.5, "token_limits": {}}},
        {"tracing": {}},
        {"prompt": {"id": "p"}},
        {"reasoning": {}},
    ],
)
def test_a_nested_field_that_does_not_exist_is_refused_by_its_path(holder: SessionConfig) -> None:
    parse_session(holder)
    session: SessionConfig = from_json(to_json(holder))
    deepest(session)["nonsense"] = 1
    error = refusal("session", session)
    assert error.code == "unknown_parameter"
    assert error.param.endswith(".nonsense")


def test_a_misspelt_field_is_refused_with_the_fields_that_there_are() -> None:
    wrong: SessionConfig = {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold_db": 0.5}}}}
    assert "prefix_padding_ms, silence_duration_ms, threshold, type." in str(refusal("session", wrong))


def test_an_unknown_field_is_named_before_a_wrong_value_and_a_long_name_is_cut() -> None:
    assert refusal("session", {"instructions": 7, "temperature": 1}).param == "session.temperature"
    assert len(str(refusal("session", {"x" * 10_000: 1}))) < 1000
    assert len(str(refusal("session", {"tools": [{"type": "x" * 10_000}]}))) < 1000


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"type": "transcription"}, "session.type"),
        ({"type": "other"}, "session.type"),
        ({"model": ""}, "session.model"),
        ({"model": "a b"}, "session.model"),
        ({"instructions": 1}, "session.instructions"),
        ({"output_modalities": ["audio", "text"]}, "session.output_modalities"),
        ({"output_modalities": []}, "session.output_modalities"),
        ({"audio": []}, "session.audio"),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}, "session.audio.input.format.rate"),
        ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "session.audio.input.format.type"),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}},
            "session.audio.input.turn_detection.threshold",
        ),
        *(
            (
                {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": idle}}}},
                "session.audio.input.turn_detection.idle_timeout_ms",
            )
            for idle in (-1, 0, 1, 999, 600_001)
        ),
        ({"audio": {"output": {"speed": 0.2}}}, "session.audio.output.speed"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "session.tools[0].name"),
        ({"tools": [{"type": "function", "name": "f"}] * 129}, "session.tools"),
        ({"tools": [{"name": "no_type"}]}, "session.tools[0].type"),
        ({"audio": {"input": {"turn_detection": {}}}}, "session.audio.input.turn_detection.type"),
        ({"tool_choice": {"name": "f"}}, "session.tool_choice.type"),
        ({"audio": {"input": {"transcription": {"model": ""}}}}, "session.audio.input.transcription.model"),
        ({"tool_choice": 1}, "session.tool_choice"),
        ({"max_output_tokens": 4097}, "session.max_output_tokens"),
        ({"truncation": {"type": "retention_ratio", "retention_ratio": 2}}, "session.truncation.retention_ratio"),
        ({"truncation": {"type": "retention_ratio"}}, "session.truncation.retention_ratio"),
        ({"tools": [{"type": "function", "name": "a.b"}]}, "session.tools[0].name"),
        ({"tools": [{"type": "function", "name": "a" * 65}]}, "session.tools[0].name"),
        ({"tools": [{"type": "function"}]}, "session.tools[0].name"),
        ({"tools": [{"type": "web_search"}]}, "session.tools[0]"),
        ({"tool_choice": "get_time"}, "session.tool_choice"),
        ({"tool_choice": {"type": ["function"]}}, "session.tool_choice"),
        ({"audio": {"output": {"voice": ""}}}, "session.audio.output.voice"),
        ({"include": ["everything"]}, "session.include[0]"),
        ({"tracing": "always"}, "session.tracing"),
        ({"reasoning": {"effort": "hard"}}, "session.reasoning.effort"),
        ({"prompt": {}}, "session.prompt.id"),
        ({"prompt": {"id": "p", "variables": {"n": 1}}}, "session.prompt.variables.n"),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(session: dict[str, JsonValue], param: str) -> None:
    error = refusal("session", session)
    code = "missing_required_parameter" if str(error).startswith("Missing") else "invalid_value"
    assert (error.code, error.param) == (code, param)


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"conversation": "mine"}, "response.conversation"),
        ({"input": ["text"]}, "response.input[0]"),
        ({"metadata": {"n": 1}}, "response.metadata.n"),
        ({"metadata": {"n": "x" * 513}}, "response.metadata.n"),
        ({"metadata": {str(n): "" for n in range(17)}}, "response.metadata"),
        ({"output_modalities": ["audio", "text"]}, "response.output_modalities"),
        ({"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, "response.audio.output.format.type"),
        ({"max_output_tokens": 0}, "response.max_output_tokens"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "response.tools[0].name"),
    ],
)
def test_a_wrong_parameter_of_a_response_is_refused_by_its_path(parameters: SessionConfig, param: str) -> None:
    error = refusal("response", parameters)
    assert (error.code, error.param) == ("invalid_value", param)


FUNCTION: SessionConfig = {"type": "function", "name": "f"}
SERVER: SessionConfig = {"type": "mcp", "server_label": "s"}
SCHEMA: SessionConfig = {"type": "object", "properties": {"a": True, "b": {}}, "required": ["a"]}
WRONG_SCHEMAS: tuple[SessionConfig, ...] = (
    {"type": "string"},
    {"type": None},
    {"type": ["object"]},
    {"properties": []},
    {"properties": {"a": "string"}},
    {"required": "a"},
    {"required": [1]},
)
ADDRESSES = ("server_url", "connector_id", "tunnel_id")


@pytest.mark.parametrize("parse", [parse_session, parse_response])
@pytest.mark.parametrize(
    "tools",
    [
        *([{**SERVER, **dict.fromkeys(ADDRESSES), name: "x"}] for name in ADDRESSES),
        [FUNCTION, {**FUNCTION, "name": "F"}, {**SERVER, "server_label": "f", "server_url": "x"}],
        [{**FUNCTION, "parameters": {}}],
        [{**FUNCTION, "parameters": SCHEMA}],
    ],
)
def test_tools_that_can_be_called_are_accepted(
    parse: Callable[[SessionConfig], SessionConfig], tools: JsonValue
) -> None:
    assert parse({"tools": tools}) == {"tools": tools}


@pytest.mark.parametrize("root", ["session", "response"])
@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([FUNCTION, SERVER], "tools[1]"),
        ([{**SERVER, **dict.fromkeys(ADDRESSES)}], "tools[0]"),
        ([{**SERVER, "server_url": ""}], "tools[0]"),
        *(([{**SERVER, a: "x", b: "x"}], "tools[0]") for a, b in combinations(ADDRESSES, 2)),
        ([FUNCTION, {**FUNCTION, "description": "another"}], "tools"),
        ([{**SERVER, "server_url": "x"}, FUNCTION, {**SERVER, "server_url": "y"}], "tools"),
        *(([{**FUNCTION, "parameters": schema}], "tools[0].parameters") for schema in WRONG_SCHEMAS),
    ],
)
def test_tools_that_cannot_be_called_are_refused(root: str, tools: JsonValue, param: str) -> None:
    error = refusal(root, {"tools": tools})
    assert (error.code, error.param) == ("invalid_value", f"{root}.{param}")
    assert "Value error" not in str(error)


@given(session=SESSIONS)
def test_what_is_read_is_what_was_written(session: SessionConfig) -> None:
    assert parse_session(from_json(to_json(session))) == session


@given(parameters=RESPONSES)
def test_the_parameters_that_are_read_are_those_that_were_written(parameters: SessionConfig) -> None:
    assert parse_response(from_json(to_json(parameters))) == parameters


def test_null_in_the_parameters_of_a_response_is_as_left_out() -> None:
    absent: SessionConfig = {**dict.fromkeys(ResponseFields.model_fields)}
    assert parse_response(absent) == absent


NEEDED: dict[str, SessionConfig] = {
    "tools[]": {"type": "function", "name": "f"},
    "tool_choice": {"type": "function", "name": "f"},
    "audio.input.turn_detection": {"type": "server_vad"},
    "audio.input.format": {"type": "audio/pcm"},
    "audio.output.format": {"type": "audio/pcm"},
    "audio.output.voice": {"id": "voice_1"},
    "prompt": {"id": "p"},
    "truncation": {"type": "retention_ratio", "retention_ratio": 0.5},
}
HONOURED = [entry.path.removeprefix("session.") for entry in SESSION_FIELDS if entry.by != "refused"]


def with_null(path: str) -> SessionConfig:
    """Return an update in which the field at ``path`` is null, with what else its part needs."""
    value: JsonValue = None
    while path:
        path, _, name = path.rpartition(".")
        listed: JsonValue = [value] if name.endswith("[]") else value
        value = {**NEEDED.get(path, {}), name.removesuffix("[]"): listed}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("path", sorted({*HONOURED, "audio", "audio.input", "audio.output", "tools", "reasoning"}))
def test_null_is_refused_where_it_would_be_confirmed_and_change_nothing(path: str) -> None:
    update = with_null(path)
    above = path.rpartition(".")[0]
    if path in NULLABLE:
        assert parse_session(update) == update
    elif above in {"", *MERGED}:
        error = refusal("session", update)
        assert (error.code, error.param) == ("invalid_value", f"session.{path}")
    else:  # in a part that an update replaces as a whole: as left out, or refused if it is needed
        assert null_is_as_left_out_or_refused(update, path)


def null_is_as_left_out_or_refused(update: SessionConfig, path: str) -> bool:
    try:
        return parse_session(update) == update
    except InvalidSessionError as error:
        at = f"session.{path}".replace("[]", "[0]")
        return error.param in {at, at.rpartition(".")[0]}
