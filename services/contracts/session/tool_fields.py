"""The fields of tools and of the choice among them: the same in a session and in the parameters of a response."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, JsonValue, Tag, model_validator

from services.contracts.session.field_base import LIST, OBJECT, TEXT, SessionPart, form_of

ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""The provider's own bounds: a name that it refuses is refused when the token is minted."""
ServerLabel = Annotated[str, Field(min_length=1, max_length=128)]
MAX_TOOLS = 128


def object_schema(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return ``schema`` if it is one of an object, as the arguments of a function are.

    Raises:
        ValueError: it is not; with the reason.
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


class FunctionToolFields(SessionPart):
    """A function of the client; ``parameters`` is a JSON schema."""

    type: Literal["function"]
    name: ToolName
    description: str | None = None
    parameters: Annotated[dict[str, JsonValue], AfterValidator(object_schema)] | None = None


class McpToolFilterFields(SessionPart):
    """Tools of an MCP server, by name or by what they change."""

    tool_names: list[str] | None = None
    read_only: bool | None = None


class McpApprovalFields(SessionPart):
    """Which tools of an MCP server need an approval."""

    always: McpToolFilterFields | None = None
    never: McpToolFilterFields | None = None


McpAllowedTools = Annotated[
    Annotated[list[str], Tag(LIST)] | Annotated[McpToolFilterFields, Tag(OBJECT)], Discriminator(form_of)
]
McpRequireApproval = Annotated[
    Annotated[Literal["always", "never"], Tag(TEXT)] | Annotated[McpApprovalFields, Tag(OBJECT)],
    Discriminator(form_of),
]


class McpToolFields(SessionPart):
    """The tools of an MCP server, which the provider calls by itself. One field says where that is."""

    type: Literal["mcp"]
    server_label: ServerLabel
    server_url: str | None = None
    connector_id: str | None = None
    tunnel_id: str | None = None
    server_description: str | None = None
    authorization: str | None = None
    headers: dict[str, str] | None = None
    allowed_tools: McpAllowedTools | None = None
    require_approval: McpRequireApproval | None = None
    allowed_callers: list[Literal["direct", "programmatic"]] | None = None
    defer_loading: bool | None = None

    @model_validator(mode="after")
    def _has_one_address(self) -> "McpToolFields":
        addresses = (self.server_url, self.connector_id, self.tunnel_id)
        if sum(bool(address) for address in addresses) != 1:
            raise ValueError("an MCP server has one of 'server_url', 'connector_id' and 'tunnel_id'")
        return self


AnyToolFields = Annotated[FunctionToolFields | McpToolFields, Field(discriminator="type")]


def _have_different_names(tools: list[AnyToolFields]) -> list[AnyToolFields]:
    seen: set[tuple[str, str]] = set()
    for tool in tools:
        name = tool.name if isinstance(tool, FunctionToolFields) else tool.server_label
        if (tool.type, name) in seen:
            raise ValueError(f"two tools have the name '{name}'")
        seen.add((tool.type, name))
    return tools


ToolList = Annotated[list[AnyToolFields], Field(max_length=MAX_TOOLS), AfterValidator(_have_different_names)]


class FunctionChoiceFields(SessionPart):
    """The function that must be called."""

    type: Literal["function"]
    name: ToolName


class McpChoiceFields(SessionPart):
    """The MCP server, or its tool, that must be called."""

    type: Literal["mcp"]
    server_label: ServerLabel
    name: str | None = None


ToolChoiceObject = Annotated[FunctionChoiceFields | McpChoiceFields, Field(discriminator="type")]
ToolChoiceFields = Annotated[
    Annotated[Literal["auto", "none", "required"], Tag(TEXT)] | Annotated[ToolChoiceObject, Tag(OBJECT)],
    Discriminator(form_of),
]
