"""Checks the choice among tools against the tools of the same session, which may have been set apart from it."""

from pydantic import JsonValue

from services.contracts.session.fields import SessionConfig
from services.contracts.session.parse import invalid_value


def check_tool_choice(session: SessionConfig, *, root: str = "session") -> SessionConfig:
    """Return ``session``, merged from all that sets it, if its `tool_choice` can be carried out with its `tools`.

    With a stored prompt it can: that may bring tools. ``root``: where the client set the choice or the tools.

    Raises:
        InvalidSessionError: it names a tool that there is not, or requires one and there are none.
    """
    tools = session.get("tools")
    known = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    if session.get("prompt") is None and (problem := _problem(session.get("tool_choice"), known)):
        raise invalid_value(f"{root}.tool_choice", problem)
    return session


def _problem(choice: JsonValue, tools: list[SessionConfig]) -> str:
    """Return why ``choice`` cannot be carried out with ``tools``; empty if it can."""
    match choice:
        case "required" if not tools:
            return "it requires a tool, and 'tools' has none."
        case {"type": "function", "name": str(name)} if not _has(tools, "function", "name", name):
            return f"'tools' has no function '{name}'."
        case {"type": "mcp", "server_label": str(label)} if not _has(tools, "mcp", "server_label", label):
            return f"'tools' has no MCP server '{label}'."
        case _:
            return ""


def _has(tools: list[SessionConfig], kind: str, field: str, name: str) -> bool:
    return any(tool.get("type") == kind and tool.get(field) == name for tool in tools)
