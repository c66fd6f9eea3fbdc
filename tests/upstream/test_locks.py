"""Every way in which a client's event can have the effect of a locked field is refused."""

import re
from contextlib import suppress
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import JsonValue

from services.contracts.grant import Grant
from services.contracts.ids import SessionId, TenantId
from services.contracts.session.fields import default_session
from services.contracts.session.locks import LOCKABLE, LOCKS, LockedFieldError
from services.contracts.session.merge import merge_sessions
from services.contracts.session.parse import InvalidSessionError
from services.contracts.session.sizes import MAX_UPDATED_BYTES
from services.contracts.turn_detection import TurnTerms
from services.upstream.core.session_config_state import SessionConfigState
from tests.contracts.sessions import SESSIONS, value_at
from tests.upstream.drive import Drive, Json, core_of, object_of

TOOL: Json = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
OTHER_TOOL: Json = {"type": "function", "name": "refund"}
MCP: Json = {"type": "mcp", "server_label": "docs", "server_url": "https://docs.example"}
GRANTED: Json = {
    "instructions": "Mine.",
    "output_modalities": ["audio"],
    "audio": {"output": {"voice": "marin"}},
    "tools": [TOOL],
    "max_output_tokens": 100,
}
PROMPT: Json = {"prompt": {"id": "pmpt_1"}}
OTHER_VOICE: Json = {"audio": {"output": {"voice": "cedar"}}}
MESSAGE: Json = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
SYSTEM: Json = {**MESSAGE, "role": "system"}
DEVELOPER: Json = {**MESSAGE, "role": "developer"}
LIST_TOOLS: Json = {"type": "mcp_list_tools", "server_label": "docs", "tools": []}
MCP_CALL: Json = {"type": "mcp_call", "id": "mcp_1", "server_label": "docs", "name": "n", "arguments": "{}"}
APPROVAL: Json = {**MCP_CALL, "type": "mcp_approval_request", "id": "mcpr_1"}
NO_ITEMS: tuple[Json, ...] = (DEVELOPER, {**MESSAGE, "role": "SYSTEM"}, {"role": "system", "content": []})
"""What some providers may take for a system message, and no token without the lock can send either."""
INSTRUCTING: tuple[Json, ...] = (SYSTEM, *NO_ITEMS)
TOOL_ITEMS: tuple[Json, ...] = (LIST_TOOLS, MCP_CALL, APPROVAL)
INSTRUCTIONS: tuple[Json, ...] = ({"instructions": "Yours."}, PROMPT)
OF_RESPONSE: tuple[Json, ...] = (
    *INSTRUCTIONS,
    {"input": []},
    {"input": [MESSAGE]},
    {"input": [SYSTEM]},
    {"conversation": "none"},
)
TOOLS: tuple[Json, ...] = (
    {"tools": []},
    {"tools": [OTHER_TOOL]},
    {"tools": [TOOL, MCP]},
    {"tool_choice": "none"},
    {"tool_choice": "required"},
    {"tool_choice": {"type": "function", "name": "weather"}},
    PROMPT,
)

WAYS: dict[str, dict[str, tuple[Json, ...]]] = {
    "session.update": {
        "model": ({"model": "cheap"},),
        "instructions": INSTRUCTIONS,
        "prompt": INSTRUCTIONS,
        "tools": TOOLS,
        "tool_choice": ({"tool_choice": "none"}, PROMPT),
        "parallel_tool_calls": ({"parallel_tool_calls": False}, PROMPT),
        "output_modalities": ({"output_modalities": ["text"]}, PROMPT),
        "audio": (OTHER_VOICE, {"audio": {"input": {"turn_detection": None}}}, PROMPT),
        "voice": (OTHER_VOICE, PROMPT),
        "max_output_tokens": ({"max_output_tokens": "inf"}, PROMPT),
        "reasoning": ({"reasoning": {"effort": "low"}}, PROMPT),
        "truncation": ({"truncation": "disabled"}, PROMPT),
        "include": ({"include": ["item.input_audio_transcription.logprobs"]}, PROMPT),
        "tracing": ({"tracing": "auto"}, PROMPT),
    },
    "response.create": {
        "instructions": OF_RESPONSE,
        "prompt": OF_RESPONSE,
        "tools": (*TOOLS, {"input": [LIST_TOOLS]}, {"input": [MESSAGE, MCP_CALL]}, {"input": [APPROVAL]}),
        "tool_choice": ({"tool_choice": "none"}, PROMPT),
        "parallel_tool_calls": ({"parallel_tool_calls": False}, PROMPT),
        "output_modalities": ({"output_modalities": ["text"]}, PROMPT),
        "audio": (OTHER_VOICE, PROMPT),
        "voice": (OTHER_VOICE, PROMPT),
        "max_output_tokens": ({"max_output_tokens": "inf"}, PROMPT),
        "reasoning": ({"reasoning": {"effort": "low"}}, PROMPT),
        "truncation": (PROMPT,),
        "include": (PROMPT,),
        "tracing": (PROMPT,),
    },
    "conversation.item.create": {
        "instructions": INSTRUCTING,
        "prompt": INSTRUCTING,
        "tools": TOOL_ITEMS,
    },
}
"""By client event and lock: what has the effect of the locked field."""
FIELD_OF = {"session.update": "session", "response.create": "response", "conversation.item.create": "item"}
OPEN: dict[str, frozenset[str]] = {
    "session.update": frozenset(),
    "response.create": frozenset({"model"}),  # it has no such parameter
    "conversation.item.create": LOCKABLE - {"instructions", "prompt", "tools"},
    # Audio of the caller, what is taken from the conversation, and what stops: none has a lock.
    "input_audio_buffer.append": LOCKABLE,
    "input_audio_buffer.commit": LOCKABLE,
    "input_audio_buffer.clear": LOCKABLE,
    "output_audio_buffer.clear": LOCKABLE,
    "conversation.item.retrieve": LOCKABLE,
    "conversation.item.truncate": LOCKABLE,
    "conversation.item.delete": LOCKABLE,
    "response.cancel": LOCKABLE,
}
"""By client event: the locks whose effect it cannot have."""
CASES = [(event, lock, way) for event, locks in WAYS.items() for lock, ways in locks.items() for way in ways]


def known_events() -> set[str]:
    """Return the client events that the core handles, as it lists them to a client."""
    drive = Drive().ready()
    drive.client("unknown")
    return set(re.findall(r"'([a-z_.]+)'", str(drive.error["message"]))) - {"unknown"}


def theirs() -> set[str]:
    """Return the client events of the provider's package."""
    union = get_args(RealtimeClientEvent)[0]
    return {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(union)}


def test_every_client_event_is_considered_for_every_lock() -> None:
    assert known_events() == set(OPEN) == theirs()
    for event, open_locks in OPEN.items():
        closed = set(WAYS.get(event, {}))
        assert closed | open_locks == LOCKABLE, event
        assert not closed & open_locks, event


@pytest.mark.parametrize(("event", "lock", "way"), CASES)
def test_no_event_has_the_effect_of_a_locked_field(event: str, lock: str, way: Json) -> None:
    drive = Drive(core_of(GRANTED, locked=(lock,))).ready()
    drive.client(event, event_id="mine", **{FIELD_OF[event]: way})
    assert (drive.error["code"], drive.error["event_id"]) == ("locked_by_token", "mine")
    assert str(drive.error["param"]).startswith(FIELD_OF[event])
    assert (drive.sent_types, drive.shown) == ([], ["error"])


@pytest.mark.parametrize(
    ("event", "lock", "way"), [case for case in CASES if case[1] != "model" and case[2] not in NO_ITEMS]
)
def test_the_same_event_is_carried_out_without_the_lock(event: str, lock: str, way: Json) -> None:
    drive = Drive(core_of(GRANTED)).ready()
    drive.client(event, **{FIELD_OF[event]: way})
    assert lock in LOCKABLE
    assert "error" not in drive.shown


@pytest.mark.parametrize("lock", sorted(LOCKABLE))
def test_what_is_in_force_may_be_repeated(lock: str) -> None:
    drive = Drive(core_of(GRANTED, locked=(lock,))).ready()
    in_force: Json = {**GRANTED, "tool_choice": "auto"}
    drive.client("session.update", session={**in_force, "type": "realtime", "model": "gpt-realtime-2.1"})
    drive.client("response.create", response={**in_force, "conversation": "auto", "metadata": {"n": "1"}})
    drive.client("conversation.item.create", item=MESSAGE)
    said: Json = {"type": "output_text", "text": "Hello"}
    drive.client("conversation.item.create", item={**MESSAGE, "role": "assistant", "content": [said]})
    answer: Json = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    drive.client("conversation.item.create", item=answer)
    assert "error" not in drive.shown


def test_what_was_asked_for_may_be_repeated_without_the_defaults() -> None:
    detection: Json = {"type": "server_vad", "silence_duration_ms": 333}
    audio: Json = {"input": {"turn_detection": detection}}
    drive = Drive(core_of({**GRANTED, "audio": audio}, locked=("audio",))).ready()
    drive.client("session.update", session={"audio": audio})
    assert "error" not in drive.shown
    drive.client("session.update", session={"audio": {"input": {"turn_detection": {"type": "server_vad"}}}})
    assert drive.error["code"] == "locked_by_token"


def test_the_providers_defaults_are_not_what_was_asked_for() -> None:
    drive = Drive(core_of(GRANTED, locked=("audio",))).ready()
    audio = object_of(default_session(), "audio")
    detection = object_of(object_of(audio, "input"), "turn_detection")
    drive.client("session.update", session={"audio": {"input": {"turn_detection": detection}}})
    assert drive.error["code"] == "locked_by_token"


@pytest.mark.parametrize("lock", sorted(LOCKABLE))
def test_no_null_unsets_what_is_locked(lock: str) -> None:
    drive = Drive(core_of({**GRANTED, **PROMPT, "tracing": "auto"}, locked=(lock,))).ready()
    if lock in ("prompt", "instructions", "tools", "tracing"):
        for event in ("session.update", "response.create"):
            unset: Json = {"prompt": None}
            drive.forget().client(event, **{FIELD_OF[event]: unset})
            assert drive.error["code"] == "locked_by_token"
    for name in ("instructions", "tools", "model"):
        drive.forget().client("session.update", session={name: None})
        assert (drive.error["param"], drive.sent_types) == (f"session.{name}", [])
    drive.forget().client("session.update", session={})
    session = object_of(drive.one("session.updated"), "session")
    assert (session["instructions"], session["tools"]) == ("Mine.", [TOOL])


def test_locks_are_told_before_what_else_is_wrong_and_after_the_shape() -> None:
    drive = Drive(core_of(GRANTED, locked=("voice",))).ready()
    drive.client("session.update", session={"audio": 7})
    assert drive.error["param"] in ("session.audio", "session.audio.output.voice")
    drive.forget().client("session.update", session=7)
    assert drive.error["code"] == "invalid_type"


def state_of(session: Json, *, locked: tuple[str, ...] = ()) -> SessionConfigState:
    grant = Grant(tenant=TenantId("acme"), session=session, locked=locked)
    return SessionConfigState(
        session_id=SessionId("sess_ours"), grant=grant, model="m", expires_at=1, turn_terms=TurnTerms()
    )


def in_force(state: SessionConfigState, locked: tuple[str, ...]) -> list[JsonValue]:
    """Return all that the locks close, as client and provider have it; what is not set is null."""
    sessions = (state.effective, merge_sessions(default_session(), state.for_provider()))
    paths = sorted({path for name in locked for path in LOCKS[name].session})
    values = [value_at(session, path) for session in sessions for path in paths]
    return [None if value is ... else value for value in values]


@given(
    granted=SESSIONS,
    updates=st.lists(SESSIONS, max_size=3),
    locked=st.sets(st.sampled_from(sorted(LOCKABLE))).map(tuple),
)
def test_neither_client_nor_provider_ever_sees_a_locked_field_change(
    granted: Json, updates: list[Json], locked: tuple[str, ...]
) -> None:
    state = state_of(granted, locked=locked)
    before = in_force(state, locked)
    for update in updates:
        try:
            state.check_locks({"type": "session.update", "session": update})
        except LockedFieldError:
            continue
        with suppress(InvalidSessionError):  # it chooses a tool that there is not
            state.apply(state.changes_of(update))
    assert in_force(state, locked) == before


def test_updates_cannot_add_up_to_a_session_without_bound() -> None:
    state = state_of({})
    half = "x" * (MAX_UPDATED_BYTES // 2)
    state.apply(state.changes_of({"instructions": half}))
    prompt: Json = {"audio": {"input": {"transcription": {"prompt": half}}}}
    with pytest.raises(InvalidSessionError, match="larger than"):
        state.changes_of(prompt)
    with pytest.raises(InvalidSessionError, match="larger than"):
        state_of({}).changes_of(prompt, pending=[{"instructions": half}])
    assert state.transcribes is False
