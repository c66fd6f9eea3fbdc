"""The fields of tools and of the choice among them: the same in a session and in the parameters of a response."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from services.contracts.session.field_base import LIST, OBJECT, TEXT, SessionPart, form_of

ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""The provider's own bounds: a name that it refuses is refused when the token is minted."""
ServerLabel = Annotated[str, Field(min_length=1, max_length=128)]


class FunctionToolFields(SessionPart):
    """A function of the client; ``parameters`` is a JSON schema."""

    type: Literal["function"]
    name: ToolName
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None


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
    """The tools of an MCP server, which the provider calls by itself."""

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


AnyToolFields = Annotated[FunctionToolFields | McpToolFields, Field(discriminator="type")]


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
