import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from pydantic_core import to_json

from services.contracts.session.fields import SessionConfig
from services.contracts.session.parse import InvalidSessionError
from services.contracts.session.sizes import MAX_DEPTH, MAX_SESSION_BYTES, check_size
from tests.contracts.sessions import SESSIONS


def test_a_session_that_no_data_channel_could_carry_is_refused() -> None:
    assert check_size({"instructions": "x"})
    with pytest.raises(InvalidSessionError):
        check_size({"instructions": "x" * MAX_SESSION_BYTES})


def test_a_session_that_no_message_could_hold_is_refused() -> None:
    deep: JsonValue = 1
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert check_size({"x": deep})
    with pytest.raises(InvalidSessionError, match="nested deeper"):
        check_size({"x": [deep]})
    with pytest.raises(InvalidSessionError, match="nested deeper"):
        check_size({"x": {"y": deep}})


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(InvalidSessionError, match="no Unicode"):
        check_size({"instructions": "\ud800"})


@given(session=SESSIONS, limit=st.integers(2, 2000))
def test_a_session_is_judged_by_its_bytes_as_json(session: SessionConfig, limit: int) -> None:
    if len(to_json(session)) <= limit:
        assert check_size(session, limit=limit) is session
    else:
        with pytest.raises(InvalidSessionError, match=f"larger than {limit} bytes"):
            check_size(session, limit=limit)
