"""Generates what the provider's package allows, one field at a time, from its types."""

from collections.abc import Iterator
from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, JsonValue

PLAIN: dict[object, tuple[JsonValue, ...]] = {
    str: ("x",),
    int: (1000,),
    float: (0.5,),
    bool: (True, False),
    type(None): (None,),
}


def values_of(kind: object) -> Iterator[JsonValue]:
    """Yield a value of each form of ``kind``: all words of a literal, and objects with each of their fields."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from _objects(kind)
    elif kind in PLAIN:
        yield from PLAIN[kind]
    elif origin is Literal:
        yield from arguments
    elif origin is Annotated:
        yield from values_of(arguments[0])
    elif origin is list:
        yield from ([value] for value in values_of(arguments[0]))
    elif origin is dict:
        yield from ({"x": value} for value in values_of(arguments[1]))
    elif arguments:
        for one in arguments:
            yield from values_of(one)
    else:
        yield {"type": "object"}  # `object`: a JSON schema


def _objects(kind: type[BaseModel]) -> Iterator[JsonValue]:
    named = [(field.alias or name, field) for name, field in kind.model_fields.items()]
    least = {name: next(values_of(field.annotation)) for name, field in named if field.is_required()}
    yield least
    for name, field in named:
        yield from ({**least, name: value} for value in values_of(field.annotation))
