"""The fields of conversation items that a client creates or gives to a response, by the type of the item."""

from typing import Literal

from pydantic import JsonValue

from services.contracts.session.field_base import SessionPart


class ItemFields(SessionPart):
    """What every item has. The status has no effect on the conversation."""

    id: str | None = None
    type: str
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class MessageItemFields(ItemFields):
    """A message. The role says which content it may have: `CONTENT`."""

    role: Literal["system", "user", "assistant"]
    content: list[dict[str, JsonValue]]


class FunctionCallItemFields(ItemFields):
    """A call of a function, in a conversation that is restored."""

    call_id: str | None = None
    name: str
    arguments: str


class FunctionOutputItemFields(ItemFields):
    """What a function has returned."""

    call_id: str
    output: str


class ApprovalResponseItemFields(ItemFields):
    """The answer to the question whether a tool of an MCP server may be called."""

    approval_request_id: str
    approve: bool
    reason: str | None = None


class ApprovalRequestItemFields(ItemFields):
    """The question whether a tool of an MCP server may be called."""

    server_label: str
    name: str
    arguments: str


class McpErrorFields(SessionPart):
    """Why a call of an MCP server's tool has failed."""

    type: Literal["protocol_error", "tool_execution_error", "http_error"]
    message: str
    code: int | None = None


class McpCallItemFields(ItemFields):
    """A call of an MCP server's tool."""

    server_label: str
    name: str
    arguments: str
    approval_request_id: str | None = None
    output: str | None = None
    error: McpErrorFields | None = None


class ListedToolFields(SessionPart):
    """A tool of an MCP server. Schema and annotations are the provider's to judge."""

    name: str
    input_schema: JsonValue
    annotations: JsonValue = None
    description: str | None = None


class McpListItemFields(ItemFields):
    """The tools of an MCP server."""

    server_label: str
    tools: list[ListedToolFields]


class ReferenceItemFields(SessionPart):
    """An item of the conversation, as input of a response."""

    type: Literal["item_reference"]
    id: str


class TextPartFields(SessionPart):
    """Text."""

    type: str
    text: str


class InputAudioPartFields(SessionPart):
    """Audio of the user; the transcript is not for the model, so that without audio there would be nothing."""

    type: str
    audio: str
    transcript: str | None = None


class OutputAudioPartFields(SessionPart):
    """What the model has said; items of the conversation are shown without their audio."""

    type: str
    transcript: str
    audio: str | None = None


class PicturePartFields(SessionPart):
    """A picture as a data URL."""

    type: str
    image_url: str
    detail: Literal["auto", "low", "high"] | None = None


ITEMS: dict[str, type[SessionPart]] = {
    "message": MessageItemFields,
    "function_call": FunctionCallItemFields,
    "function_call_output": FunctionOutputItemFields,
    "mcp_approval_response": ApprovalResponseItemFields,
    "mcp_approval_request": ApprovalRequestItemFields,
    "mcp_call": McpCallItemFields,
    "mcp_list_tools": McpListItemFields,
}
"""By type; the input of a response may also be an `item_reference`."""

CONTENT: dict[str, dict[str, type[SessionPart]]] = {
    "system": {"input_text": TextPartFields},
    "user": {"input_text": TextPartFields, "input_audio": InputAudioPartFields, "input_image": PicturePartFields},
    "assistant": {"output_text": TextPartFields, "output_audio": OutputAudioPartFields},
}
"""The content of a message, by its role and type."""
