"""An item is accepted whole or refused by the name of its first wrong field."""

import pytest
from openai.types.realtime import ConversationItem
from pydantic import JsonValue

from services.contracts.session.fields import SessionConfig
from services.contracts.session.item_fields import CONTENT, ITEMS, ListedToolFields, McpErrorFields, ReferenceItemFields
from services.contracts.session.parse import InvalidSessionError
from services.contracts.session.parse_item import check_item
from services.contracts.session.registry import ITEM_FIELDS, FieldEntry
from tests.contracts.items import ACCEPTED, CALL, ERROR, PICTURE, SERVER, TEXT, USER
from tests.contracts.sessions import paths


def refusal(item: SessionConfig, param: str = "item", *, as_input: bool = False) -> InvalidSessionError:
    with pytest.raises(InvalidSessionError) as refused:
        check_item(item, param, as_input=as_input)
    return refused.value


@pytest.mark.parametrize("item", ACCEPTED)
def test_what_the_provider_documents_is_accepted(item: SessionConfig) -> None:
    check_item(item)
    check_item(item, "response.input[0]", as_input=True)


@pytest.mark.parametrize("item", ACCEPTED)
def test_a_field_that_the_type_does_not_have_is_refused(item: SessionConfig) -> None:
    error = refusal({**item, "temperature": 1})
    assert (error.code, error.param) == ("unknown_parameter", "item.temperature")
    assert "Fields here: " in str(error)


@pytest.mark.parametrize(
    ("content", "param", "code"),
    [
        ([{**TEXT, "transcript": "x"}], "item.content[0].transcript", "unknown_parameter"),
        ([TEXT, {**PICTURE, "text": "x"}], "item.content[1].text", "unknown_parameter"),
        ([{"type": "input_text"}], "item.content[0].text", "missing_required_parameter"),
        ([{"type": "input_text", "text": None}], "item.content[0].text", "missing_required_parameter"),
        ([{"type": "input_text", "text": 7}], "item.content[0].text", "invalid_value"),
        ([{"type": "input_audio", "transcript": "x"}], "item.content[0].audio", "missing_required_parameter"),
        ([{"type": "input_audio", "audio": None}], "item.content[0].audio", "missing_required_parameter"),
        ([{"text": "x"}], "item.content[0].type", "missing_required_parameter"),
        ([{"type": "output_text", "text": "x"}], "item.content[0].type", "invalid_value"),
        ([{"type": "text", "text": "x"}], "item.content[0].type", "invalid_value"),
        ([{"type": 7}], "item.content[0].type", "invalid_value"),
        ([{**PICTURE, "detail": "most"}], "item.content[0].detail", "invalid_value"),
        (["hi"], "item.content[0]", "invalid_value"),
        ("hi", "item.content", "invalid_value"),
    ],
)
def test_content_is_checked_by_its_type_and_role(content: JsonValue, param: str, code: str) -> None:
    error = refusal({**USER, "content": content})
    assert (error.code, error.param) == (code, param)


@pytest.mark.parametrize(
    ("item", "param", "code"),
    [
        ({}, "item.type", "missing_required_parameter"),
        ({"type": "thought"}, "item.type", "invalid_value"),
        *(
            ({"type": "message", "role": "assistant", "content": [part]}, path, "missing_required_parameter")
            for path in ["item.content[0].transcript"]
            for part in ({"type": "output_audio"}, {"type": "output_audio", "transcript": None, "audio": None})
        ),
        ({"type": "item_reference", "id": "item_1"}, "item.type", "invalid_value"),
        ({**USER}, "item.content", "missing_required_parameter"),
        ({"type": "message", "content": [TEXT]}, "item.role", "missing_required_parameter"),
        ({**USER, "role": "developer", "content": [TEXT]}, "item.role", "invalid_value"),
        ({**CALL, "arguments": {}}, "item.arguments", "invalid_value"),
        ({**CALL, "output": "x"}, "item.output", "unknown_parameter"),
        ({**CALL, "status": "done"}, "item.status", "invalid_value"),
        ({"type": "mcp_call", **SERVER, "error": {**ERROR, "x": 1}}, "item.error.x", "unknown_parameter"),
        (
            {"type": "mcp_list_tools", "server_label": "d", "tools": [{"name": "n"}]},
            "item.tools[0].input_schema",
            "missing_required_parameter",
        ),
    ],
)
def test_a_wrong_item_is_refused_by_its_path(item: SessionConfig, param: str, code: str) -> None:
    error = refusal(item)
    assert (error.code, error.param) == (code, param)
    assert str(error)


@pytest.mark.parametrize("entry", [entry for entry in ITEM_FIELDS if entry.by == "refused"])
def test_a_field_that_belongs_elsewhere_is_refused_with_the_place(entry: FieldEntry) -> None:
    error = refusal({**CALL, entry.path.removeprefix("item."): "x"})
    assert entry.effect in str(error)


def test_the_input_of_a_response_may_be_a_reference() -> None:
    where = "response.input[2]"
    check_item({"type": "item_reference", "id": "item_1"}, where, as_input=True)
    error = refusal({"type": "item_reference", "id": "item_1", "role": "user"}, where, as_input=True)
    assert (error.code, error.param) == ("unknown_parameter", "response.input[2].role")


def grammar() -> set[str]:
    """Return the paths of all fields of items."""
    paths = {f"item.{name}" for model in ITEMS.values() for name in model.model_fields}
    parts = [model for kinds in CONTENT.values() for model in kinds.values()]
    paths |= {f"item.content[].{name}" for model in parts for name in model.model_fields}
    paths |= {f"item.error.{name}" for name in McpErrorFields.model_fields}
    paths |= {f"item.tools[].{name}" for name in ListedToolFields.model_fields}
    return paths - {"item.content", "item.error", "item.tools"}


def test_every_field_of_the_grammar_is_in_the_registry() -> None:
    assert {entry.path for entry in ITEM_FIELDS if entry.by != "refused"} == grammar()
    assert set(ReferenceItemFields.model_fields) == {"type", "id"}


def test_every_field_of_the_providers_package_is_in_the_grammar() -> None:
    known = {path.replace("[]", "") for path in grammar()} | {"item.content", "item.error", "item.tools"}
    found = set(paths(ConversationItem, "item"))
    assert len(found) > 20
    assert found <= known
