"""Generates sessions and updates as clients may write them."""

from types import EllipsisType

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import JsonValue

from services.contracts.session.fields import BETA_FIELDS, SERVER_FIELDS, SessionConfig

TEXT = st.text(max_size=8)
NULL = st.none()
FLAG = st.booleans()
ANY: SearchStrategy[JsonValue] = st.recursive(
    st.none() | FLAG | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
OBJECT = st.dictionaries(TEXT, ANY, max_size=2)


def some(
    optional: dict[str, SearchStrategy[JsonValue]], **required: SearchStrategy[JsonValue]
) -> SearchStrategy[SessionConfig]:
    """Objects with any of the fields of ``optional``, null among their values."""
    return st.fixed_dictionaries(required, optional={name: NULL | values for name, values in optional.items()})


FORMAT = some({"rate": st.just(24000)}, type=st.just("audio/pcm")) | some({}, type=st.just("audio/pcmu"))
TURNS = {"create_response": FLAG, "interrupt_response": FLAG}
SERVER_VAD = some(
    {"threshold": st.floats(0, 1), "silence_duration_ms": st.integers(0, 60_000), **TURNS}, type=st.just("server_vad")
)
SEMANTIC_VAD = some({"eagerness": st.sampled_from(["low", "high"]), **TURNS}, type=st.just("semantic_vad"))
INPUT = some(
    {
        "format": FORMAT,
        "transcription": some({"model": st.just("whisper-1"), "language": TEXT}),
        "noise_reduction": some({"type": st.just("near_field")}),
        "turn_detection": SERVER_VAD | SEMANTIC_VAD,
        "unknown": ANY,
    }
)
OUTPUT = some({"format": FORMAT, "voice": TEXT | OBJECT, "speed": st.floats(0.25, 1.5), "unknown": ANY})
TOOL = some({"name": st.just("get_time"), "parameters": OBJECT}, type=st.sampled_from(["function", "mcp"]))
FIELDS: dict[str, SearchStrategy[JsonValue]] = {
    "type": st.just("realtime"),
    "model": st.sampled_from(["a", "b"]),
    "instructions": TEXT,
    "output_modalities": st.sampled_from([["audio"], ["text"]]),
    "audio": some({"input": INPUT, "output": OUTPUT, "unknown": ANY}),
    "tools": st.lists(TOOL, max_size=2),
    "tool_choice": st.sampled_from(["auto", "none"]) | OBJECT,
    "parallel_tool_calls": FLAG,
    "max_output_tokens": st.integers(1, 4096) | st.just("inf"),
    "truncation": st.sampled_from(["auto", "disabled"])
    | some({}, type=st.just("retention_ratio"), retention_ratio=st.floats(0, 1)),
    "include": st.lists(TEXT, max_size=2),
    "tracing": st.just("auto") | OBJECT,
    "prompt": OBJECT,
    "reasoning": OBJECT,
    "unknown": ANY,
}

SESSIONS = some(FIELDS)
"""Valid sessions in GA form."""

UPDATES = some({**FIELDS, **dict.fromkeys(BETA_FIELDS | SERVER_FIELDS, ANY)})
"""Fields that clients may send in addition: beta names, and those that only a server sets."""


def value_at(session: JsonValue, path: str) -> JsonValue | EllipsisType:
    """Return the value of ``session`` at a dotted path; `...` if there is none, not even null."""
    for name in path.split("."):
        if not isinstance(session, dict) or name not in session:
            return ...
        session = session[name]
    return session
