"""Every field of a session and of a `response.create`, with who carries it out: the table of docs/clients.md."""

import re
from dataclasses import dataclass
from typing import Literal

HonouredBy = Literal["gateway", "provider", "refused"]


@dataclass(frozen=True, slots=True)
class FieldEntry:
    """One field. ``path``: from `session` or `response` on, `[]` for the entries of a list.

    ``effect``: what it does, or why it is refused; the latter is part of the refusal.
    """

    path: str
    by: HonouredBy
    effect: str


def _entries(root: str, by: HonouredBy, effects: dict[str, str]) -> tuple[FieldEntry, ...]:
    return tuple(FieldEntry(f"{root}.{name}", by, effect) for name, effect in effects.items())


_TOOLS = {
    "tools[].type": "`function` or `mcp`",
    "tools[].name": "the name of the function, up to 64 of A-Z a-z 0-9 _ -",
    "tools[].description": "when the model calls the function",
    "tools[].parameters": "JSON schema of the function's arguments",
    "tools[].server_label": "the name of the MCP server in tool calls",
    "tools[].server_url": "where the MCP server is",
    "tools[].connector_id": "the provider's own connector instead of a URL",
    "tools[].tunnel_id": "a tunnel to an MCP server instead of a URL",
    "tools[].server_description": "what the MCP server offers, for the model",
    "tools[].authorization": "the token with which the provider calls the MCP server",
    "tools[].headers": "HTTP headers with which the provider calls the MCP server",
    "tools[].allowed_tools": "the tools of the MCP server that the model may call",
    "tools[].require_approval": "the tools of the MCP server that need an `mcp_approval_response`",
    "tools[].allowed_callers": "from where the tools of the MCP server may be called",
    "tools[].defer_loading": "whether the tools of the MCP server are listed only when they are searched for",
    "tool_choice": "`auto`, `none`, `required`, or an object",
    "tool_choice.type": "`function` or `mcp`",
    "tool_choice.name": "the function or tool that is called",
    "tool_choice.server_label": "the MCP server that is called",
    "parallel_tool_calls": "whether one response may call several functions",
}
_PROMPT = {
    "prompt.id": "a prompt that is stored with the provider",
    "prompt.version": "its version",
    "prompt.variables": "what is filled into it",
}
_OUTPUT = {
    "instructions": "what the model is told",
    "output_modalities": '`["audio"]` or `["text"]`',
    "max_output_tokens": "1 to 4096, or `inf`; beyond it a response is `incomplete`",
    "reasoning.effort": "how much a reasoning model thinks before it answers",
}
_FORMAT = "`audio/pcm` only: a call's audio is Opus, and no audio is sent in events"

SESSION_FIELDS: tuple[FieldEntry, ...] = (
    *_entries(
        "session",
        "gateway",
        {
            "type": "`realtime` only",
            "model": "the model of the call; it cannot change in a call",
            "audio.input.format.type": "`audio/pcm` only: what `input_audio_buffer.append` carries; the call's is Opus",
            "audio.input.format.rate": "24000 only",
            "audio.input.turn_detection": "`null`: the client commits and asks for responses",
            "audio.input.turn_detection.type": "`server_vad` or `semantic_vad`",
            "audio.input.turn_detection.threshold": "how loud and clear speech must be, 0 to 1",
            "audio.input.turn_detection.prefix_padding_ms": "how much of the audio before speech is included",
            "audio.input.turn_detection.silence_duration_ms": "the silence that ends a turn",
            "audio.input.turn_detection.idle_timeout_ms": "after so much silence the model speaks",
            "audio.input.turn_detection.create_response": "`false`: the end of a turn is not answered",
            "audio.input.turn_detection.interrupt_response": "`false`: speech does not stop an answer",
            "audio.input.turn_detection.eagerness": "of `semantic_vad`: how soon a turn ends",
            "audio.output.format.type": _FORMAT,
            "audio.output.format.rate": "24000 only",
        },
    ),
    *_entries(
        "session",
        "provider",
        {
            **_OUTPUT,
            "audio.input.transcription": "`null`: none",
            "audio.input.transcription.model": "the model that transcribes the caller",
            "audio.input.transcription.language": "the language of the caller",
            "audio.input.transcription.languages": "the languages of the caller",
            "audio.input.transcription.prompt": "what helps the transcription",
            "audio.input.transcription.keywords": "words that it may expect",
            "audio.input.transcription.delay": "how long it waits for better words",
            "audio.input.noise_reduction": "`null`: none",
            "audio.input.noise_reduction.type": "`near_field` or `far_field`",
            "audio.input.noise_reduction.strength": "0 to 1",
            "audio.output.voice": "a name, or an object with the `id` of a custom voice; fixed after the first audio",
            "audio.output.speed": "0.25 to 1.5",
            **_TOOLS,
            "truncation": "`auto`, `disabled`, or an object",
            "truncation.type": "`retention_ratio`",
            "truncation.retention_ratio": "0 to 1: how much is kept when the conversation is truncated",
            "truncation.token_limits.post_instructions": "the tokens after the instructions from which on it is",
            "include": "`item.input_audio_transcription.logprobs`: with each transcription",
            "tracing": "`auto`, an object, or `null`: none",
            "tracing.workflow_name": "the name of the trace",
            "tracing.group_id": "what the trace belongs to",
            "tracing.metadata": "what is stored with the trace",
            "prompt": "`null`: none",
            **_PROMPT,
        },
    ),
    *_entries(
        "session",
        "refused",
        {
            "modalities": "A name of the beta API; use 'session.output_modalities'.",
            "voice": "A name of the beta API; use 'session.audio.output.voice'.",
            "speed": "A name of the beta API; use 'session.audio.output.speed'.",
            "input_audio_format": "A name of the beta API; use 'session.audio.input.format'.",
            "output_audio_format": "A name of the beta API; use 'session.audio.output.format'.",
            "input_audio_transcription": "A name of the beta API; use 'session.audio.input.transcription'.",
            "input_audio_noise_reduction": "A name of the beta API; use 'session.audio.input.noise_reduction'.",
            "turn_detection": "A name of the beta API; use 'session.audio.input.turn_detection'.",
            "max_response_output_tokens": "A name of the beta API; use 'session.max_output_tokens'.",
            "temperature": "The beta API had it; the present one has no such field.",
            "id": "Only the server sets it.",
            "object": "Only the server sets it.",
            "expires_at": "Only the server sets it.",
            "client_secret": "Only the server sets it.",
            "hushgate": "Limits, locks and events belong beside the session, not inside it.",
        },
    ),
)
"""One entry for each field of a session. A field that is in neither this list nor the models is refused too."""

RESPONSE_FIELDS: tuple[FieldEntry, ...] = (
    *_entries(
        "response",
        "gateway",
        {"audio.output.format.type": _FORMAT, "audio.output.format.rate": "24000 only"},
    ),
    *_entries(
        "response",
        "provider",
        {
            "conversation": "`none`: outside of the conversation, which does not get the answer",
            "input": "items, or references to items, that the model gets instead of the conversation",
            "metadata": "up to 16 names with a text each, echoed in the response",
            **_OUTPUT,
            "audio.output.voice": "as in the session",
            **_TOOLS,
            **_PROMPT,
        },
    ),
    *_entries(
        "response",
        "refused",
        {
            "modalities": "A name of the beta API; use 'response.output_modalities'.",
            "voice": "A name of the beta API; use 'response.audio.output.voice'.",
            "output_audio_format": "A name of the beta API; use 'response.audio.output.format'.",
            "max_response_output_tokens": "A name of the beta API; use 'response.max_output_tokens'.",
            "temperature": "The beta API had it; the present one has no such field.",
            "model": "The model of a call is fixed.",
            "audio.input": "The caller's audio is set in the session.",
            "audio.output.speed": "The speed is set in the session.",
            "id": "Only the server sets it.",
            "object": "Only the server sets it.",
            "status": "Only the server sets it.",
        },
    ),
)
"""One entry for each parameter of a response."""

ITEM_FIELDS: tuple[FieldEntry, ...] = (
    *_entries(
        "item",
        "gateway",
        {
            "id": "up to 64 of A-Z a-z 0-9 _ -, but not `root`; made here if it is left out",
            "object": "`realtime.item` only",
            "status": "as the item is shown; it has no effect on the conversation",
        },
    ),
    *_entries(
        "item",
        "provider",
        {
            "type": "`message`, `function_call`, `function_call_output`, `mcp_approval_response`, "
            "`mcp_approval_request`, `mcp_call` or `mcp_list_tools`; in `input` also `item_reference`, with its `id`",
            "role": "of a message: `system`, `user` or `assistant`",
            "content[].type": "`input_text` of system and user; `input_audio`, `input_image` of the user; "
            "`output_text`, `output_audio` of the assistant",
            "content[].text": "the text of `input_text` and `output_text`",
            "content[].audio": "of `input_audio`, which needs it, and `output_audio`; base64, 24 kHz PCM",
            "content[].transcript": "of `output_audio`, which needs it, and `input_audio`",
            "content[].image_url": "a picture as a data URL",
            "content[].detail": "how closely a picture is looked at: `auto`, `low` or `high`",
            "call_id": "of a function call and its output: which belong together; up to 256 characters",
            "name": "the function or tool that was called",
            "arguments": "of the call, as text",
            "output": "what the function or tool has returned",
            "approval_request_id": "of `mcp_approval_response` and `mcp_call`: the question",
            "approve": "whether the tool may be called",
            "reason": "why, or why not",
            "server_label": "the MCP server",
            "error.type": "`protocol_error`, `tool_execution_error` or `http_error` of an `mcp_call`",
            "error.message": "why it has failed",
            "error.code": "the number of that error",
            "tools[].name": "a tool of `mcp_list_tools`",
            "tools[].input_schema": "JSON schema of its arguments",
            "tools[].annotations": "what else the server says of it",
            "tools[].description": "when the model calls it",
        },
    ),
    *_entries(
        "item",
        "refused",
        {
            "previous_item_id": "It belongs beside 'item'.",
            "event_id": "It belongs beside 'item'.",
        },
    ),
)
"""One entry for each field of an item, of whatever type."""

ITEM_HINTS = {entry.path.removeprefix("item."): entry.effect for entry in ITEM_FIELDS if entry.by == "refused"}
"""Why a field that is often given in an item is refused, by its name."""

_ENTRIES = {entry.path: entry for entry in (*SESSION_FIELDS, *RESPONSE_FIELDS)}


def hint_of(path: str) -> str:
    """Return what helps whoever sent the unknown field ``path``: why it is refused, or the fields in its place."""
    listed = re.sub(r"\[\d+\]", "[]", path)
    if listed in _ENTRIES:
        return _ENTRIES[listed].effect
    parent = listed.rpartition(".")[0] + "."
    siblings = {
        path.removeprefix(parent).partition(".")[0].removesuffix("[]")
        for path, entry in _ENTRIES.items()
        if path.startswith(parent) and entry.by != "refused"
    }
    return f"Fields here: {', '.join(sorted(siblings))}." if siblings else ""
