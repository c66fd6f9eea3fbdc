from hypothesis import given

from services.contracts.session.fields import NULLABLE, SessionConfig, default_session
from services.contracts.session.merge import merge_sessions
from services.contracts.session.parse import parse_session
from tests.contracts.sessions import SESSIONS, value_at


def test_audio_is_merged_field_by_field_and_lists_as_a_whole() -> None:
    base: SessionConfig = {
        "tools": [{"type": "a"}],
        "audio": {"input": {"noise_reduction": None}, "output": {"voice": "a"}},
    }
    over: SessionConfig = {"tools": [], "audio": {"output": {"speed": 1.1}}}
    assert merge_sessions(base, over) == {
        "tools": [],
        "audio": {"input": {"noise_reduction": None}, "output": {"voice": "a", "speed": 1.1}},
    }


def test_turn_detection_of_one_kind_keeps_nothing_of_the_other() -> None:
    base: SessionConfig = {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.9}}}}
    over: SessionConfig = {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}
    assert merge_sessions(base, over) == over


def test_null_switches_off_where_that_means_something_and_elsewhere_means_not_set() -> None:
    base: SessionConfig = {
        "instructions": "a",
        "tracing": "auto",
        "audio": {"input": {"turn_detection": {"type": "x"}}},
    }
    over: SessionConfig = {"instructions": None, "tracing": None, "audio": {"input": {"turn_detection": None}}}
    assert merge_sessions(base, over) == {
        "instructions": "a",
        "tracing": None,
        "audio": {"input": {"turn_detection": None}},
    }


@given(a=SESSIONS, b=SESSIONS, c=SESSIONS)
def test_updates_can_be_joined_before_they_are_applied(a: SessionConfig, b: SessionConfig, c: SessionConfig) -> None:
    assert merge_sessions(a, merge_sessions(b, c)) == merge_sessions(merge_sessions(a, b), c)


@given(session=SESSIONS)
def test_an_empty_update_changes_nothing(session: SessionConfig) -> None:
    assert merge_sessions(session, {}) == session


@given(base=SESSIONS, update=SESSIONS)
def test_an_update_that_is_repeated_changes_nothing_more(base: SessionConfig, update: SessionConfig) -> None:
    once = merge_sessions(base, update)
    assert merge_sessions(once, update) == once


@given(base=SESSIONS, update=SESSIONS)
def test_what_is_merged_is_a_session_again_and_its_parts_are_left_alone(
    base: SessionConfig, update: SessionConfig
) -> None:
    before = repr((base, update))
    effective = merge_sessions(merge_sessions(default_session(), base), update)
    assert parse_session(effective) == effective
    assert repr((base, update)) == before


@given(base=SESSIONS, update=SESSIONS)
def test_of_the_fields_that_can_be_off_the_last_that_was_said_holds(base: SessionConfig, update: SessionConfig) -> None:
    effective = merge_sessions(merge_sessions(default_session(), base), update)
    for path in NULLABLE:
        said = [found for session in (update, base) if (found := value_at(session, path)) is not ...]
        if said:
            assert value_at(effective, path) == said[0]
