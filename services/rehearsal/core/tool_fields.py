"""The functions that a model may call, as clients describe them."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from services.contracts.session.tool_fields import MAX_TOOLS, ToolName, object_schema
from services.rehearsal.core.commands import Json
from services.rehearsal.core.refusal import EventRefusedError
from services.rehearsal.core.strict import Strict


def _function_type(value: object) -> object:
    """Refuse other tools than functions.

    Raises:
        ValueError: with the sentence for the client.
    """
    if value == "mcp":
        raise ValueError("the rehearsal reaches no MCP servers; it calls functions only")
    return value


class Tool(Strict):
    """A function that the model may call."""

    type: Annotated[Literal["function"], BeforeValidator(_function_type)] = "function"
    name: ToolName
    description: str = ""
    parameters: Annotated[Json, AfterValidator(object_schema)] = Field(default_factory=dict)


def _have_one_name_each(tools: list[Tool]) -> list[Tool]:
    """Refuse two functions of one name.

    Raises:
        ValueError: with the sentence for the client.
    """
    if len({tool.name for tool in tools}) < len(tools):
        raise ValueError("two functions have the same name")
    return tools


Tools = Annotated[list[Tool], Field(max_length=MAX_TOOLS), AfterValidator(_have_one_name_each)]


class NamedChoice(Strict):
    """A function that must be called."""

    type: Annotated[Literal["function"], BeforeValidator(_function_type)]
    name: ToolName


ToolChoice = Literal["auto", "none", "required"] | NamedChoice


def check_choice(choice: ToolChoice, tools: Sequence[Tool], root: str) -> None:
    """Refuse a choice that ``tools`` cannot fulfil.

    Raises:
        EventRefusedError: it names a function that is not there, or requires one and there are none.
    """
    if isinstance(choice, NamedChoice) and choice.name not in {tool.name for tool in tools}:
        sentence = f"'{root}.tool_choice' names no function of 'tools'."
    elif choice == "required" and not tools:
        sentence = f"'{root}.tool_choice' requires a function, and 'tools' has none."
    else:
        return
    raise EventRefusedError("invalid_value", sentence, f"{root}.tool_choice")
