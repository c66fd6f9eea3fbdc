"""A locked field never changes, however a client names or nests it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from services.contracts.session.fields import SessionConfig, default_session
from services.contracts.session.locks import LOCKABLE, LOCKS, LockedFieldError, redeem_session, refuse_locked
from services.contracts.session.merge import merge_sessions
from tests.contracts.sessions import RESPONSES, SESSIONS, value_at

LOCKED = st.sets(st.sampled_from(sorted(LOCKABLE)))


def of_locked(session: SessionConfig, locked: set[str]) -> object:
    """Return all that the locks close; a value that is not set is null."""
    closed = {path: value_at(session, path) for name in locked for path in LOCKS[name].session}
    return as_json({path: None if value is ... else value for path, value in closed.items()})


def as_json(value: JsonValue) -> object:
    """Return something that is equal only for the same JSON: to Python, True is 1."""
    match value:
        case bool():
            return ("bool", value)
        case dict():
            return {name: as_json(inner) for name, inner in value.items()}
        case list():
            return [as_json(inner) for inner in value]
        case _:
            return value


def test_a_locked_field_may_be_repeated_but_not_changed() -> None:
    sealed: SessionConfig = {"model": "m", "instructions": "a", "audio": {"output": {"voice": "v", "speed": 1}}}
    locked = frozenset({"model", "audio"})
    same: SessionConfig = {"model": "m", "audio": {"output": {"voice": "v"}}, "instructions": "b"}
    assert redeem_session(sealed, same, locked=locked) == {**sealed, "instructions": "b"}
    with pytest.raises(LockedFieldError) as refused:
        redeem_session(sealed, {"audio": {"output": {"voice": "w"}}}, locked=locked)
    assert refused.value.param == "session.audio"


def test_a_refusal_names_the_lock_and_the_model() -> None:
    with pytest.raises(LockedFieldError, match=r"^session.prompt cannot be changed: the token locks voice\.$"):
        redeem_session({}, {"prompt": {"id": "p"}}, locked=("voice",))
    with pytest.raises(LockedFieldError, match=r"^session.model cannot be changed: it is for the model 'm'\.$"):
        redeem_session({"model": "m"}, {"model": "n"}, locked=("model",))


def test_a_default_may_be_repeated() -> None:
    wanted: SessionConfig = {"instructions": "", "tools": [], "tool_choice": "auto", "output_modalities": ["audio"]}
    assert redeem_session({}, wanted, locked=("instructions", "tools", "output_modalities")) == wanted


@pytest.mark.parametrize(
    ("granted", "offered"),
    [
        ({"prompt": {"id": "p", "variables": {"admin": 0}}}, {"prompt": {"id": "p", "variables": {"admin": False}}}),
        ({"prompt": {"id": "p", "variables": {"n": [1]}}}, {"prompt": {"id": "p", "variables": {"n": [True]}}}),
        ({"prompt": {"id": "p"}}, {"prompt": {"id": "p", "version": None}}),
        ({"tools": []}, {"tools": [{"type": "mcp", "require_approval": True}]}),
    ],
)
def test_a_locked_field_is_compared_as_json(granted: SessionConfig, offered: SessionConfig) -> None:
    with pytest.raises(LockedFieldError):
        redeem_session(granted, offered, locked={"prompt", "tools"})


def test_a_locked_field_may_be_repeated_with_its_names_in_another_order_and_whole_numbers_with_a_point() -> None:
    granted: SessionConfig = {"prompt": {"id": "p", "variables": {"a": 1, "b": [True, None]}}}
    repeated: SessionConfig = {"prompt": {"variables": {"b": [True, None], "a": 1.0}, "id": "p"}}
    assert redeem_session(granted, repeated, locked={"prompt"}) == granted


@given(granted=SESSIONS, wanted=SESSIONS, locked=LOCKED)
def test_no_offer_changes_what_is_locked(granted: SessionConfig, wanted: SessionConfig, locked: set[str]) -> None:
    merged = merge_sessions(granted, wanted)
    before, after = (of_locked(merge_sessions(default_session(), one), locked) for one in (granted, merged))
    if before != after:
        with pytest.raises(LockedFieldError):
            redeem_session(granted, wanted, locked=locked)
    else:
        assert redeem_session(granted, wanted, locked=locked) == merged


@given(granted=SESSIONS, updates=st.lists(SESSIONS, max_size=4), locked=LOCKED)
def test_no_row_of_updates_changes_what_is_locked(
    granted: SessionConfig, updates: list[SessionConfig], locked: set[str]
) -> None:
    session = before = merge_sessions(default_session(), granted)
    for update in updates:
        try:
            refuse_locked({"type": "session.update", "session": update}, locked=locked, session=session)
        except LockedFieldError:
            continue
        session = merge_sessions(session, update)
    assert of_locked(session, {"model", *locked}) == of_locked(before, {"model", *locked})


@given(granted=SESSIONS, parameters=RESPONSES, locked=LOCKED)
def test_no_response_has_something_else_than_what_is_locked(
    granted: SessionConfig, parameters: SessionConfig, locked: set[str]
) -> None:
    session = merge_sessions(default_session(), granted)
    try:
        refuse_locked({"type": "response.create", "response": parameters}, locked=locked, session=session)
    except LockedFieldError:
        return
    names = locked - {"model"}
    assert of_locked(merge_sessions(session, parameters), names) == of_locked(session, names)
    if {"instructions", "prompt"} & locked:
        assert parameters.get("input") is None
        assert parameters.get("conversation") in (None, "auto")


@given(granted=SESSIONS, wanted=SESSIONS)
def test_without_locks_an_offer_changes_everything(granted: SessionConfig, wanted: SessionConfig) -> None:
    assert redeem_session(granted, wanted, locked=()) == merge_sessions(granted, wanted)


@pytest.mark.parametrize("event", [{}, {"type": 1}, {"type": "session.update"}, {"type": "response.create"}])
@pytest.mark.parametrize("value", [None, [], 7])
def test_what_is_no_object_is_left_to_the_grammar(event: SessionConfig, value: JsonValue) -> None:
    whole = {**event, "session": value, "response": value, "item": value}
    refuse_locked(whole, locked=LOCKABLE, session=default_session())
