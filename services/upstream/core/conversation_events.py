"""The provider's events about items of the conversation, the input audio buffer and MCP."""

from services.upstream.core.json_shape import Json, text, whole
from services.upstream.core.provider_events import REQUIRED
from services.upstream.core.session_parts import Parts


class ConversationEvents:
    """Passes them to the parts of the session that they concern; each is valid."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._commands = parts.commands
        self._ids = parts.ids

    def on_event(self, kind: str, event: Json) -> None:
        """Handle an event of the ``kind`` `conversation.item.*` or `input_audio_buffer.*`."""
        match kind.removeprefix("conversation.item."):
            case "added":
                self._parts.item_events.added(event)
            case "created":
                self._parts.item_events.added(event)
                self._parts.item_events.done(event)
            case "done":
                self._parts.item_events.done(event)
            case "retrieved":
                self._parts.item_events.retrieved(event)
            case "deleted":
                self._parts.item_events.deleted(event)
            case "truncated":
                self._parts.item_events.truncated(event)
            case "input_audio_buffer.committed":
                previous = self._ids.known("item", text(event, "previous_item_id"))
                self._parts.input_buffer.committed(text(event, "item_id"), previous=previous)
            case "input_audio_buffer.cleared":
                self._parts.input_buffer.cleared()
            case _:
                self._parts.item_events.transcription(event)

    def on_mcp(self, kind: str, event: Json) -> None:
        """Publish an event of the ``kind`` `response.mcp_*` or `mcp_list_tools.*`, with our ids."""
        item_id = self._ids.ours("item", text(event, "item_id"))
        for_client: Json = {"item_id": item_id}
        if kind.startswith("response."):
            for_client["output_index"] = whole(event, "output_index")
        if "response_id" in REQUIRED[kind]:
            for_client["response_id"] = self._ids.ours("response", text(event, "response_id"))
        for_client |= {name: text(event, name) for name in ("delta", "arguments") if name in REQUIRED[kind]}
        self._commands.publish_event(kind, for_client, self._parts.responses.behind(item_id))
