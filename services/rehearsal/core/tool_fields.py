"""The functions that a model may call, as clients describe them."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from services.contracts.session.tool_fields import ToolName
from services.rehearsal.core.commands import Json
from services.rehearsal.core.strict import Strict


def _object_schema(schema: Json) -> Json:
    """Refuse what is no schema of an object.

    Raises:
        ValueError: with the sentence for the client.
    """
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    if schema.get("type", "object") != "object" or not isinstance(properties, dict):
        raise ValueError("a function's parameters are a JSON schema of type 'object' with 'properties'")
    if not all(isinstance(value, dict | bool) for value in properties.values()):
        raise ValueError("each of 'properties' is a JSON schema")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise ValueError("'required' is a list of names")
    return schema


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
    parameters: Annotated[Json, AfterValidator(_object_schema)] = Field(default_factory=dict)


class NamedChoice(Strict):
    """A function that must be called."""

    type: Annotated[Literal["function"], BeforeValidator(_function_type)]
    name: ToolName


ToolChoice = Literal["auto", "none", "required"] | NamedChoice


def named_tool_exists(choice: ToolChoice, tools: Sequence[Tool]) -> bool:
    """Whether ``choice`` names no function, or one of ``tools``."""
    return not isinstance(choice, NamedChoice) or choice.name in {tool.name for tool in tools}
