"""Each parameter of a response, and the session's field of that name, has its effect on a whole call or is refused."""

import asyncio
from typing import Any

from services.contracts.session.registry import RESPONSE_FIELDS
from tests.system.field_walk import (
    ORDER,
    TEXT,
    WEATHER,
    FieldRoot,
    calling,
    event,
    mint,
    nested,
    pitch_hz,
    proves,
    proves_in_both,
    refused,
    respond,
    respond_with,
    said,
    write,
)
from tests.system.gateway import Up

_WRONG: dict[str, Any] = {"audio.input": {"turn_detection": None}}
"""Values of refused fields, where 1 does not do."""


@proves_in_both("instructions")
async def test_instructions_are_followed(up: Up, root: FieldRoot) -> None:
    async with calling(up) as (caller, _):
        assert said(await respond_with(caller, root, {"instructions": 'Say "apple".'}, **TEXT)) == "apple"


@proves_in_both("output_modalities")
async def test_a_response_is_spoken_or_written(up: Up, root: FieldRoot) -> None:
    async with calling(up) as (caller, _):
        written = await respond_with(caller, root, TEXT)
        assert written["output"][0]["content"][0]["type"] == "output_text"
        heard = await respond_with(caller, root, {"output_modalities": ["audio"], "instructions": 'Say "yes".'})
        assert heard["output"][0]["content"][0]["type"] == "output_audio"
        await event(caller, "output_audio_buffer.started")


@proves_in_both("max_output_tokens")
async def test_a_response_ends_at_its_limit(up: Up, root: FieldRoot) -> None:
    async with calling(up, instructions='Say "one two three four five six seven".') as (caller, _):
        cut = await respond_with(caller, root, {"max_output_tokens": 4}, **TEXT)
        assert (cut["status"], cut["status_details"]["reason"]) == ("incomplete", "max_output_tokens")
        whole = await respond_with(caller, root, {"max_output_tokens": "inf"}, **TEXT)
        assert whole["status"] == "completed"


@proves_in_both("reasoning.effort")
async def test_more_effort_is_more_output(up: Up, root: FieldRoot) -> None:
    async with calling(up) as (caller, _):
        little, much = [
            (await respond_with(caller, root, {"reasoning": {"effort": effort}, "instructions": 'Say "yes".'}, **TEXT))[
                "usage"
            ]["output_tokens"]
            for effort in ("minimal", "high")
        ]
        assert much > little + 100


@proves_in_both("audio.output.voice")
async def test_voices_sound_different(up: Up, root: FieldRoot) -> None:
    async def pitch_of(voice: str) -> float:
        async with calling(up, instructions='Say "what a lovely day it is to be out here".') as (caller, _):
            done = await respond_with(caller, root, {"audio": {"output": {"voice": voice}}})
            assert done["audio"]["output"]["voice"] == voice
            await event(caller, "output_audio_buffer.stopped")
            return pitch_hz(caller.audio_sink.pcm(hz=24_000), 24_000)

    high, low = await asyncio.gather(pitch_of("marin"), pitch_of("cedar"))
    assert high > 1.15 * low


@proves_in_both("tools[].type", "tools[].name", "tools[].description", "tools[].parameters")
async def test_functions_are_called_as_described(up: Up, root: FieldRoot) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    by_name = {"type": "function", "name": "get_weather", "parameters": parameters}
    by_description = {"type": "function", "name": "f_2", "description": "Cancel a purchase."}
    async with calling(up) as (caller, _):
        await write(caller, "what is the weather in Paris?")
        (called,) = (await respond_with(caller, root, {"tools": [by_name, by_description]}, **TEXT))["output"]
        assert (called["type"], called["name"]) == ("function_call", "get_weather")
        assert called["arguments"] == '{"city": "Paris"}'
        await write(caller, "cancel my purchase")
        (called,) = (await respond_with(caller, root, {"tools": [by_name, by_description]}, **TEXT))["output"]
        assert called["name"] == "f_2"


@proves_in_both("tool_choice", "tool_choice.type", "tool_choice.name")
async def test_the_choice_of_tools_is_obeyed(up: Up, root: FieldRoot) -> None:
    async with calling(up, tools=[WEATHER, ORDER]) as (caller, _):
        await write(caller, "the weather, please")
        outputs = [
            (await respond_with(caller, root, {"tool_choice": choice}, **TEXT))["output"][0]
            for choice in ("none", "auto", "required", {"type": "function", "name": "cancel_order"})
        ]
        assert [output.get("name") for output in outputs] == [None, "get_weather", "get_weather", "cancel_order"]


@proves_in_both("parallel_tool_calls")
async def test_functions_are_called_in_parallel(up: Up, root: FieldRoot) -> None:
    async with calling(up, tools=[WEATHER, ORDER]) as (caller, _):
        await write(caller, "cancel my order and tell me the weather")
        one, two = [
            (await respond_with(caller, root, {"parallel_tool_calls": parallel}, **TEXT))["output"]
            for parallel in (False, True)
        ]
        assert [item["name"] for item in one] == ["cancel_order"]
        assert [item["name"] for item in two] == ["cancel_order", "get_weather"]


_MCP = {
    "server_label": "s",
    "server_url": "https://example.com",
    "connector_id": "connector_gmail",
    "tunnel_id": "t",
    "server_description": "d",
    "authorization": "a",
    "headers": {"X-A": "b"},
    "allowed_tools": ["t"],
    "require_approval": "never",
    "allowed_callers": ["direct"],
    "defer_loading": True,
}
_ADDRESSES = ("server_url", "connector_id", "tunnel_id")


@proves_in_both(*(f"tools[].{name}" for name in _MCP), "tool_choice.server_label")
async def test_what_the_rehearsal_does_not_reach_is_refused(up: Up, root: FieldRoot) -> None:
    async with calling(up) as (caller, _):
        for name, value in _MCP.items():
            address = {} if name in _ADDRESSES else {"server_url": "https://example.com"}
            tool = {"type": "mcp", "server_label": "s", **address, name: value}
            await refused(caller, root, {"tools": [tool]}, f"{root}.tools[0].type")
        choice = {"type": "mcp", "server_label": "s"}
        await refused(caller, root, {"tool_choice": choice}, f"{root}.tool_choice")


@proves_in_both("prompt.id", "prompt.version", "prompt.variables")
async def test_prompts_that_the_provider_does_not_have_are_refused(up: Up, root: FieldRoot) -> None:
    async with calling(up) as (caller, _):
        for more in ({}, {"version": "1"}, {"variables": {"a": "b"}}):
            await refused(caller, root, {"prompt": {"id": "pmpt_1", **more}}, f"{root}.prompt")


@proves_in_both("audio.output.format.type", "audio.output.format.rate")
async def test_other_formats_of_the_answer_are_refused(up: Up, root: FieldRoot) -> None:
    async with calling(up) as (caller, session):
        assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
        for wrong, name in (({"type": "audio/pcmu"}, "type"), ({"type": "audio/pcm", "rate": 16000}, "rate")):
            fields = {"audio": {"output": {"format": wrong}}}
            await refused(caller, root, fields, f"{root}.audio.output.format.{name}")
            if root == "session":
                assert (await mint(up, fields))[0] == 400
        right = {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}}}}
        assert (await respond_with(caller, root, right, **TEXT))["status"] == "completed"


@proves("response", "conversation", "input", "metadata")
async def test_a_response_beside_the_conversation_has_its_own_input_and_leaves_nothing(up: Up) -> None:
    async with calling(up) as (caller, _session):
        own = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "my hat is green"}]}]
        done = await respond(caller, conversation="none", input=own, metadata={"k": "v"}, **TEXT)
        assert (done["conversation_id"], done["metadata"]) == (None, {"k": "v"})
        assert said(done) == "You said: my hat is green."
        assert "my hat" not in said(await respond(caller, **TEXT))
        assert "my hat" in said(await respond(caller, conversation="auto", input=own, **TEXT))


@proves("response", *(entry.path.removeprefix("response.") for entry in RESPONSE_FIELDS if entry.by == "refused"))
async def test_refused_fields_of_a_response_are_refused_in_a_call(up: Up) -> None:
    async with calling(up) as (caller, _session):
        for entry in RESPONSE_FIELDS:
            if entry.by == "refused":
                name = entry.path.removeprefix("response.")
                await refused(caller, "response", nested(name, _WRONG.get(name, 1)), entry.path)
