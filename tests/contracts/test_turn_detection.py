import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from services.contracts.turn_detection import (
    DetectsTurns,
    OutOfBounds,
    TurnTerms,
    allowed,
    granted_turn_detection,
    hangover_of,
    out_of_bounds,
    strictest,
    turn_detection_in_force,
    turn_detection_of,
)

TERMS = TurnTerms(silence_duration_ms=700, min_silence_duration_ms=200, max_silence_duration_ms=3000)


def granted(turns: JsonValue, terms: TurnTerms = TERMS) -> DetectsTurns | None:
    return granted_turn_detection({"audio": {"input": {"turn_detection": turns}}}, terms)


def test_what_a_session_leaves_out_is_the_operators_default() -> None:
    assert turn_detection_in_force({}, TERMS) == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 200,
        "silence_duration_ms": 700,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }
    assert turn_detection_in_force({"type": "semantic_vad", "eagerness": None}, TERMS) == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }


def test_a_session_that_sets_nothing_leaves_the_gate_as_the_operator_configured_it() -> None:
    assert granted_turn_detection({"audio": {"input": {}}}, TERMS) is None
    assert granted_turn_detection({"audio": None}, TERMS) is None
    assert granted_turn_detection({}, TERMS) is None


def test_null_is_push_to_talk() -> None:
    assert turn_detection_in_force(None, TERMS) is None
    assert granted(None) == DetectsTurns(automatic=False)


def test_every_field_reaches_the_gate() -> None:
    turns: JsonValue = {
        "type": "server_vad",
        "threshold": 0.9,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 2000,
        "interrupt_response": False,
    }
    assert granted(turns) == DetectsTurns(
        threshold=0.9, prefix_padding_ms=300, silence_duration_ms=2000, interrupt_response=False
    )


@pytest.mark.parametrize(("asked", "in_force"), [(501, 520), (520, 520), (519, 520), (200, 200)])
def test_times_are_whole_frames_and_shown_as_they_are(asked: int, in_force: int) -> None:
    turns = turn_detection_in_force({"type": "server_vad", "silence_duration_ms": asked}, TERMS)
    assert turns is not None
    assert turns["silence_duration_ms"] == in_force
    assert turn_detection_of(turns, TERMS).silence_duration_ms == in_force


@pytest.mark.parametrize(("asked", "in_force"), [(1000, 1000), (1001, 1020), (599_999, 600_000), (None, None)])
def test_an_idle_timeout_is_whole_frames_too(asked: int | None, in_force: int | None) -> None:
    turns = turn_detection_in_force({"type": "server_vad", "idle_timeout_ms": asked}, TERMS)
    assert turns is not None
    assert turns["idle_timeout_ms"] == in_force


@pytest.mark.parametrize(
    ("turns", "names"),
    [
        ({"silence_duration_ms": 199}, ["silence_duration_ms"]),
        ({"silence_duration_ms": 200}, []),
        ({"silence_duration_ms": 3000}, []),
        ({"silence_duration_ms": 3001, "prefix_padding_ms": 2001}, ["silence_duration_ms", "prefix_padding_ms"]),
        ({"prefix_padding_ms": 0, "silence_duration_ms": None}, []),
        (None, []),
        ({"type": "semantic_vad"}, []),
    ],
)
def test_what_the_operator_does_not_allow_is_named_and_left_out(turns: JsonValue, names: list[str]) -> None:
    found = list(out_of_bounds(turns, TERMS))
    assert [field.name for field in found] == names
    kept = allowed(turns, TERMS)
    assert not list(out_of_bounds(kept, TERMS))
    assert kept == turns or set(names) == set(turns) - set(kept)  # type: ignore[arg-type]


def test_a_refusal_names_the_range() -> None:
    (refused,) = out_of_bounds({"silence_duration_ms": 50}, TERMS)
    assert refused == OutOfBounds("silence_duration_ms", "this gateway allows 200 to 3000 ms, not 50")
    assert refused.param == "session.audio.input.turn_detection.silence_duration_ms"


def terms_within(silences: tuple[int, int], padding: int) -> TurnTerms:
    least, most = sorted(silences)
    return TurnTerms(min_silence_duration_ms=least, max_silence_duration_ms=most, max_prefix_padding_ms=padding)


TERMS_OF_ONE = st.builds(
    terms_within, st.tuples(st.integers(1, 60_000), st.integers(1, 60_000)), st.integers(0, 10_000)
)


@given(
    terms=st.lists(TERMS_OF_ONE, min_size=1, max_size=4), silence=st.integers(0, 60_000), padding=st.integers(0, 10_000)
)
def test_the_strictest_terms_allow_what_each_allows(terms: list[TurnTerms], silence: int, padding: int) -> None:
    common = strictest(terms)
    assert common is not None
    requested: JsonValue = {"silence_duration_ms": silence, "prefix_padding_ms": padding}
    each = {field.name for one in terms for field in out_of_bounds(requested, one)}
    assert {field.name for field in out_of_bounds(requested, common)} == each


def test_without_terms_there_are_no_strictest() -> None:
    assert strictest([]) is None


def test_less_eagerness_waits_longer() -> None:
    waits = [hangover_of(eagerness, TurnTerms()) for eagerness in ("high", "medium", "auto", "low")]
    assert waits == [300, 500, 500, 1000]
    assert [granted({"type": "semantic_vad", "eagerness": name}) for name in ("high", "low")] == [
        DetectsTurns(silence_duration_ms=420),
        DetectsTurns(silence_duration_ms=1400),
    ]


@given(default=st.integers(200, 3000), eagerness=st.sampled_from(["high", "medium", "auto", "low"]))
def test_eagerness_stays_within_the_operators_bounds(default: int, eagerness: str) -> None:
    terms = TERMS.model_copy(update={"silence_duration_ms": default})
    assert 200 <= hangover_of(eagerness, terms) <= 3000


SERVER, AUTO = {"type": "server_vad"}, {"type": "semantic_vad"}


@pytest.mark.parametrize(
    ("turns", "eager_ms"),
    [
        (SERVER, 300),
        ({**SERVER, "silence_duration_ms": 300}, 0),  # no sooner than the end
        ({**SERVER, "silence_duration_ms": 2000}, 1000),  # a second before the end
        ({**SERVER, "create_response": False}, 0),
        (AUTO, 300),
        ({**AUTO, "eagerness": "low"}, 0),
        ({**AUTO, "eagerness": "high"}, 180),
        (None, 0),
    ],
)
def test_an_answer_is_requested_before_the_end_as_the_session_allows(turns: JsonValue, eager_ms: int) -> None:
    eager = granted(turns, TERMS.model_copy(update={"eager_ms": 300}))
    assert eager is not None
    assert eager.eager_ms == eager_ms
    without = granted(turns)
    assert without is not None
    assert without.eager_ms == 0
