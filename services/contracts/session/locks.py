"""Which fields of its session the holder of a token may change: in the offer, and by each event of a call.

A lock closes every way to its effect: the field of the session, the parameter of a response, and what stands for them
(items, stored prompts). What is locked is refused, never left out. Repeating the value in force is allowed.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from services.contracts.session.fields import SessionConfig, default_session
from services.contracts.session.merge import merge_sessions

ALWAYS_LOCKED = ("model",)
"""Fields that no update changes: the model is chosen when the call is made."""


@dataclass(frozen=True, slots=True)
class Lock:
    """What a lock closes; paths are those of a session and of a response's parameters."""

    session: tuple[str, ...]
    response: tuple[str, ...] = ()
    instructing_items: bool = False
    """Items that instruct the model: messages of any role but user and assistant."""
    tool_items: bool = False
    """Items that say which tools an MCP server has, or what they did."""


def _field(path: str, *, of_response: bool = True) -> Lock:
    """A lock of one field of a session, and of a response if that has it. A stored prompt can set it."""
    return Lock((path, "prompt"), (path, "prompt") if of_response else ("prompt",))


_INSTRUCTIONS = ("instructions", "prompt")
_OTHER_INPUT = ("input", "conversation")
"""Parameters of a response by which the model is told something else than the conversation."""
_TOOLS = ("tools", "tool_choice", "prompt")

LOCKS: dict[str, Lock] = {
    "model": Lock(("model",)),
    "instructions": Lock(_INSTRUCTIONS, (*_INSTRUCTIONS, *_OTHER_INPUT), instructing_items=True),
    "prompt": Lock(_INSTRUCTIONS, (*_INSTRUCTIONS, *_OTHER_INPUT), instructing_items=True),
    "tools": Lock(_TOOLS, _TOOLS, tool_items=True),
    "tool_choice": _field("tool_choice"),
    "parallel_tool_calls": _field("parallel_tool_calls"),
    "output_modalities": _field("output_modalities"),
    "audio": _field("audio"),
    "voice": _field("audio.output.voice"),
    "max_output_tokens": _field("max_output_tokens"),
    "reasoning": _field("reasoning"),
    "truncation": _field("truncation", of_response=False),
    "include": _field("include", of_response=False),
    "tracing": _field("tracing", of_response=False),
}
"""What each lock closes. `voice` is `audio.output.voice`; the others are named as the field of the session."""

LOCKABLE = frozenset(LOCKS)
"""Names that a grant can lock."""

_TALKING_ROLES = ("user", "assistant")
_TOOL_ITEMS = ("mcp_list_tools", "mcp_call", "mcp_approval_request")


class LockedFieldError(ValueError):
    """A client changes what its token locks; ``param`` is the path of the field."""

    def __init__(self, param: str, lock: str, value: JsonValue = None) -> None:
        named = f": it is for the model '{value}'." if lock == "model" else f": the token locks {lock}."
        super().__init__(f"{param} cannot be changed{named}")
        self.param = param


def redeem_session(granted: SessionConfig, wanted: SessionConfig, *, locked: Collection[str]) -> SessionConfig:
    """Return the session of a call: ``granted`` merged with ``wanted``. Repeating a value in force is allowed.

    Raises:
        LockedFieldError: ``wanted`` changes a locked field.
    """
    _refuse_update(wanted, locked, merge_sessions(default_session(), granted))
    return merge_sessions(granted, wanted)


def refuse_locked(event: Mapping[str, JsonValue], *, locked: Collection[str], session: SessionConfig) -> None:
    """Check a valid event of a client against the locks of its token; ``session`` is the one in force.

    Raises:
        LockedFieldError: the event changes a locked field, or has its effect in another way.
    """
    locks = {*ALWAYS_LOCKED, *locked}
    match event:
        case {"type": "session.update", "session": dict(update)}:
            _refuse_update(update, locks, session)
        case {"type": "response.create", "response": dict(parameters)}:
            _refuse_parameters(parameters, locks, session)
        case {"type": "conversation.item.create", "item": dict(item)}:
            _refuse_item(item, locks, "item")
        case _:
            pass


def _refuse_update(update: SessionConfig, locks: Collection[str], session: SessionConfig) -> None:
    for name, lock in _locks(locks):
        _refuse_changed(lock.session, name, "session", update, session)


def _refuse_parameters(parameters: SessionConfig, locks: Collection[str], session: SessionConfig) -> None:
    in_force: SessionConfig = {**session, "input": None, "conversation": "auto"}
    for name, lock in _locks(locks):
        _refuse_changed(lock.response, name, "response", parameters, in_force)
    items = parameters.get("input")
    for index, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict):
            _refuse_item(item, locks, f"response.input[{index}]")


def _refuse_changed(
    paths: tuple[str, ...], lock: str, root: str, update: SessionConfig, in_force: SessionConfig
) -> None:
    merged = merge_sessions(in_force, update)
    for path in paths:
        if not _is_same_json(_value_at(merged, path), _value_at(in_force, path)):
            raise LockedFieldError(f"{root}.{path}", lock, _value_at(in_force, path))


def _refuse_item(item: SessionConfig, locks: Collection[str], param: str) -> None:
    kind = item.get("type")
    speaks = kind == "message" or "role" in item
    for name, lock in _locks(locks):
        if lock.instructing_items and speaks and item.get("role") not in _TALKING_ROLES:
            raise LockedFieldError(f"{param}.role", name)
        if lock.tool_items and kind in _TOOL_ITEMS:
            raise LockedFieldError(f"{param}.type", name)


def _locks(names: Collection[str]) -> Iterator[tuple[str, Lock]]:
    return ((name, LOCKS[name]) for name in sorted(names) if name in LOCKS)


def _value_at(session: JsonValue, path: str) -> JsonValue:
    """Return the value at a dotted path, None if there is none."""
    for name in path.split("."):
        session = session.get(name) if isinstance(session, dict) else None
    return session


def _is_same_json(one: JsonValue, other: JsonValue) -> bool:
    """Compare as JSON does: the order of names does not matter, 1 equals 1.0, and true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same_json(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same_json, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)
