"""Chooses the function that the caller asks for, and its arguments."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from services.rehearsal.core.commands import Json
from services.rehearsal.core.numbers import numbers_in
from services.rehearsal.core.tool_fields import NamedChoice, Tool, ToolChoice

_SPLIT = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_GENERIC_WORDS = (
    "a an and any about at be call can current currently do does for from function get gets give given has have how i "
    "if in info information is it its list look lookup make me my now of on or please returns return search set show "
    "tell that the their there this time to today tool up use used user value want what when where which who will "
    "with would you your"
)
_GENERIC = frozenset(_GENERIC_WORDS.split())
"""Words that do not identify a function."""
_NAME_WEIGHT = 3
_ENOUGH = 2
_STEM_LENGTH = 4
_PLACE = re.compile(r"\b(?:in|for|at|to|from|of|near|about)\s+(?:the\s+)?([\w' -]+)$")
_MAX_SPOKEN_CHARS = 300


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The function to call; ``arguments`` is JSON."""

    name: str
    arguments: str


def _stems(text: str) -> set[str]:
    words = (word.lower() for word in _SPLIT.findall(text))
    # Four letters make "orders", "ordering" and "order" equal, which is enough stemming here.
    return {word[:_STEM_LENGTH] for word in words if word not in _GENERIC}


def _score(tool: Tool, stems: set[str]) -> int:
    return _NAME_WEIGHT * len(stems & _stems(tool.name)) + len(stems & _stems(tool.description))


def choose(text: str, tools: Sequence[Tool], choice: ToolChoice, *, parallel: bool = False) -> tuple[FunctionCall, ...]:
    """Return the function that ``text`` asks for, or that ``choice`` requires; all that it asks for if ``parallel``."""
    functions = list(tools)
    if isinstance(choice, NamedChoice):
        functions = [tool for tool in functions if tool.name == choice.name]
    if choice == "none" or not functions:
        return ()
    stems = _stems(text)
    ranked = sorted(functions, key=lambda tool: -_score(tool, stems))
    needed = 1 if len(functions) == 1 else _ENOUGH
    wanted = [tool for tool in ranked if _score(tool, stems) >= needed]
    if choice != "auto" and not wanted:
        wanted = ranked[:1]
    return tuple(
        FunctionCall(tool.name, json.dumps(_object(tool.parameters, text)))
        for tool in (wanted if parallel else wanted[:1])
    )


def _object(schema: Json, text: str) -> Json:
    """Values for all required properties, and for others if the text contains a number for them."""
    properties = schema.get("properties")
    required = schema.get("required")
    if not isinstance(properties, dict):
        return {}
    names = required if isinstance(required, list) else []
    return {str(name): _value(properties.get(str(name)), text) for name in names}


def _value(schema: JsonValue, text: str) -> JsonValue:
    if not isinstance(schema, dict):
        return text
    options = schema.get("enum")
    if isinstance(options, list) and options:
        return _mentioned(options, text)
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    return _typed(schema, text)


def _typed(schema: Json, text: str) -> JsonValue:
    match schema.get("type"):
        case "integer" | "number":
            return _number(schema, text)
        case "boolean":
            return True
        case "array":
            return [_value(schema.get("items"), text)]
        case "object":
            return _object(schema, text)
        case _:
            return _subject(text)


def _mentioned(options: list[JsonValue], text: str) -> JsonValue:
    lowered = text.lower()
    return next((option for option in options if str(option).lower() in lowered), options[0])


def _number(schema: Json, text: str) -> JsonValue:
    found = numbers_in(text)
    lowest = schema.get("minimum", 1)
    return found[0] if found else lowest


def _subject(text: str) -> str:
    """The text after the last preposition, else all of it."""
    found = _PLACE.search(text.strip().rstrip(".?!"))
    return found.group(1).strip().title() if found else (text or "unknown")


def spoken_result(name: str, output: str) -> str:
    """A function's output as a sentence."""
    try:
        value: JsonValue = json.loads(output)
    except ValueError:
        value = output
    result = _in_words(value)[:_MAX_SPOKEN_CHARS].strip() or "nothing"
    return f"{name.replace('_', ' ').strip().capitalize()} says: {result}."


def _in_words(value: JsonValue) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} is {_in_words(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_in_words(inner) for inner in value)
    return str(value).rstrip(".")
