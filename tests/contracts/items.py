"""Items of each type with the fields that the provider documents."""

from services.contracts.session.fields import SessionConfig

USER: SessionConfig = {"type": "message", "role": "user"}
CALL: SessionConfig = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
TEXT: SessionConfig = {"type": "input_text", "text": "hi"}
PICTURE: SessionConfig = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
SERVER: SessionConfig = {"server_label": "docs", "name": "n", "arguments": "{}"}
ERROR: SessionConfig = {"type": "http_error", "message": "gone", "code": 410}
COMMON: SessionConfig = {"id": "item_1", "object": "realtime.item", "status": "completed"}
ACCEPTED: tuple[SessionConfig, ...] = (
    {**USER, "content": [TEXT, {"type": "input_audio", "audio": "AAAA", "transcript": None}, PICTURE], **COMMON},
    {**USER, "content": [{**PICTURE, "detail": "low"}]},
    {**USER, "role": "system", "content": [TEXT]},
    {**USER, "role": "assistant", "content": [{"type": "output_text", "text": ""}], **COMMON},
    {**USER, "role": "assistant", "content": [{"type": "output_audio", "transcript": "hi"}]},
    {**CALL, **COMMON},
    {"type": "function_call", "name": "f", "arguments": ""},
    {"type": "function_call_output", "call_id": "call_1", "output": "", **COMMON},
    {"type": "mcp_approval_response", "id": "i", "approval_request_id": "mcpr_1", "approve": False, "reason": None},
    {"type": "mcp_approval_request", "id": "i", **SERVER},
    {"type": "mcp_call", "id": "i", **SERVER, "approval_request_id": None, "output": "x", "error": ERROR},
    {"type": "mcp_list_tools", "server_label": "docs", "tools": [{"name": "n", "input_schema": {"type": "object"}}]},
)
