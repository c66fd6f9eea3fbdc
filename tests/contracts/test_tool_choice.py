"""A choice of a tool needs that tool in the same session."""

import pytest
from pydantic import JsonValue

from services.contracts.session.fields import SessionConfig
from services.contracts.session.parse import InvalidSessionError
from services.contracts.session.tool_choice import check_tool_choice

LOOK: SessionConfig = {"type": "function", "name": "look"}
DOCS: SessionConfig = {"type": "mcp", "server_label": "docs", "server_url": "https://docs.example"}


@pytest.mark.parametrize("choice", [None, "auto", "none"])
@pytest.mark.parametrize("tools", [None, [], [LOOK]])
def test_a_choice_that_needs_no_tool_fits_any(choice: JsonValue, tools: JsonValue) -> None:
    session: SessionConfig = {"tool_choice": choice, "tools": tools}
    assert check_tool_choice(session) is session
    check_tool_choice({})


@pytest.mark.parametrize(
    ("choice", "tools", "others"),
    [
        ("required", [LOOK], []),
        ("required", [DOCS], None),
        ({"type": "function", "name": "look"}, [DOCS, LOOK], [DOCS, {**LOOK, "name": "see"}]),
        ({"type": "function", "name": "docs"}, [{**LOOK, "name": "docs"}], [DOCS]),
        ({"type": "mcp", "server_label": "docs", "name": "n"}, [LOOK, DOCS], [LOOK, {**DOCS, "server_label": "x"}]),
        ({"type": "mcp", "server_label": "look"}, [{**DOCS, "server_label": "look"}], [LOOK]),
    ],
)
def test_a_choice_needs_its_tool_or_a_prompt_that_may_bring_it(
    choice: JsonValue, tools: JsonValue, others: JsonValue
) -> None:
    check_tool_choice({"tool_choice": choice, "tools": tools})
    for wrong in (others, [], None):
        with pytest.raises(InvalidSessionError) as refused:
            check_tool_choice({"tool_choice": choice, "tools": wrong, "prompt": None}, root="response")
        assert (refused.value.code, refused.value.param) == ("invalid_value", "response.tool_choice")
        check_tool_choice({"tool_choice": choice, "tools": wrong, "prompt": {"id": "pmpt_1"}})
