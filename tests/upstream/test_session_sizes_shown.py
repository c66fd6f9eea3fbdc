"""A session that was accepted fits the event that shows it, whatever its letters."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from services.contracts.json_bytes import json_bytes
from services.contracts.session.merge import merge_sessions
from services.contracts.session.parse import InvalidSessionError, parse_session
from services.contracts.session.sizes import MAX_SESSION_BYTES, MAX_UPDATED_BYTES, check_size
from services.upstream.core.command_buffer import MAX_EVENT_BYTES
from tests.contracts.sessions import SESSIONS
from tests.upstream.drive import Drive, Json, core_of, object_of

LETTERS = st.characters(exclude_categories=["Cs"])


def longest(letters: str, session: Json, limit: int) -> Json:
    """Return ``session`` with instructions that repeat ``letters`` as often as ``limit`` bytes allow."""
    room = limit - len(to_json({**session, "instructions": ""}))
    return {**session, "instructions": letters * (room // (len(to_json(letters)) - 2))}


@settings(max_examples=30)
@given(letters=st.text(LETTERS, min_size=1, max_size=4), session=SESSIONS)
def test_what_is_accepted_when_minted_fits_what_is_shown_at_first(letters: str, session: Json) -> None:
    granted = check_size(parse_session(longest(letters, merge_sessions({}, session), MAX_SESSION_BYTES)))
    drive = Drive(core_of(granted))
    drive.record(drive.core.started(now=drive.now))
    drive.open()
    event = drive.one("session.created")
    assert object_of(event, "session")["instructions"] == granted["instructions"]
    assert len(json_bytes(event)) <= MAX_EVENT_BYTES


@settings(max_examples=30)
@given(letters=st.text(LETTERS, min_size=1, max_size=4))
def test_what_is_accepted_in_an_update_fits_what_is_shown_of_it(letters: str) -> None:
    drive = Drive().ready()
    drive.client("session.update", session=longest(letters, {"tool_choice": "none"}, MAX_UPDATED_BYTES))
    drive.confirm()
    event = drive.one("session.updated")
    assert object_of(event, "session")["tool_choice"] == "none"
    assert len(json_bytes(event)) <= MAX_EVENT_BYTES


@pytest.mark.parametrize("letter", ["x", "\u0436", "\U0001f600", "\x01"])
def test_one_byte_more_is_refused(letter: str) -> None:
    session = longest(letter, {}, MAX_SESSION_BYTES)
    assert check_size(session) is session
    with pytest.raises(InvalidSessionError):
        check_size({"instructions": str(session["instructions"]) + letter})
