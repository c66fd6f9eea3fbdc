import json
from typing import Any

import pytest
from pydantic import JsonValue

from services.rehearsal.core.functions import choose, spoken_result
from services.rehearsal.core.tool_fields import NamedChoice, Tool, ToolChoice
from tests.rehearsal.driver import SessionDriver, done_of, only, types

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
    },
}
ORDER = {"type": "function", "name": "cancelOrder", "description": "Cancel a purchase of the customer."}


def tools(*given: dict[str, Any]) -> list[Tool]:
    return [Tool.model_validate(tool) for tool in given]


def arguments(text: str, parameters: dict[str, Any]) -> JsonValue:
    (called,) = choose(text, tools({"name": "f", "parameters": parameters}), "required")
    found: JsonValue = json.loads(called.arguments)
    return found


def test_a_function_call_comes_in_the_order_of_the_provider_and_is_answered() -> None:
    client = SessionDriver()
    client.configure(tools=[WEATHER])
    client.text("what is the weather in Paris?")
    events = client.respond()
    assert types(events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    done = only(events, "response.function_call_arguments.done")
    assert (done["name"], json.loads(done["arguments"])) == ("get_weather", {"city": "Paris", "unit": "celsius"})
    assert "".join(e["delta"] for e in events if e["type"].endswith("arguments.delta")) == done["arguments"]
    assert done_of(events)["usage"]["output_token_details"]["text_tokens"] > 0
    output = {"type": "function_call_output", "call_id": done["call_id"], "output": '{"sky": "clear", "degrees": 21}'}
    client.send("conversation.item.create", item=output)
    answered = only(client.respond(), "response.output_audio_transcript.done")["transcript"]
    assert answered == "Get weather says: sky is clear, degrees is 21."


def test_a_call_can_be_cancelled_in_the_middle() -> None:
    client = SessionDriver()
    client.configure(tools=[WEATHER], tool_choice="required")
    client.text("hello")
    client.send("response.create")
    client.wait(0)
    done = done_of(client.send("response.cancel"))
    assert done["output"][0]["status"] == "incomplete"
    assert 0 < len(done["output"][0]["arguments"]) < 20


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("how is the weather", "get_weather"),
        ("please cancel my order", "cancelOrder"),
        ("cancel the purchase", "cancelOrder"),
        ("tell me a story", None),
        ("what time is it", None),
        ("", None),
    ],
)
def test_the_function_that_is_meant_is_called(text: str, name: str | None) -> None:
    called = choose(text, tools(WEATHER, ORDER), "auto")
    assert [call.name for call in called] == ([name] if name else [])


def test_a_single_function_needs_only_be_mentioned() -> None:
    assert choose("I made a purchase", tools(ORDER), "auto")
    assert not choose("I made a purchase", tools(ORDER, WEATHER), "auto")


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("none", None),
        ("required", "get_weather"),
        (NamedChoice(type="function", name="cancelOrder"), "cancelOrder"),
        (NamedChoice(type="function", name="nothing"), None),
    ],
)
def test_the_tool_choice_is_obeyed(choice: ToolChoice, name: str | None) -> None:
    called = choose("weather", tools(WEATHER, ORDER), choice)
    assert [call.name for call in called] == ([name] if name else [])


def test_arguments_satisfy_the_required_properties() -> None:
    parameters = {
        "properties": {
            "count": {"type": "integer"},
            "least": {"type": "number", "minimum": 5},
            "sure": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "who": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            "size": {"enum": ["small", "large"]},
            "kind": {"const": "x"},
            "note": {"default": "none"},
            "any": True,
            "optional": {"type": "string"},
        },
        "required": ["count", "least", "sure", "tags", "who", "size", "kind", "note", "any", "unlisted"],
    }
    found = arguments("Order twenty five large boxes for anna", parameters)
    assert found == {
        "count": 25,
        "least": 25,
        "sure": True,
        "tags": ["Anna"],
        "who": {"name": "Anna"},
        "size": "large",
        "kind": "x",
        "note": "none",
        "any": "Order twenty five large boxes for anna",
        "unlisted": "Order twenty five large boxes for anna",
    }
    assert arguments("go", {"properties": {"n": {"type": "integer"}}, "required": ["n"]}) == {"n": 1}
    assert arguments("", {"properties": {"s": {"type": "string"}}, "required": ["s"]}) == {"s": "unknown"}
    assert arguments("go", {"properties": {"n": {}}}) == arguments("go", {}) == {}


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("It is open.", "It is open."),
        ('["a", 2]', "a, 2."),
        ("", "nothing."),
        ("x" * 900, "x" * 300 + "."),
    ],
)
def test_a_result_is_put_into_words(output: str, said: str) -> None:
    assert spoken_result("look_up", output) == f"Look up says: {said}"


def test_a_result_without_a_known_call_is_answered_too() -> None:
    client = SessionDriver()
    output = {"type": "function_call_output", "call_id": "call_x", "output": "7"}
    client.send("conversation.item.create", item=output)
    events = client.respond(output_modalities=["text"])
    assert only(events, "response.output_text.done")["text"] == "The function says: 7."
