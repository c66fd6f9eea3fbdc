"""A locked field never changes, however a client names or nests it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from services.contracts.session.fields import BETA_FIELDS, SessionConfig, default_session
from services.contracts.session.locks import ALWAYS_LOCKED, LOCKABLE, LockedFieldError, redeem_session, unlocked_fields
from services.contracts.session.merge import merge_sessions
from services.contracts.session.parse import parse_session
from tests.contracts.sessions import SESSIONS, UPDATES

LOCKS = st.sets(st.sampled_from(sorted(LOCKABLE)))


def of_locked(session: SessionConfig, locked: set[str]) -> object:
    return as_json({name: session.get(name) for name in (*ALWAYS_LOCKED, *locked)})


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


@given(granted=SESSIONS, wanted=UPDATES, locked=LOCKS)
def test_no_offer_changes_a_locked_field(granted: SessionConfig, wanted: SessionConfig, locked: set[str]) -> None:
    update = parse_session(wanted)
    merged = merge_sessions(granted, update)
    if of_locked(merged, locked) != of_locked(granted, locked):
        with pytest.raises(LockedFieldError):
            redeem_session(granted, update, locked=locked)
    else:
        assert redeem_session(granted, update, locked=locked) == merged
    assert not BETA_FIELDS & merged.keys()


@given(granted=SESSIONS, updates=st.lists(UPDATES, max_size=4), locked=LOCKS)
def test_no_row_of_updates_changes_a_locked_field(
    granted: SessionConfig, updates: list[SessionConfig], locked: set[str]
) -> None:
    session = before = merge_sessions(default_session(), granted)
    for update in updates:
        session = merge_sessions(session, unlocked_fields(parse_session(update), locked=locked))
    assert of_locked(session, locked) == of_locked(before, locked)
    assert not BETA_FIELDS & session.keys()


@given(wanted=UPDATES, locked=LOCKS)
def test_no_response_has_a_locked_field_or_a_beta_name(wanted: SessionConfig, locked: set[str]) -> None:
    assert not {*ALWAYS_LOCKED, *locked, *BETA_FIELDS} & unlocked_fields(wanted, locked=locked).keys()


@given(granted=SESSIONS, wanted=SESSIONS)
def test_without_locks_only_the_model_holds(granted: SessionConfig, wanted: SessionConfig) -> None:
    free = {name: value for name, value in wanted.items() if name != "model"}
    assert redeem_session(granted, free, locked=()) == merge_sessions(granted, free)
