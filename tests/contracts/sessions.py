"""Generates sessions, updates and parameters of responses as clients may write them."""

from collections.abc import Iterator
from types import EllipsisType
from typing import get_args

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import BaseModel, JsonValue

from services.contracts.session.fields import NULLABLE, SessionConfig

TEXT = st.text(max_size=8)
NULL = st.none()
WORDS: SearchStrategy[JsonValue] = st.lists(TEXT, max_size=2).map(lambda words: [*words])
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


def merged(above: str, optional: dict[str, SearchStrategy[JsonValue]]) -> SearchStrategy[SessionConfig]:
    """Objects that an update changes field by field, so that null is among the values only where it disables."""
    nulls = {name: NULL if f"{above}{name}" in NULLABLE else st.nothing() for name in optional}
    return st.fixed_dictionaries({}, optional={name: nulls[name] | values for name, values in optional.items()})


FORMAT = some({"rate": st.just(24000)}, type=st.just("audio/pcm"))
TURNS = {"create_response": FLAG, "interrupt_response": FLAG}
SERVER_VAD = some(
    {"threshold": st.floats(0, 1), "silence_duration_ms": st.integers(0, 60_000), **TURNS}, type=st.just("server_vad")
)
SEMANTIC_VAD = some({"eagerness": st.sampled_from(["low", "high"]), **TURNS}, type=st.just("semantic_vad"))
INPUT = merged(
    "audio.input.",
    {
        "format": FORMAT,
        "transcription": some({"model": st.just("whisper-1"), "language": TEXT, "keywords": WORDS}),
        "noise_reduction": some({"type": st.just("near_field")}),
        "turn_detection": SERVER_VAD | SEMANTIC_VAD,
    },
)
VOICE = st.text(min_size=1, max_size=8) | some({}, id=st.just("voice_1"))
OUTPUT = merged("audio.output.", {"format": FORMAT, "voice": VOICE, "speed": st.floats(0.25, 1.5)})
FUNCTION = some({"description": TEXT, "parameters": OBJECT}, type=st.just("function"), name=st.just("get_time"))
MCP = some(
    {
        "allowed_tools": WORDS | some({"read_only": FLAG}),
        "require_approval": st.just("never") | some({"always": some({"tool_names": WORDS})}),
    },
    type=st.just("mcp"),
    server_label=st.just("docs"),
    server_url=st.just("https://docs.example"),
)
TOOLS: SearchStrategy[JsonValue] = st.lists(FUNCTION | MCP, max_size=2, unique_by=lambda tool: str(tool["type"])).map(
    lambda tools: [*tools]
)
CHOICE = st.sampled_from(["auto", "none", "required"]) | some({}, type=st.just("function"), name=st.just("get_time"))
VARIABLES: SearchStrategy[JsonValue] = st.dictionaries(TEXT, TEXT, max_size=2).map(lambda texts: {**texts})
PROMPT = some({"version": TEXT, "variables": VARIABLES}, id=st.just("pmpt_1"))
OF_BOTH: dict[str, SearchStrategy[JsonValue]] = {
    "instructions": TEXT,
    "output_modalities": st.sampled_from([["audio"], ["text"]]),
    "tools": TOOLS,
    "tool_choice": CHOICE,
    "parallel_tool_calls": FLAG,
    "max_output_tokens": st.integers(1, 4096) | st.just("inf"),
    "prompt": PROMPT,
    "reasoning": some({"effort": st.sampled_from(["low", "high"])}),
}

SESSIONS = merged(
    "",
    {
        **OF_BOTH,
        "type": st.just("realtime"),
        "model": st.sampled_from(["a", "b"]),
        "audio": merged("audio.", {"input": INPUT, "output": OUTPUT}),
        "truncation": st.sampled_from(["auto", "disabled"])
        | some({}, type=st.just("retention_ratio"), retention_ratio=st.floats(0, 1)),
        "include": st.lists(st.just("item.input_audio_transcription.logprobs"), max_size=1),
        "tracing": st.just("auto") | some({"workflow_name": TEXT, "metadata": OBJECT}),
    },
)
"""Valid sessions in GA form, which are also valid updates."""

RESPONSES = some(
    {
        **OF_BOTH,
        "conversation": st.sampled_from(["auto", "none"]),
        "input": st.lists(some({}, type=st.just("item_reference"), id=st.just("item_1")), max_size=2),
        "metadata": st.dictionaries(TEXT, TEXT, max_size=2),
        "audio": some({"output": some({"format": FORMAT, "voice": VOICE})}),
    }
)
"""Valid parameters of a `response.create`."""


def value_at(session: JsonValue, path: str) -> JsonValue | EllipsisType:
    """Return the value of ``session`` at a dotted path; `...` if there is none, not even null."""
    for name in path.split("."):
        if not isinstance(session, dict) or name not in session:
            return ...
        session = session[name]
    return session


def paths(kind: object, path: str, within: frozenset[object] = frozenset()) -> Iterator[str]:
    """Yield the paths of all fields of a model, those that hold other models included."""
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in within:
        for name, field in kind.model_fields.items():
            yield f"{path}.{name}"
            yield from paths(field.annotation, f"{path}.{name}", within | {kind})
    else:
        for inner in get_args(kind):
            yield from paths(inner, path, within)
