"""Keys in a provider's events and errors reach neither the session core nor the client."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, SecretStr

from services.upstream.connectors.openai import OpenAIConnector
from services.upstream.connectors.scrubber import MAX_ERROR_CHARS, Scrubber
from services.upstream.core.json_shape import MAX_DEPTH
from services.upstream.errors import UpstreamClosedError, UpstreamError
from tests.upstream.provider import Json, ScriptedProvider, running

KEY = "the-providers-own-key"
MODEL = "gpt-realtime-2.1"
ECHO: Json = {"type": "error", "error": {"message": f"Bearer {KEY} is wrong", "code": KEY, "param": {"deep": [KEY]}}}


def nested(depth: int) -> Json:
    event: Json = {"type": "response.done"}
    for _ in range(depth):
        event = {"type": "response.done", "response": event}
    return event


@pytest.mark.parametrize(
    "event",
    [
        ECHO,
        {"type": "response.done", "response": {"id": "r", "status_details": {"error": {"message": KEY}}}},
        {"type": "conversation.item.added", "item": {"id": "i", "content": [{"text": f"it is {KEY}"}]}},
        {"type": "response.output_text.delta", "delta": KEY},
        {"type": "mcp_list_tools.failed", "error": {"message": f"authorization: {KEY}"}},
        {"type": "session.updated", "session": {KEY: KEY}},
        {"type": KEY},
    ],
)
def test_the_connections_own_key_is_nowhere(event: Json) -> None:
    assert KEY not in json.dumps(Scrubber([KEY]).scrub_event(event))


@pytest.mark.parametrize("secret", ["sk-proj-abcdefghijklmnop", "api_key=abcmnop", "Bearer xyzmnop", "sk-abc*****mnop"])
def test_what_has_the_form_of_a_key_is_replaced_in_errors(secret: str) -> None:
    cleaned = Scrubber().scrub_event({"type": "error", "error": {"message": f"{secret} is wrong", "code": "x"}})
    assert cleaned == {"type": "error", "error": {"message": "[redacted] is wrong", "code": "x"}}


def test_a_conversation_may_hold_what_looks_like_a_key() -> None:
    event: Json = {"type": "response.output_text.delta", "delta": "a key begins with sk-proj-, as sk-proj-abcdefghijkl"}
    assert Scrubber([KEY]).scrub_event(event) == event


def test_headers_of_tools_are_replaced_whole() -> None:
    tool: Json = {"type": "mcp", "server_url": "https://x", "headers": {"X-Token": "a"}, "authorization": "b"}
    cleaned = Scrubber().scrub_event({"type": "session.updated", "session": {"tools": [tool]}})
    assert cleaned == {
        "type": "session.updated",
        "session": {"tools": [{**tool, "headers": "[redacted]", "authorization": "[redacted]"}]},
    }


def test_audio_passes_as_it_is() -> None:
    event: Json = {"type": "response.output_audio.delta", "delta": KEY, "item_id": "i"}
    assert Scrubber([KEY]).scrub_event(event) is event


@pytest.mark.parametrize("value", [None, [], "text", 7, nested(MAX_DEPTH + 1), nested(900)])
def test_what_cannot_be_searched_counts_as_unreadable(value: JsonValue) -> None:
    assert Scrubber([KEY]).scrub_event(value) is None


def test_an_error_is_redacted_before_it_is_cut() -> None:
    line = Scrubber([KEY]).scrub_line("x" * 190 + f" {KEY} is wrong\x1b[31m", 200)
    assert line.endswith(" [redacted")
    assert len(line) == 200
    cleaned = Scrubber().scrub_event({"type": "error", "error": {"message": "x" * 100_000}})
    assert cleaned == {"type": "error", "error": {"message": "x" * MAX_ERROR_CHARS}}


json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(f"a {KEY} b"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just(KEY), inner, max_size=3),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["type", "error", "item", "response", "delta", KEY]), json_values))
def test_no_event_brings_the_key(event: Json) -> None:
    assert KEY not in json.dumps(Scrubber([KEY]).scrub_event(event))


async def test_a_session_gives_only_clean_events() -> None:
    async with (
        running(ScriptedProvider()) as provider,
        OpenAIConnector(provider.url, SecretStr(KEY)).connect(MODEL) as session,
    ):
        await provider.sessions[0].socket.send(json.dumps(ECHO))
        assert KEY not in json.dumps(await session.receive_event())


@pytest.mark.parametrize("where", ["url", "key"])
async def test_no_error_of_a_session_quotes_the_key(where: str) -> None:
    async with running(ScriptedProvider(first_event=ECHO)) as provider:
        url = f"{provider.url}?api-key={KEY}" if where == "url" else provider.url
        with pytest.raises(UpstreamError) as caught:
            async with OpenAIConnector(url, SecretStr(KEY if where == "key" else "")).connect(MODEL):
                pass
    assert KEY not in str(caught.value)


async def test_no_reason_of_a_close_quotes_the_key_or_steers_a_terminal() -> None:
    async with (
        running(ScriptedProvider()) as provider,
        OpenAIConnector(provider.url, SecretStr(KEY)).connect(MODEL) as session,
    ):
        await provider.sessions[0].socket.close(4000, f"\x1b]0;{KEY}")
        with pytest.raises(UpstreamClosedError) as caught:
            await session.receive_event()
    assert KEY not in str(caught.value)
    assert "\x1b" not in str(caught.value)
